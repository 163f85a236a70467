#include "ops/routing.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace latent8 {
namespace {

constexpr float kOut = -std::numeric_limits<float>::infinity();

void sigmoid(std::span<float> x) {
  for (float& v : x) v = 1.0F / (1.0F + std::exp(-v));
}

void softmax(std::span<float> x) {
  const float max = *std::max_element(x.begin(), x.end());
  float sum = 0;
  for (float& v : x) sum += v = std::exp(v - max);
  for (float& v : x) v /= sum;
}

// The `count` largest values' indices come first in `order`, largest first; ties go to the lower index.
void top_k(std::span<const float> values, std::int64_t count, std::span<std::int32_t> order) {
  std::iota(order.begin(), order.end(), 0);
  std::partial_sort(order.begin(), order.begin() + count, order.end(), [&](std::int32_t a, std::int32_t b) {
    const float x = values[static_cast<std::size_t>(a)], y = values[static_cast<std::size_t>(b)];
    return x != y ? x > y : a < b;
  });
}

float group_score(std::span<const float> group, bool sum_of_two) {
  float best = kOut, second = kOut;
  for (const float v : group) {
    second = std::max(second, std::min(best, v));
    best = std::max(best, v);
  }
  return sum_of_two && group.size() > 1 ? best + second : best;
}

// What a token needs to be routed.
struct TokenScratch {
  std::span<float> choice;         // [experts] biased scores
  std::span<float> group;          // [n_group]
  std::span<std::int32_t> order;   // [max(experts, n_group)]
  static std::int64_t bytes(std::int64_t experts, std::int64_t groups) {
    return 4 * (experts + groups + std::max(experts, groups));
  }
  static TokenScratch at(void* memory, std::int64_t experts, std::int64_t groups) {
    auto* floats = static_cast<float*>(memory);
    const auto n = static_cast<std::size_t>(experts), g = static_cast<std::size_t>(groups);
    return {{floats, n},
            {floats + experts, g},
            {reinterpret_cast<std::int32_t*>(floats + experts + groups), std::max(n, g)}};
  }
};

// Sets the choice scores of experts outside the best groups to -inf.
void limit_groups(const RoutingRule& rule, const TokenScratch& s) {
  const std::size_t groups = s.group.size(), size = s.choice.size() / groups;
  for (std::size_t g = 0; g < groups; ++g)
    s.group[g] = group_score(s.choice.subspan(g * size, size), rule.group_score_is_sum_of_two);
  const std::span<std::int32_t> order = s.order.first(groups);
  top_k(s.group, rule.topk_group, order);
  for (std::size_t i = static_cast<std::size_t>(rule.topk_group); i < groups; ++i) {
    // partial_sort leaves the groups that were not chosen at the end, in any order
    const auto g = static_cast<std::size_t>(order[i]);
    std::fill_n(s.choice.begin() + static_cast<std::ptrdiff_t>(g * size), size, kOut);
  }
}

//   expert, weight [top_k]
void route_token(const RoutingRule& rule, std::span<float> scores, std::span<const float> bias,
                 const TokenScratch& s, std::int32_t* expert, float* weight) {
  rule.scores == RoutingRule::Scores::kSigmoid ? sigmoid(scores) : softmax(scores);
  std::copy(scores.begin(), scores.end(), s.choice.begin());
  for (std::size_t e = 0; e < bias.size(); ++e) s.choice[e] += bias[e];
  if (rule.n_group > 1) limit_groups(rule, s);
  const std::span<std::int32_t> order = s.order.first(scores.size());
  top_k(s.choice, rule.top_k, order);
  float sum = 0;
  for (std::int64_t i = 0; i < rule.top_k; ++i)
    sum += scores[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])];
  const float scale = rule.scale / (rule.normalise ? sum + 1e-20F : 1.0F);
  for (std::int64_t i = 0; i < rule.top_k; ++i) {
    expert[i] = order[static_cast<std::size_t>(i)];
    weight[i] = scores[static_cast<std::size_t>(expert[i])] * scale;
  }
}

}  // namespace

void route(OpContext& ctx, const RoutingRule& rule, Mat<float> logits, std::span<const float> bias,
           Routing& out) {
  const std::int64_t k = rule.top_k, experts = logits.cols;
  out.top_k = k;
  out.expert.resize(static_cast<std::size_t>(logits.rows * k));
  out.weight.resize(out.expert.size());
  ctx.reserve_worker_scratch(TokenScratch::bytes(experts, rule.n_group));
  ctx.pool().parallel_for(logits.rows, 4, [&](std::int64_t begin, std::int64_t end, int worker) {
    const TokenScratch scratch = TokenScratch::at(ctx.worker_scratch(worker), experts, rule.n_group);
    for (std::int64_t t = begin; t < end; ++t)
      route_token(rule, logits.row_span(t), bias, scratch, out.expert.data() + t * k,
                  out.weight.data() + t * k);
  });
}

}  // namespace latent8
