#pragma once
// Prompts, and a model's decoder layers run over them in float, one layer at a time.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/aligned_buffer.h"
#include "kv/latent_cache.h"
#include "model/rope_table.h"
#include "model/step.h"
#include "model/weights.h"
#include "quant/source_tensor.h"
#include "text/tokenizer.h"

namespace latent8 {

// The built-in prompts: English, Chinese and code, between lines that consist of "====". Defined by the build
// from calibration.txt.
std::string_view builtin_calibration_text();

// The prompts of a JSON list of strings, or the built-in ones for an empty path. Never empty.
// Throws: Error{kInvalidArgument} naming the file and the entry.
std::vector<std::string> read_prompts(const std::filesystem::path& calib);

struct CalibrationPrompt {
  std::vector<std::int32_t> ids;     // BOS, where the tokenizer has one, and the text
  std::vector<std::uint8_t> counts;  // 1 for tokens that count in statistics: all but special ones
};
// Throws: Error{kInvalidArgument} naming a prompt that is longer than the context or has an id beyond the
// vocabulary.
std::vector<CalibrationPrompt> tokenize_prompts(const Tokenizer& tokenizer, const ModelConfig& config,
                                                const std::vector<std::string>& prompts);

// The residual stream of all prompts, carried from layer to layer. Prompts run together in steps, so that a
// layer's weights are widened a few times only.
class CalibrationRun {
 public:
  CalibrationRun(const ModelConfig& config, ThreadPool& pool, const std::vector<CalibrationPrompt>& prompts);

  void embed(const SourceTensor& embed_tokens);

  // What observers see of one step after a layer's attention: s.h (the input of q_a_proj or q_proj and of
  // kv_a_proj_with_mqa), s.c_q, s.kv, s.o, and s.q_absorbed, which holds the absorbed query. Rows [0, T).
  using Observe =
      std::function<void(const Scratch& s, std::int64_t tokens, std::span<const std::uint8_t> counts)>;
  // Runs one layer over all prompts, in the expanded form. Returns false, before `observe` sees them, if
  // values are not finite.
  [[nodiscard]] bool run_layer(const LayerWeights& layer, const Observe& observe);

 private:
  struct Step {
    std::vector<std::vector<std::int32_t>> block_tables;  // of the prompts; the batch refers to them
    StepBatch batch;
    std::vector<std::uint8_t> counts;  // [T]
    Matrix<float> x;                   // [T, hidden_size]
  };
  Step make_step(std::span<const CalibrationPrompt> prompts) const;

  const ModelConfig& config_;
  OpContext ctx_;
  RopeFrequencies rope_;
  std::vector<Step> steps_;
  std::unique_ptr<Scratch> scratch_;
  std::unique_ptr<LatentCache> cache_;  // of one layer: attention writes it, nothing reads it
};

}  // namespace latent8
