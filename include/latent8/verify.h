#pragma once
// Checks a quantised checkpoint: every tensor against what its config and description promise, and, if the
// float checkpoint it was made of is there, against that one's weights.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace latent8 {

struct VerifyProgress {
  std::int64_t layer = 0, n_layers = 0;     // decoder layers, MTP layers included
  std::int64_t bytes = 0, total_bytes = 0;  // looked at so far and in all: files for SHA256SUMS, then tensors
};

struct VerifyOptions {
  std::filesystem::path checkpoint;
  std::filesystem::path source;  // the float checkpoint it was made of; empty: weights are not compared
  int threads = 0;               // 0: the physical cores of the affinity mask
  // Called on the calling thread. May throw to stop: the error reaches verify()'s caller.
  std::function<void(const VerifyProgress&)> progress;
  bool ignore_unread_tensors =
      false;  // tensors of the source that its model does not read are problems otherwise
};

// Something that is off, or worth knowing.
struct VerifyFinding {
  std::string where;          // a tensor's name, or a file's
  std::string expected, got;  // `got` is empty in notes that only say something
};
std::string to_string(const VerifyFinding& finding);  // "WHERE: EXPECTED expected, got GOT"

// How far the dequantised weights of one kind ("q_a_proj", "experts.down_proj", "norms") are from the
// source's, after the folds were taken out.
struct VerifyKind {
  std::string kind;
  std::int64_t tensors = 0;  // compared
  double error = 0.0;        // rms of the difference over rms of the source, of all of them together
  double worst_error = 0.0;  // of one tensor
  std::string worst;         // its name
  double worst_steps = 0.0;  // int8 only: rms of the difference in quantisation steps, of one tensor
  std::int64_t by_product =
      0;                     // of `tensors`: compared through kv_b_proj * kv_a_proj, as the latent is rotated
  std::int64_t by_norm = 0;  // of `tensors`: compared by their norms, which says little
};

struct VerifyResult {
  std::string dialect;           // "mindie" or "ascendv1"; "" without a description
  std::string description_file;  // name in the folder
  std::string model_quant_type, fa_quant_type;
  std::int64_t layers = 0;     // decoder layers of the config
  std::int64_t fa_layers = 0;  // of them with an int8 cache
  std::string mtp;             // "none", "float" or "mix"
  std::int64_t files = 0, tensors = 0, bytes = 0;
  bool has_sums = false;                    // every file was compared with SHA256SUMS
  std::vector<VerifyFinding> problems;      // empty: the checkpoint is right
  std::vector<VerifyFinding> notes;         // unusual, yet allowed
  std::vector<VerifyKind> kinds;            // empty without a source
  std::vector<VerifyFinding> folds;         // what was found folded into the weights, by layer
  std::vector<std::string> not_comparable;  // kinds that cannot be compared with the source, and why
  double seconds = 0.0;
};

// Streams both checkpoints; holds little more than the descriptions, and of a rotated source q_a_proj in
// float32 per thread. Every damage of the
// checkpoint is a problem of the result. Throws: Error{kNotFound} if `checkpoint` is no folder, and what
// opening the source throws.
VerifyResult verify(const VerifyOptions& options);

}  // namespace latent8
