#pragma once
// The prompts that a model's decoder layers are run over, and the steps in which they run.

#include <cstdint>
#include <filesystem>
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
  std::vector<std::uint8_t> counts;  // 1 for tokens that count: all but special ones
  bool statistics = true;            // they count in ranges, scales and errors
  bool smoothing = true;             // they count in what is smoothed
};
// Throws: Error{kInvalidArgument} naming a prompt that is longer than the context or has an id beyond the
// vocabulary, and for a list without two tokens in a row that count.
std::vector<CalibrationPrompt> tokenize_prompts(const Tokenizer& tokenizer, const ModelConfig& config,
                                                const std::vector<std::string>& prompts);
// The prompts of statistics, then those that are smoothed by only. Throws: as above.
std::vector<CalibrationPrompt> tokenize_prompts(const Tokenizer& tokenizer, const ModelConfig& config,
                                                const std::vector<std::string>& statistics,
                                                const std::vector<std::string>& smoothing);

// Some prompts that run together. Which prompts those are decides how much memory a step needs, and no value.
struct CalibrationStep {
  std::int64_t begin = 0;                               // row of its first token among those of all prompts
  std::vector<std::vector<std::int32_t>> block_tables;  // of the prompts; the batch refers to them
  StepBatch batch;
  // Of every token, 0 or 1: whether it counts in statistics, and in what is smoothed.
  struct Counts {
    std::vector<std::uint8_t> statistics, smoothing;  // [T]
  };
  Counts counts;
  // For the MTP layer: the tokens one place further, and what counts there. The last token of a prompt, which
  // has none, stands for itself and does not count.
  std::vector<std::int32_t> next_ids;  // [T]
  Counts next_counts;

  std::int64_t tokens() const { return batch.tokens(); }
};

// Prompts in steps, and what running a decoder layer over them needs. Ownership: refers to config and pool.
class CalibrationRun {
 public:
  // Steps have as many prompts as fit into step_tokens, at least one.
  CalibrationRun(const ModelConfig& config, ThreadPool& pool, const std::vector<CalibrationPrompt>& prompts,
                 std::int64_t step_tokens);

  const ModelConfig& config() const { return config_; }
  const std::vector<CalibrationStep>& steps() const { return steps_; }
  std::int64_t tokens() const { return tokens_; }  // of all prompts
  OpContext& ctx() { return ctx_; }
  Scratch& scratch() { return scratch_; }
  RopeTable rope() const { return rope_.table(positions_); }
  LatentPages pages() const {
    return cache_->layer(0);
  }  // of one layer: attention writes it, nothing reads it

 private:
  const ModelConfig& config_;
  OpContext ctx_;
  RopeFrequencies rope_;
  std::vector<CalibrationStep> steps_;
  std::int64_t tokens_ = 0;
  std::int64_t positions_ = 0;  // of the longest prompt
  Scratch scratch_;
  std::unique_ptr<LatentCache> cache_;
};

}  // namespace latent8
