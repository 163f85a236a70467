#include "benchmark/cost.h"

#include <algorithm>
#include <cmath>

namespace latent8 {
namespace {

OperatorCost heads_cost(const HeadWeights& w, std::int64_t rows) {
  const auto size = static_cast<double>(w.heads * w.rows * w.cols);
  const double element = static_cast<double>(w.tensor.weight_bytes()) /
                         static_cast<double>(w.tensor.out_features * w.tensor.in_features);
  return {"per-head linear", size * element, 0, size * static_cast<double>(rows)};
}

void add_mlp(std::vector<OperatorCost>& out, const GatedMlp& mlp, double rows, double share_read) {
  for (const Linear* w : {&mlp.gate_proj, &mlp.up_proj, &mlp.down_proj}) {
    OperatorCost cost = linear_cost(*w, 1);
    cost.bytes *= share_read;
    cost.int8_macs *= rows;
    cost.fp32_macs *= rows;
    out.push_back(cost);
  }
}

}  // namespace

OperatorCost linear_cost(const Linear& w, std::int64_t rows) {
  const double macs = static_cast<double>(w.out_features) * static_cast<double>(w.in_features * rows);
  const bool is_float = w.kind == Linear::Kind::kFloat;
  return {"linear", static_cast<double>(w.weight_bytes()), is_float ? 0 : macs, is_float ? macs : 0};
}

OperatorCost attention_cost(const ModelConfig& c, bool int8_cache, std::int64_t sequences,
                            std::int64_t tokens, std::int64_t depth) {
  // Keys that the query tokens see, added up: depth + 1, depth + 2, ...
  const auto t = static_cast<double>(tokens), d = static_cast<double>(depth);
  const double pairs = static_cast<double>(sequences * c.num_attention_heads) * (t * d + t * (t + 1) / 2);
  const auto latent = static_cast<double>(2 * c.kv_lora_rank), rope = static_cast<double>(c.qk_rope_head_dim);
  const double token_bytes = static_cast<double>(c.kv_lora_rank) * (int8_cache ? 1 : 2) + rope * 2;
  OperatorCost cost{"attention", static_cast<double>(sequences) * (d + t) * token_bytes, 0, pairs * rope};
  (int8_cache ? cost.int8_macs : cost.fp32_macs) += pairs * latent;
  return cost;
}

std::vector<OperatorCost> step_cost(const ModelWeights& weights, std::int64_t sequences, std::int64_t tokens,
                                    std::int64_t depth, std::optional<CacheType> cache) {
  const ModelConfig& c = weights.config;
  const std::int64_t rows = sequences * tokens;
  std::vector<OperatorCost> out;
  for (const LayerWeights& layer : weights.layers) {
    const AttentionWeights& a = layer.attention;
    if (a.q_proj) out.push_back(linear_cost(*a.q_proj, rows));
    if (a.q_a_proj) out.push_back(linear_cost(*a.q_a_proj, rows));
    if (a.q_b_proj) out.push_back(linear_cost(*a.q_b_proj, rows));
    out.push_back(linear_cost(a.kv_a_proj_with_mqa, rows));
    out.push_back(heads_cost(a.w_uk, rows));
    const bool int8_cache = cache ? *cache == CacheType::kInt8 : a.fa.has_value();
    out.push_back(attention_cost(c, int8_cache, sequences, tokens, depth));
    out.push_back(heads_cost(a.w_uv, rows));
    out.push_back(linear_cost(a.o_proj, rows));
    if (layer.mlp) {
      add_mlp(out, *layer.mlp, static_cast<double>(rows), 1);
      continue;
    }
    const MoeWeights& moe = *layer.moe;
    out.push_back(linear_cost(moe.gate, rows));
    if (moe.shared_experts) add_mlp(out, *moe.shared_experts, static_cast<double>(rows), 1);
    const auto experts = static_cast<double>(c.n_routed_experts),
               top_k = static_cast<double>(c.num_experts_per_tok);
    const double read = experts * (1.0 - std::pow(1.0 - top_k / experts, static_cast<double>(rows)));
    add_mlp(out, moe.experts[0], top_k * static_cast<double>(rows), read);
  }
  out.push_back(linear_cost(weights.lm_head, sequences));
  return out;
}

double least_seconds(std::span<const OperatorCost> operators, const MachineLimits& limits) {
  double seconds = 0;
  for (const OperatorCost& op : operators) {
    const double compute =
        op.int8_macs / (limits.int8_gmacs * 1e9) + op.fp32_macs / (limits.fp32_gmacs * 1e9);
    seconds += std::max(op.bytes / (limits.dram_gbs * 1e9), compute);
  }
  return seconds;
}

}  // namespace latent8
