#pragma once
// Quantises a float checkpoint to W8A8 weights and an int8 latent cache.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace latent8 {

struct QuantizeProgress {
  enum class Stage : std::uint8_t { kCalibrate, kQuantize, kFinish };
  Stage stage = Stage::kCalibrate;
  std::int64_t layer = 0, n_layers = 0;     // decoder layers, without MTP
  std::int64_t bytes = 0, total_bytes = 0;  // of tensors written so far and in all
};

struct QuantizeOptions {
  // Whose names and dialect the checkpoint has. Source: facts/format.md 1.5 to 1.7.
  enum class Format : std::uint8_t { kMindie, kAscendV1 };
  // kFloat: weights keep their stored form; only the scales of the int8 cache are added.
  enum class Weights : std::uint8_t { kW8A8, kFloat };
  // The MTP layer: left out, or its tensors as they are.
  enum class Mtp : std::uint8_t { kNone, kFloat };

  std::filesystem::path model;  // a float checkpoint; never written to
  std::filesystem::path out;    // must not exist or be empty
  bool overwrite = false;       // replace `out` if it holds a quantised checkpoint
  bool fa_quant = false;        // write the scales of the int8 latent cache of every layer
  Format format = Format::kMindie;
  bool dynamic = false;  // attention linears too quantise their input per token
  Weights weights = Weights::kW8A8;
  Mtp mtp = Mtp::kFloat;
  std::filesystem::path calib;  // a JSON list of strings; empty: the built-in prompts
  int threads = 0;              // 0: the physical cores of the affinity mask
  // Called on the calling thread after every layer. May throw to stop: the error reaches quantize()'s caller.
  std::function<void(const QuantizeProgress&)> progress;
};

struct QuantizeResult {
  std::int64_t layers = 0;     // decoder layers, without MTP
  std::int64_t fa_layers = 0;  // of them with an int8 cache
  bool mtp = false;            // the MTP layer was written
  std::int64_t prompts = 0;    // calibration prompts
  std::int64_t tokens = 0;     // of them that count in statistics; 0 if nothing had to be observed
  std::int64_t bytes_in = 0;   // tensors of the source
  std::int64_t bytes_out = 0;  // tensors written
  std::int64_t tensors = 0;    // tensors written
  double seconds = 0.0;
};

// Reads options.model layer by layer, runs each layer in float over the calibration prompts, and writes
// options.out. Everything is written to "OUT.partial" first, which is renamed at the end and removed on
// error. Throws: Error{kInvalidArgument} for options that contradict each other, a source that is quantised
// already, an output folder that is not empty, prompts that are no JSON list of strings or are longer than
// the context; Error{kCorrupt} naming a weight that has NaN or Inf; Error{kIo} naming the file if the disk
// is full; and what opening the source throws.
QuantizeResult quantize(const QuantizeOptions& options);

}  // namespace latent8
