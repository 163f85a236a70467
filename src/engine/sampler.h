#pragma once
// From logits to the next token.

#include <cstdint>
#include <span>
#include <vector>

#include "latent8/request.h"

namespace latent8 {

struct SampleInput {
  std::span<const float> logits;  // [vocab_size]
  const SamplingParams* params = nullptr;
  std::span<const std::int32_t> tokens;  // prompt, then answer so far
  std::int64_t prompt_tokens = 0;
  std::span<const std::uint64_t> allowed;       // bits as in MaskProvider::restrict; empty: every token
  std::span<const std::int32_t> eos_token_ids;  // with params' stop tokens: what min_tokens forbids
  bool logprobs = true;                         // false: params->logprobs is passed over
};

struct SampleResult {
  enum class Status : std::uint8_t { kChosen, kNotFinite, kNothingAllowed };
  Status status = Status::kChosen;  // kNotFinite: a logit is NaN or +Inf
  TokenLogprob token;               // logprob is 0 unless asked for
  std::vector<TokenLogprob> top;    // likeliest first
};

// Holds the memory that sampling works in. The choice is a pure function of the input: the random number of
// the n-th token of an answer comes from the seed and n alone.
// Thread-safety: none; one per thread.
class Sampler {
 public:
  SampleResult sample(const SampleInput& in);
  // What sample() says of the logits if the token is a given one; `top` as many likeliest ones. kNotFinite
  // as there.
  SampleResult score(std::span<const float> logits, std::int32_t id, std::int32_t top);

 private:
  std::span<const float> adjust(const SampleInput& in, bool may_end);
  void apply_penalties(const SampleInput& in);
  void forbid(std::span<const std::int32_t> ids);
  std::int32_t draw(std::span<const float> logits, float largest, const SamplingParams& params, double u);
  std::int32_t draw_from_front(std::span<const float> logits, float largest, const SamplingParams& params,
                               double u);
  void logprobs(std::span<const float> logits, std::int32_t top, SampleResult& result);
  void order_all(std::size_t n);
  void sort_front(std::span<const float> logits, std::size_t from, std::size_t to);

  std::vector<float> adjusted_;       // [vocab_size] logits after penalties and mask
  std::vector<std::int32_t> counts_;  // [vocab_size] zero between calls
  std::vector<std::int32_t> order_;   // [vocab_size] token ids, the likeliest sorted to the front
};

}  // namespace latent8
