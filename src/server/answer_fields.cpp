#include "server/answer_fields.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>
#include <random>

#include "server/service.h"

namespace latent8 {
namespace {

constexpr std::size_t kMaxStops = 1024;
constexpr std::int64_t kMaxPromptLogprobs = 20;
constexpr double kMaxTemperature = 100.0, kMaxPenalty = 2.0, kMaxRepetition = 100.0, kMaxBias = 100.0;

std::uint64_t random_seed() {
  static thread_local std::mt19937_64 random{std::random_device{}()};
  return random();
}

// The penalties and cuts of the distribution.
void read_distribution(const Fields& body, SamplingParams& sampling) {
  const auto set = [&](const char* key, double low, double high, float& to) {
    if (const std::optional<double> value = body.number(key, low, high)) to = static_cast<float>(*value);
  };
  set("temperature", 0.0, kMaxTemperature, sampling.temperature);
  set("min_p", 0.0, 1.0, sampling.min_p);
  set("presence_penalty", -kMaxPenalty, kMaxPenalty, sampling.presence_penalty);
  set("frequency_penalty", -kMaxPenalty, kMaxPenalty, sampling.frequency_penalty);
  set("repetition_penalty", 0.0, kMaxRepetition, sampling.repetition_penalty);
  if (!(sampling.repetition_penalty > 0.0F)) body.refuse("repetition_penalty", "a number above 0");
  set("top_p", 0.0, 1.0, sampling.top_p);
  if (!(sampling.top_p > 0.0F)) body.refuse("top_p", "a number above 0 and at most 1");
  if (!(sampling.min_p < 1.0F)) body.refuse("min_p", "a number of at least 0 and below 1");
  constexpr std::int64_t kAll = -1;  // 0 too
  if (const auto top_k = body.integer("top_k", kAll, std::numeric_limits<std::int32_t>::max()))
    sampling.top_k = *top_k > 0 ? static_cast<std::int32_t>(*top_k) : 0;
}

// The token id that a key of logit_bias is, in the one way to write it, so that none comes twice.
std::optional<std::int32_t> bias_id(const std::string& key) {
  std::int32_t id = -1;
  const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
  if (error != std::errc{} || id < 0 || std::to_string(id) != key) return {};
  return id;
}

// {"token id": what is added to its logit}, as OpenAI has it.
void read_bias(const Fields& body, std::int64_t vocab_size, SamplingParams& sampling) {
  const nlohmann::ordered_json* bias = body.object("logit_bias");
  if (bias == nullptr) return;
  for (const auto& [key, value] : bias->items()) {
    const std::optional<std::int32_t> id = bias_id(key);
    if (!id || *id >= vocab_size || !value.is_number() || !(std::abs(value.get<double>()) <= kMaxBias))
      body.refuse("logit_bias", fmt::format("an object from token ids below {} to numbers from {} to {}",
                                            vocab_size, -kMaxBias, kMaxBias));
    sampling.logit_bias.emplace_back(*id, value.get<float>());
  }
}

void read_ends(const Fields& body, const ServiceOptions& options, std::int64_t least_max_tokens,
               AnswerFields& out) {
  SamplingParams& sampling = out.sampling;
  sampling.min_tokens = body.integer("min_tokens", 0).value_or(0);
  std::optional<std::int64_t> most = body.integer("max_tokens", least_max_tokens);
  if (const auto newer = body.integer("max_completion_tokens", 1)) most = newer;
  out.no_answer = most == 0;
  if (most) sampling.max_tokens = std::max<std::int64_t>(*most, 1);
  sampling.ignore_eos = body.boolean("ignore_eos").value_or(false);
  sampling.stop_token_ids =
      body.token_ids("stop_token_ids", options.vocab_size).value_or(std::vector<std::int32_t>{});
}

}  // namespace

AnswerFields read_answer_fields(const Fields& body, const ServiceOptions& options,
                                std::int64_t least_max_tokens) {
  AnswerFields out;
  out.sampling = options.defaults;
  read_distribution(body, out.sampling);
  read_bias(body, options.vocab_size, out.sampling);
  read_ends(body, options, least_max_tokens, out);
  out.prompt_logprobs =
      static_cast<std::int32_t>(body.integer("prompt_logprobs", 0, kMaxPromptLogprobs).value_or(-1));
  const auto seed = body.integer("seed", std::numeric_limits<std::int64_t>::min());
  out.sampling.seed = seed ? static_cast<std::uint64_t>(*seed) : random_seed();
  out.format = read_answer_format(body);
  out.stop = body.texts("stop", kMaxStops);
  out.n = body.integer("n", 1, options.max_n).value_or(1);
  out.stream = body.boolean("stream").value_or(false);
  out.keep_special = !body.boolean("skip_special_tokens").value_or(true);
  if (const nlohmann::ordered_json* stream = body.object("stream_options"))
    out.include_usage = Fields(*stream, "stream_options").boolean("include_usage").value_or(false);
  return out;
}

}  // namespace latent8
