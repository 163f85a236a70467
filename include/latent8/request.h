#pragma once
// What an engine is asked for, and how it answers: token ids in, token ids out.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace latent8 {

using RequestId = std::int64_t;  // > 0

// How the next token is chosen. The defaults are greedy: the token of the largest logit, of equal ones the
// lowest id. Order of the steps: penalties, logit_bias, mask, temperature, top_k, top_p, min_p, draw.
struct SamplingParams {
  float temperature = 0.0F;  // >= 0; 0: greedy
  float top_p = 1.0F;        // in (0, 1]
  std::int32_t top_k = 0;    // 0: all tokens
  float min_p = 0.0F;        // in [0, 1): tokens less likely than min_p times the likeliest are left out
  float repetition_penalty =
      1.0F;  // > 0; divides positive logits of tokens in prompt or answer, multiplies negative
  float presence_penalty = 0.0F;   // subtracted from the logits of tokens in the answer
  float frequency_penalty = 0.0F;  // the same times how often they are in it
  std::vector<std::pair<std::int32_t, float>> logit_bias;  // token id, what is added to its logit
  std::uint64_t seed = 0;       // the same request with the same seed gets the same answer in any batch
  std::int64_t max_tokens = 0;  // of the answer; 0: as many as the context holds
  std::int64_t min_tokens = 0;  // before them no EOS or stop token may come, unless the mask allows no other
  std::vector<std::int32_t> stop_token_ids;  // beside the model's EOS tokens
  bool ignore_eos = false;                   // EOS tokens do not end the answer; stop_token_ids do
  std::int32_t logprobs = -1;  // -1: none; 0: of the chosen token; n <= 64: and of the n likeliest tokens
};

// Which tokens may come next: a grammar, for instance. Called on the engine's threads, by one at a time.
class MaskProvider {
 public:
  virtual ~MaskProvider() = default;
  // Clears the bit of every token that may not come next.
  //   bits [ceil(vocab_size / 64)], token t is bit t % 64 of word t / 64; all set when called
  virtual void restrict(std::span<std::uint64_t> bits) noexcept = 0;
  // The token that came; called once per token of the answer, in order.
  virtual void accept(std::int32_t token) noexcept = 0;
  // The last `count` accepted tokens did not come after all (drafts that were refused): the next restrict()
  // is as if they had never been accepted. REQUIRES: count <= tokens accepted and not rolled back.
  virtual void rollback(std::int64_t count) noexcept = 0;
};

struct Request {
  std::vector<std::int32_t> token_ids;  // the prompt, at least one token
  SamplingParams sampling;
  std::unique_ptr<MaskProvider> mask;  // nullptr: every token may come
  std::int32_t prompt_logprobs =
      -1;                     // as SamplingParams::logprobs, of the prompt's tokens from the second on
  std::int32_t priority = 0;  // larger ones are admitted first and preempted last
};

enum class FinishReason : std::uint8_t {
  kStop,       // an EOS or stop token came, or the sink wanted no more
  kLength,     // max_tokens reached, or the context full
  kCancelled,  // cancel(), or the engine was destroyed
  kError,      // see Finish::message
};

struct TokenLogprob {
  std::int32_t id = -1;
  float logprob = 0.0F;   // log of the softmax of the model's logits, before penalties, mask and temperature
  std::int32_t rank = 0;  // 1: the likeliest
};

// One token of an answer.
struct SampledToken {
  std::int32_t id = -1;
  float logprob = 0.0F;  // as TokenLogprob, rank too; 0 unless asked for
  std::int32_t rank = 0;
  std::span<const TokenLogprob> top;  // likeliest first; valid during on_token
};

struct Usage {
  std::int64_t prompt_tokens = 0;
  std::int64_t cached_tokens = 0;      // of these, found in the prefix cache
  std::int64_t completion_tokens = 0;  // the ending EOS or stop token included
  double queue_s = 0.0;                // from submit to the first step with this request
  double prefill_s = 0.0;              // from then to the first token
  double decode_s = 0.0;               // from the first token to the last
};

struct Finish {
  FinishReason reason = FinishReason::kStop;
  Usage usage;
  std::string message;  // of kError: what failed
};

// Who takes an answer. Called on the engine thread: must not block and must not throw.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  // A token of the prompt from the second on, in order, before any of the answer; where it was asked for.
  virtual void on_prompt_token(const SampledToken& /*token*/) noexcept {}
  // One more token, EOS and stop tokens too. false: the answer is complete, it ends with kStop.
  [[nodiscard]] virtual bool on_token(const SampledToken& token) noexcept = 0;
  // The last call for a request; the engine forgets the sink with it.
  virtual void on_finish(const Finish& finish) noexcept = 0;
};

}  // namespace latent8
