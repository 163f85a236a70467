#include "model/gate.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

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

// The `count` largest values' indices, largest first; ties go to the lower index.
void top_k(std::span<const float> values, std::int64_t count, std::vector<std::int32_t>& order) {
  order.resize(values.size());
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

// Sets the choice scores of experts outside the best groups to -inf.
void limit_groups(const ModelConfig& config, std::vector<float>& choice, std::vector<std::int32_t>& order) {
  const auto groups = static_cast<std::size_t>(config.n_group), size = choice.size() / groups;
  std::vector<float> scores(groups);
  for (std::size_t g = 0; g < groups; ++g)
    scores[g] = group_score(std::span(choice).subspan(g * size, size), config.topk_method == "noaux_tc");
  top_k(scores, config.topk_group, order);
  for (std::size_t i = static_cast<std::size_t>(config.topk_group); i < groups; ++i) {
    // partial_sort leaves the groups that were not chosen at the end, in any order
    const auto g = static_cast<std::size_t>(order[i]);
    std::fill_n(choice.begin() + static_cast<std::ptrdiff_t>(g * size), size, kOut);
  }
}

}  // namespace

void route(const ModelConfig& config, Mat<float> logits, std::span<const float> bias, Routing& out) {
  const std::int64_t k = config.num_experts_per_tok;
  out.top_k = k;
  out.expert.resize(static_cast<std::size_t>(logits.rows * k));
  out.weight.resize(out.expert.size());
  std::vector<float> choice;
  std::vector<std::int32_t> order;
  for (std::int64_t t = 0; t < logits.rows; ++t) {
    const std::span<float> scores = logits.row_span(t);
    config.scoring_func == "sigmoid" ? sigmoid(scores) : softmax(scores);
    choice.assign(scores.begin(), scores.end());
    for (std::size_t e = 0; e < bias.size(); ++e) choice[e] += bias[e];
    if (config.n_group > 1) limit_groups(config, choice, order);
    top_k(choice, k, order);
    float sum = 0;
    for (std::int64_t i = 0; i < k; ++i)
      sum += scores[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])];
    const float scale =
        static_cast<float>(config.routed_scaling_factor) / (config.norm_topk_prob ? sum + 1e-20F : 1.0F);
    for (std::int64_t i = 0; i < k; ++i) {
      const std::int32_t e = order[static_cast<std::size_t>(i)];
      out.expert[static_cast<std::size_t>(t * k + i)] = e;
      out.weight[static_cast<std::size_t>(t * k + i)] = scores[static_cast<std::size_t>(e)] * scale;
    }
  }
}

}  // namespace latent8
