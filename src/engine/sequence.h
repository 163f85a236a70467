#pragma once
// One request inside the engine: its tokens, its place in the cache, and what is left to compute.

#include <chrono>
#include <cstdint>
#include <vector>

#include "kv/block_pool.h"
#include "kv/prefix_cache.h"
#include "latent8/request.h"

namespace latent8 {

using Clock = std::chrono::steady_clock;

// Thread-safety: belongs to the engine thread once submitted.
// Invariant: num_computed_tokens < length() between steps, so that there is always a token to compute.
struct Sequence {
  Sequence(RequestId request_id, Request request, TokenSink& token_sink, std::int64_t max_tokens,
           std::int64_t block_size)
      : id(request_id),
        tokens(std::move(request.token_ids)),
        prompt_tokens(static_cast<std::int64_t>(tokens.size())),
        sampling(std::move(request.sampling)),
        mask(std::move(request.mask)),
        prompt_logprobs(request.prompt_logprobs),
        priority(request.priority),
        sink(&token_sink),
        token_limit(max_tokens),
        blocks(block_size),
        submitted(Clock::now()) {}

  std::int64_t length() const { return static_cast<std::int64_t>(tokens.size()) - drafts; }
  std::int64_t remaining() const { return length() - num_computed_tokens; }
  // Whether its next tokens are computed as a prompt: the prompt, and after a preemption the answer so far
  // too.
  bool in_prefill() const { return num_computed_tokens < prefill_end; }
  std::int64_t answer_tokens() const { return length() - prompt_tokens; }
  // Whether logits of prompt tokens are still wanted, so that none of them may be left out.
  bool scores_prompt() const { return prompt_logprobs >= 0 && scored_tokens < prompt_tokens; }
  // Whether the MTP layer's cache holds all that the next step continues, so that drafts are no junk.
  bool mtp_follows() const { return mtp_tokens == (num_computed_tokens == 0 ? 0 : num_computed_tokens + 1); }
  // Leaves `count` of the drafts.
  void keep_drafts(std::int64_t count) {
    tokens.resize(static_cast<std::size_t>(length() + count));
    drafts = count;
  }

  RequestId id;
  std::vector<std::int32_t> tokens;  // prompt, then answer, then drafts
  std::int64_t prompt_tokens;
  SamplingParams sampling;
  std::unique_ptr<MaskProvider> mask;
  std::int32_t prompt_logprobs;
  std::int32_t priority;
  TokenSink* sink;
  std::int64_t token_limit;  // of prompt and answer together

  std::int64_t drafts = 0;               // guesses behind the answer that the next step checks
  std::int64_t accepted_drafts = 0;      // in the step under way
  std::int64_t num_computed_tokens = 0;  // whose latents are in the cache
  std::int64_t mtp_tokens = 0;           // the same of the MTP layer, one more than of the others
  std::int64_t scored_tokens = 1;        // of the prompt: the first has no logprob
  std::int64_t prefill_end = 0;          // tokens before this place are computed as a prompt (again)
  BlockTable blocks;
  PrefixNode prefix;               // of the full blocks that have been kept, or found
  std::int64_t kept_blocks = 0;    // how many these are
  std::int64_t cached_tokens = 0;  // of the prompt, found when it was first admitted

  bool ended = false;  // its on_finish is due
  Clock::time_point submitted, started, first_token, last_token;
};

}  // namespace latent8
