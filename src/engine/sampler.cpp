#include "engine/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/rng.h"

namespace latent8 {
namespace {

struct Largest {
  std::int32_t id = -1;  // -1: every logit is -Inf
  float logit = -std::numeric_limits<float>::infinity();
  bool finite = true;  // no NaN, no +Inf
};

Largest find_largest(std::span<const float> logits) {
  Largest best;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const float x = logits[i];
    if (!(x <= std::numeric_limits<float>::max())) best.finite = false;
    if (x > best.logit) {
      best.logit = x;
      best.id = static_cast<std::int32_t>(i);
    }
  }
  return best;
}

// How likely a token is, relative to the likeliest.
double weight(float logit, float largest, float temperature) {
  return std::exp((static_cast<double>(logit) - largest) / temperature);
}

double uniform(std::uint64_t seed, std::int64_t index) {
  constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15ULL;  // odd: places of different indices never meet
  return Rng(Rng(seed).next_u64() ^ (static_cast<std::uint64_t>(index) * kStep)).uniform();
}

std::size_t at(std::int32_t id) { return static_cast<std::size_t>(id); }

std::int64_t answer_tokens(const SampleInput& in) {
  return static_cast<std::int64_t>(in.tokens.size()) - in.prompt_tokens;
}

constexpr float kNever = -std::numeric_limits<float>::infinity();

}  // namespace

SampleResult Sampler::sample(const SampleInput& in) {
  SampleResult result;
  if (!find_largest(in.logits).finite) {
    result.status = SampleResult::Status::kNotFinite;
    return result;
  }
  const bool may_end = answer_tokens(in) >= in.params->min_tokens;
  std::span<const float> logits = adjust(in, may_end);
  Largest best = find_largest(logits);
  if (best.id < 0 && !may_end) {  // a grammar that is at its end goes before min_tokens
    logits = adjust(in, /*may_end=*/true);
    best = find_largest(logits);
  }
  if (best.id < 0) {
    result.status = SampleResult::Status::kNothingAllowed;
    return result;
  }
  result.token.id = in.params->temperature == 0.0F
                        ? best.id
                        : draw(logits, best.logit, *in.params, uniform(in.params->seed, answer_tokens(in)));
  if (in.logprobs && in.params->logprobs >= 0) logprobs(in.logits, in.params->logprobs, result);
  return result;
}

SampleResult Sampler::score(std::span<const float> logits, std::int32_t id, std::int32_t top) {
  SampleResult result;
  result.token.id = id;
  if (find_largest(logits).finite)
    logprobs(logits, top, result);
  else
    result.status = SampleResult::Status::kNotFinite;
  return result;
}

// The logits after penalties, bias and mask; those given if there is none of them.
std::span<const float> Sampler::adjust(const SampleInput& in, bool may_end) {
  const SamplingParams& p = *in.params;
  const bool penalties =
      p.repetition_penalty != 1.0F || p.presence_penalty != 0.0F || p.frequency_penalty != 0.0F;
  if (!penalties && p.logit_bias.empty() && in.allowed.empty() && may_end) return in.logits;
  adjusted_.assign(in.logits.begin(), in.logits.end());
  if (penalties) apply_penalties(in);
  for (const auto& [id, bias] : p.logit_bias) adjusted_[at(id)] += bias;
  if (!in.allowed.empty())
    for (std::size_t i = 0; i < adjusted_.size(); ++i)
      if ((in.allowed[i / 64] >> (i % 64) & 1U) == 0) adjusted_[i] = kNever;
  if (!may_end) {
    forbid(in.eos_token_ids);
    forbid(p.stop_token_ids);
  }
  return adjusted_;
}

void Sampler::forbid(std::span<const std::int32_t> ids) {
  for (const std::int32_t id : ids)
    if (at(id) < adjusted_.size()) adjusted_[at(id)] = kNever;
}

void Sampler::apply_penalties(const SampleInput& in) {
  const SamplingParams& p = *in.params;
  counts_.resize(in.logits.size(), 0);
  for (const std::int32_t id : in.tokens.subspan(static_cast<std::size_t>(in.prompt_tokens)))
    ++counts_[at(id)];
  for (const std::int32_t id : in.tokens) {
    std::int32_t& count = counts_[at(id)];
    if (count < 0) continue;  // done
    float& logit = adjusted_[at(id)];
    logit = logit > 0.0F ? logit / p.repetition_penalty : logit * p.repetition_penalty;
    if (count > 0) logit -= p.presence_penalty + p.frequency_penalty * static_cast<float>(count);
    count = -1;
  }
  for (const std::int32_t id : in.tokens) counts_[at(id)] = 0;
}

std::int32_t Sampler::draw(std::span<const float> logits, float largest, const SamplingParams& p, double u) {
  if (p.top_k > 0 || p.top_p < 1.0F || p.min_p > 0.0F) return draw_from_front(logits, largest, p, u);
  double total = 0.0;
  for (const float logit : logits) total += weight(logit, largest, p.temperature);
  double left = u * total;
  std::int32_t last = -1;  // of a weight above 0: the one to take if rounding leaves a rest
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double w = weight(logits[i], largest, p.temperature);
    if (w > 0.0) last = static_cast<std::int32_t>(i);
    left -= w;
    if (left < 0.0) break;
  }
  return last;
}

// Sorts no more of the vocabulary than top_k or top_p reach.
std::int32_t Sampler::draw_from_front(std::span<const float> logits, float largest, const SamplingParams& p,
                                      double u) {
  constexpr std::size_t kFirst = 64, kGrowth = 8;
  const std::size_t n = logits.size();
  const std::size_t limit = p.top_k > 0 ? std::min(static_cast<std::size_t>(p.top_k), n) : n;
  order_all(n);
  std::size_t sorted = std::min(limit, p.top_k > 0 ? limit : kFirst);
  sort_front(logits, 0, sorted);
  double total = std::numeric_limits<double>::infinity();
  if (p.top_p < 1.0F) {
    total = 0.0;
    for (std::size_t i = 0; i < limit; ++i)
      total += weight(logits[limit < n ? at(order_[i]) : i], largest, p.temperature);
  }
  const double wanted = p.top_p * total;
  double kept = 0.0;
  std::size_t count = 0;
  for (; count < limit && kept < wanted; ++count) {
    if (count == sorted) {
      const std::size_t more = std::min(limit, sorted * kGrowth);
      sort_front(logits, sorted, more);
      sorted = more;
    }
    const double w = weight(logits[at(order_[count])], largest, p.temperature);
    if (w == 0.0 || w < p.min_p) break;
    kept += w;
  }
  double left = u * kept;
  for (std::size_t i = 0; i + 1 < count; ++i) {
    left -= weight(logits[at(order_[i])], largest, p.temperature);
    if (left < 0.0) return order_[i];
  }
  return order_[count - 1];  // count >= 1: the likeliest has weight 1
}

void Sampler::logprobs(std::span<const float> logits, std::int32_t top, SampleResult& result) {
  const float largest = find_largest(logits).logit;
  double sum = 0.0;
  for (const float logit : logits) sum += weight(logit, largest, 1.0F);
  const double lse = largest + std::log(sum);
  const auto logprob = [&](std::int32_t id) { return static_cast<float>(logits[at(id)] - lse); };
  const float own = logits[at(result.token.id)];
  result.token.logprob = logprob(result.token.id);
  result.token.rank =
      1 + static_cast<std::int32_t>(std::ranges::count_if(logits, [&](float x) { return x > own; }));
  const std::size_t n = std::min(static_cast<std::size_t>(top), logits.size());
  if (n == 0) return;
  order_all(logits.size());
  sort_front(logits, 0, n);
  for (std::size_t i = 0; i < n; ++i)
    result.top.push_back({order_[i], logprob(order_[i]), static_cast<std::int32_t>(i + 1)});
}

void Sampler::order_all(std::size_t n) {
  order_.resize(n);
  std::iota(order_.begin(), order_.end(), 0);
}

// Puts the likeliest of order_[from, n) into order_[from, to), sorted; equal logits by id.
void Sampler::sort_front(std::span<const float> logits, std::size_t from, std::size_t to) {
  const auto likelier = [&](std::int32_t a, std::int32_t b) {
    const float la = logits[at(a)], lb = logits[at(b)];
    return la != lb ? la > lb : a < b;
  };
  const auto begin = order_.begin();
  const auto first = begin + static_cast<std::ptrdiff_t>(from),
             last = begin + static_cast<std::ptrdiff_t>(to);
  if (last != order_.end()) std::nth_element(first, last, order_.end(), likelier);
  std::sort(first, last, likelier);
}

}  // namespace latent8
