#pragma once
// How far a model's predictions are from a reference's, and how well either predicts a text.

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "eval/sequence_runner.h"

namespace latent8 {

// One prediction of both models.
struct Prediction {
  double kld = 0.0;            // KL divergence from reference to model, in nats
  double nll = 0.0;            // -log p(next token) of the model, in nats
  double nll_reference = 0.0;  // and of the reference
  bool same_top1 = false;      // both hold the same token for the likeliest
};

// Compares two rows of logits; log-softmax in double.
//   reference, model [vocab_size]; target: the token that follows
Prediction compare_predictions(std::span<const float> reference, std::span<const float> model,
                               std::int32_t target);

// -log softmax(logits)[target] in double.
double negative_log_likelihood(std::span<const float> logits, std::int32_t target);

struct Divergence {
  double kld_mean = 0.0, kld_p99 = 0.0, kld_max = 0.0;  // nats
  double top1 = 0.0;                                    // share of predictions, 0 to 1
  double ppl = 0.0, ppl_reference = 0.0;
  std::int64_t windows = 0;
  std::int64_t predictions = 0;
};

// kld_p99 is the smallest value that at least 99 % of the predictions do not exceed. REQUIRES: not empty.
Divergence summarize(std::span<const Prediction> predictions, std::int64_t windows);

struct Perplexity {
  double ppl = 0.0;
  std::int64_t windows = 0;
  std::int64_t predictions = 0;
};

// Windows of a text: the tokens in pieces of kWindowTokens that do not overlap, no BOS added, what is left
// over dropped; tokens before kWindowUnscored of a window are context only.
inline constexpr std::int64_t kWindowTokens = 1024;
inline constexpr std::int64_t kWindowUnscored = 128;

// max_windows = 0: all.
// Throws: Error{kInvalidArgument} starting with `where` if the text has less than one window.
std::vector<std::vector<std::int32_t>> text_windows(std::span<const std::int32_t> ids,
                                                    std::int64_t max_windows, const std::string& where);

// Two models that are compared, each with how it runs.
struct EvalModel {
  const DeepseekModel& model;
  EvalOptions options;
};

// Throws: Error{kInvalidArgument} if the vocabularies differ in size, or as check_sequence().
Divergence measure_divergence(OpContext& ctx, const EvalModel& reference, const EvalModel& model,
                              std::span<const std::vector<std::int32_t>> windows,
                              const EvalProgress& progress = {});
// Throws: as check_sequence().
Perplexity measure_perplexity(OpContext& ctx, const EvalModel& model,
                              std::span<const std::vector<std::int32_t>> windows,
                              const EvalProgress& progress = {});

}  // namespace latent8
