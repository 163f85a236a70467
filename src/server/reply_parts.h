#pragma once
// Parts of replies that the OpenAI routes share.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "frontend/frontend.h"
#include "server/generation.h"

namespace latent8 {

// "stop", "length", ...; kError and kCancelled are "abort".
const char* finish_reason(FinishReason reason);

struct UsageCount {
  std::int64_t prompt = 0, cached = 0, completion = 0, reasoning = 0;
};
nlohmann::ordered_json to_json(const UsageCount& usage);

// JSON has no -Infinity.
float shown_logprob(float logprob);
// A token's text; bytes that are no whole characters become U+FFFD.
std::string token_text(const Tokenizer& tokenizer, std::int32_t id);
// {"token", "logprob", "bytes", "top_logprobs"} as chat completions have it.
nlohmann::ordered_json chat_logprob(const Tokenizer& tokenizer, const AnsweredToken& token);

// "chatcmpl-" and 128 random bits.
std::string new_id(const char* prefix);
std::int64_t unix_time();

}  // namespace latent8
