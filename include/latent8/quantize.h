#pragma once
// Quantises a float checkpoint to W8A8 weights and an int8 latent cache.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace latent8 {

struct QuantizeProgress {
  enum class Stage : std::uint8_t { kCalibrate, kQuantize, kFinish };
  Stage stage = Stage::kCalibrate;
  std::int64_t layer = 0, n_layers = 0;     // decoder layers, the MTP layer of kMix included
  std::string part;                         // what is worked on: "attention", "experts 32 to 63 of 256"
  std::int64_t bytes = 0, total_bytes = 0;  // of the source's tensors dealt with so far and in all
};

struct QuantizeOptions {
  // Whose names and dialect the checkpoint has. Source: docs/format.md, "Files and dialects".
  enum class Format : std::uint8_t { kMindie, kAscendV1 };
  // kMsmodelslim: the reference's bytes: its arithmetic, calibration, fallback lists, orders and file modes.
  enum class Compat : std::uint8_t { kNone, kMsmodelslim };
  // kFloat: weights keep their stored form; only the scales of the int8 cache are added.
  enum class Weights : std::uint8_t { kW8A8, kFloat };
  // Smoothing of the inputs of attention linears, where it lowers the error of what they give. kM4: of
  // input_layernorm's output; kM6: also of q_a_layernorm's and of o_proj's input. With kMsmodelslim the
  // reference's methods. Source: docs/format.md, "The reference's smoothing".
  enum class Anti : std::uint8_t { kNone, kM4, kM6 };
  // The MTP layer: left out, its tensors as they are, or quantised like a decoder layer.
  enum class Mtp : std::uint8_t { kNone, kFloat, kMix };
  // Layers whose latent cache stays float: none, the reference's lists (by a part of the model's path), or as
  // few as keep the error bound.
  enum class Fallback : std::uint8_t { kNone, kReference, kAuto };

  std::filesystem::path model;  // a float checkpoint; never written to
  std::filesystem::path out;    // must not exist or be empty
  bool overwrite = false;       // replace `out` if it holds a quantised checkpoint
  bool resume = true;           // go on where an interrupted run with the same options stopped
  bool fa_quant = false;        // write the scales of the int8 latent cache
  Format format = Format::kMindie;
  Compat compat = Compat::kNone;
  bool dynamic = false;  // attention linears too quantise their input per token
  Weights weights = Weights::kW8A8;
  Anti anti = Anti::kM4;
  bool rotate_latent = true;  // let rotations of the latent be among the choices of a layer
  // Rotate the hidden state, q_a_proj's output and the heads' values, all offline, by the reference's
  // matrices. Source: docs/format.md, "The reference's rotations".
  bool rotate_model = false;
  Mtp mtp = Mtp::kMix;
  Fallback fallback = Fallback::kAuto;
  std::filesystem::path calib;       // a JSON list of strings; empty: the built-in prompts
  std::filesystem::path anti_calib;  // the same for smoothing; empty: `calib`
  int batch_size = 1;                // prompts per call of kMsmodelslim, whose statistics depend on it
  std::int64_t layer_count = 0;      // decoder layers to write, the first ones; 0: all
  // Bytes of peak resident memory; 0: a quarter of the machine's, and as needed with compat, which refuses a
  // cap that is too small instead of using the disk.
  std::int64_t max_memory = 0;
  std::int64_t shard_bytes = std::int64_t{4} << 30;
  int threads = 0;  // 0: the physical cores of the affinity mask
  bool ignore_unread_tensors =
      false;  // a source with tensors that the model does not read is an error otherwise
  // Called on the calling thread. May throw to stop: the error reaches quantize()'s caller.
  std::function<void(const QuantizeProgress&)> progress;
};

// What was measured and decided in one layer.
struct LayerReport {
  // A way to store the latent, and what attention on it changes, relative to the residual stream, rms
  // over the calibration prompts.
  struct Candidate {
    std::string name;  // "none", "fold", "rotation", "both"
    double error = 0.0;
  };
  // Powers of two that moved from a module into the linears that read it: rms of the input's channels to the
  // power alpha over rms of the weights' columns to the power beta.
  struct Smoothed {
    std::string source;  // "input_layernorm", "q_a_layernorm", "kv_b_proj"
    double alpha = 0.0, beta = 0.0;
    double error = 1.0;  // squared error of the linears' outputs over that without
  };
  std::int64_t layer = 0;
  bool mtp = false;
  bool fa = false;                               // the latent cache is int8
  std::string fold;                              // the chosen candidate; "" without an int8 cache
  std::vector<Candidate> candidates;             // empty without an int8 cache
  std::vector<Smoothed> smoothed;                // inputs that gained from it
  double latent_amax = 0.0, latent_rms = 0.0;    // of the source's latent
  double stored_amax = 0.0, stored_rms = 0.0;    // of the latent as it is stored, after the fold
  double k_scale = 0.0;                          // 0 without an int8 cache
  double clipped = 0.0;                          // share of latent values beyond the range of codes
  double error_before = 0.0, error_after = 0.0;  // of the cache: plain largest value, and as chosen
  // What int8 weights change in a linear's outputs over the calibration tokens, relative, with inputs in
  // float: rms over the linears of attention and of the dense MLP or the shared experts, without those that
  // stay float. Weights rounded to nearest, and as written. Routed experts are not measured. 0: no linear.
  double output_error_before = 0.0, output_error_after = 0.0;
  std::vector<std::pair<std::string, std::int64_t>> tensors;  // bytes written by type: "W8A8", "FLOAT", ...
  std::int64_t bytes_in = 0, bytes_out = 0;
  double seconds = 0.0;
};

struct QuantizeResult {
  std::int64_t layers = 0;          // decoder layers, without MTP
  std::int64_t fa_layers = 0;       // of them with an int8 cache
  bool mtp = false;                 // the MTP layer was written
  std::int64_t resumed_layers = 0;  // finished by an earlier run
  std::int64_t prompts = 0;         // calibration prompts
  std::int64_t tokens = 0;          // of them that count in statistics; 0 if nothing had to be observed
  std::int64_t bytes_in = 0;        // tensors of the source
  std::int64_t bytes_out = 0;       // tensors written
  std::int64_t tensors = 0;         // tensors written
  std::int64_t peak_memory = 0;     // bytes, VmHWM of the process
  double seconds = 0.0;
  std::vector<LayerReport> per_layer;
  std::vector<std::string> copied;    // files of the source that lie beside the tensors, as they were
  std::vector<std::string> warnings;  // experts without a token, fallback layers and why, files left out, ...
};

// Reads options.model layer by layer, runs each layer in float over the calibration prompts, and writes
// options.out. Everything is written to "OUT.partial" first, which is renamed at the end. What is finished
// stays there if the run fails or dies; another one with the same options goes on with the first unfinished
// layer, and the result is the same bit for bit, as it is for any number of threads and any max_memory.
// Throws: Error{kInvalidArgument} for options that contradict each other, a source that is quantised already,
// an output folder that is not empty, prompts that are no JSON list of strings or are longer than the
// context; Error{kCorrupt} naming a weight that has NaN or Inf; Error{kIo} naming the file if the disk is
// full; and what opening the source throws.
QuantizeResult quantize(const QuantizeOptions& options);

}  // namespace latent8
