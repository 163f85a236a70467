#include "verify/layout.h"

#include <fmt/format.h>

#include <utility>

namespace latent8 {
namespace {

using Form = ExpectedModule::Form;

struct Builder {
  std::vector<ExpectedModule> out;
  std::string kind_prefix;

  void add(Form form, std::string name, std::string kind, std::int64_t rows, std::int64_t cols,
           std::string norm = "") {
    out.push_back({form, std::move(name), kind_prefix + kind, std::move(norm), rows, cols, false});
  }
  void norm(const std::string& name, std::int64_t size) { add(Form::kNorm, name, "norms", size, 0); }
};

void add_attention(Builder& b, const ModelConfig& c, const std::string& layer) {
  const std::string name = layer + ".self_attn", input = layer + ".input_layernorm";
  const std::int64_t heads = c.num_attention_heads, q_rows = heads * c.qk_head_dim();
  if (c.q_lora_rank) {
    b.add(Form::kLinear, name + ".q_a_proj", "q_a_proj", *c.q_lora_rank, c.hidden_size, input);
    b.norm(name + ".q_a_layernorm", *c.q_lora_rank);
    b.add(Form::kLinear, name + ".q_b_proj", "q_b_proj", q_rows, *c.q_lora_rank, name + ".q_a_layernorm");
  } else {
    b.add(Form::kLinear, name + ".q_proj", "q_proj", q_rows, c.hidden_size, input);
  }
  b.add(Form::kLinear, name + ".kv_a_proj_with_mqa", "kv_a_proj_with_mqa",
        c.kv_lora_rank + c.qk_rope_head_dim, c.hidden_size, input);
  b.norm(name + ".kv_a_layernorm", c.kv_lora_rank);
  b.add(Form::kMatrix, name + ".kv_b_proj", "kv_b_proj", heads * (c.qk_nope_head_dim + c.v_head_dim),
        c.kv_lora_rank, name + ".kv_a_layernorm");
  b.add(Form::kLinear, name + ".o_proj", "o_proj", c.hidden_size, heads * c.v_head_dim);
}

void add_mlp(Builder& b, const std::string& name, const std::string& kind, std::int64_t hidden,
             std::int64_t intermediate, const std::string& norm) {
  b.add(Form::kLinear, name + ".gate_proj", kind + ".gate_proj", intermediate, hidden, norm);
  b.add(Form::kLinear, name + ".up_proj", kind + ".up_proj", intermediate, hidden, norm);
  b.add(Form::kLinear, name + ".down_proj", kind + ".down_proj", hidden, intermediate);
}

void add_moe(Builder& b, const ModelConfig& c, const std::string& name, const std::string& norm) {
  for (std::int64_t e = 0; e < c.n_routed_experts; ++e)
    add_mlp(b, fmt::format("{}.experts.{}", name, e), "experts", c.hidden_size, c.moe_intermediate_size,
            norm);
  b.add(Form::kMatrix, name + ".gate", "gate", c.n_routed_experts, c.hidden_size, norm);
  if (c.topk_method == "noaux_tc")
    b.add(Form::kVector, name + ".gate.e_score_correction_bias", "gate", c.n_routed_experts, 0);
  if (c.n_shared_experts > 0)
    add_mlp(b, name + ".shared_experts", "shared_experts", c.hidden_size,
            c.n_shared_experts * c.moe_intermediate_size, norm);
}

// What an MTP layer has besides a decoder layer's modules. Its embedding and head may be the model's.
void add_mtp(Builder& b, const ModelConfig& c, const std::string& layer) {
  b.norm(layer + ".enorm", c.hidden_size);
  b.norm(layer + ".hnorm", c.hidden_size);
  b.add(Form::kMatrix, layer + ".eh_proj", "eh_proj", c.hidden_size, 2 * c.hidden_size);
  b.norm(layer + ".shared_head.norm", c.hidden_size);
  b.add(Form::kMatrix, layer + ".embed_tokens", "embed_tokens", c.vocab_size, c.hidden_size);
  b.out.back().optional = true;
  b.add(Form::kMatrix, layer + ".shared_head.head", "head", c.vocab_size, c.hidden_size,
        layer + ".shared_head.norm");
  b.out.back().optional = true;
}

}  // namespace

std::vector<ExpectedModule> expected_layer(const ModelConfig& c, std::int64_t layer) {
  const bool mtp = layer >= c.num_hidden_layers;
  Builder b{{}, mtp ? "mtp." : ""};
  const std::string name = fmt::format("model.layers.{}", layer), norm = name + ".post_attention_layernorm";
  b.norm(name + ".input_layernorm", c.hidden_size);
  add_attention(b, c, name);
  b.norm(norm, c.hidden_size);
  if (c.is_moe_layer(layer))
    add_moe(b, c, name + ".mlp", norm);
  else
    add_mlp(b, name + ".mlp", "mlp", c.hidden_size, c.intermediate_size, norm);
  if (mtp) add_mtp(b, c, name);
  return std::move(b.out);
}

std::vector<ExpectedModule> expected_outside(const ModelConfig& c) {
  Builder b;
  b.add(Form::kMatrix, "model.embed_tokens", "embed_tokens", c.vocab_size, c.hidden_size);
  b.norm("model.norm", c.hidden_size);
  b.add(Form::kMatrix, "lm_head", "lm_head", c.vocab_size, c.hidden_size, "model.norm");
  b.out.back().optional = c.tie_word_embeddings;
  return std::move(b.out);
}

}  // namespace latent8
