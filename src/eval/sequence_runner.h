#pragma once
// Whole sequences through a model, many at once: what every measurement of accuracy starts from.

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "base/aligned_buffer.h"
#include "model/deepseek_model.h"

namespace latent8 {

enum class EvalPath : std::uint8_t {
  kPrefill,  // prompt tokens, in chunks of at most max_tokens
  kDecode,   // one token per sequence and step, as an answer is generated
};

// Called between steps: tokens done, of tokens in all.
using EvalProgress = std::function<void(std::int64_t done, std::int64_t total)>;

struct EvalOptions {
  EvalPath path = EvalPath::kPrefill;
  AttentionOptions attention;
  CacheType float_cache = CacheType::kF32;  // of layers without FA scales
  std::int64_t max_tokens = 2048;           // of one step
};

// Hidden states of one sequence of S tokens.
struct SequenceHidden {
  Matrix<float> main;  // [S, hidden_size] after the final norm: row i predicts token i + 1
  Matrix<float> mtp;   // [S - 1, hidden_size] after shared_head.norm: row i predicts token i + 2; empty
                       // unless asked for
};

// Throws: Error{kInvalidArgument} starting with `where` if `ids` is empty or longer than the model's context,
// or if an id is not in its vocabulary.
void check_sequence(const ModelConfig& config, std::span<const std::int32_t> ids, const std::string& where);

// Runs all sequences together through a cache of their own; what serving uses, steps of several sequences and
// the paged cache, is what runs here.
//   sequences  each as check_sequence() demands
//   with_mtp   REQUIRES: model.has_mtp()
std::vector<SequenceHidden> run_sequences(const DeepseekModel& model, OpContext& ctx,
                                          std::span<const std::vector<std::int32_t>> sequences,
                                          const EvalOptions& options, bool with_mtp,
                                          const EvalProgress& progress = {});

}  // namespace latent8
