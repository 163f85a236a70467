#include "server/reply_parts.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <ctime>
#include <nlohmann/json.hpp>
#include <random>

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

Json token_json(const Tokenizer& tokenizer, std::int32_t id, float logprob) {
  Json bytes = Json::array();
  for (const char c : tokenizer.token_bytes(id)) bytes.push_back(static_cast<unsigned char>(c));
  return {
      {"token", token_text(tokenizer, id)}, {"logprob", shown_logprob(logprob)}, {"bytes", std::move(bytes)}};
}

}  // namespace

float shown_logprob(float logprob) {
  constexpr float kLeast = -9999.0F;
  return std::isfinite(logprob) ? logprob : kLeast;
}

const char* finish_reason(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
    case FinishReason::kError:
      break;
  }
  return "abort";
}

Json to_json(const UsageCount& usage) {
  return {{"prompt_tokens", usage.prompt},
          {"completion_tokens", usage.completion},
          {"total_tokens", usage.prompt + usage.completion},
          {"prompt_tokens_details", {{"cached_tokens", usage.cached}}},
          {"completion_tokens_details", {{"reasoning_tokens", usage.reasoning}}}};
}

std::string token_text(const Tokenizer& tokenizer, std::int32_t id) {
  return tokenizer.decode(std::array{id}, /*keep_special=*/true);
}

Json chat_logprob(const Tokenizer& tokenizer, const AnsweredToken& token) {
  Json json = token_json(tokenizer, token.id, token.logprob);
  Json top = Json::array();
  for (const TokenLogprob& other : token.top) top.push_back(token_json(tokenizer, other.id, other.logprob));
  json["top_logprobs"] = std::move(top);
  return json;
}

std::string new_id(const char* prefix) {
  static thread_local std::mt19937_64 random{std::random_device{}()};
  return fmt::format("{}{:016x}{:016x}", prefix, random(), random());
}

std::int64_t unix_time() { return static_cast<std::int64_t>(std::time(nullptr)); }

}  // namespace latent8
