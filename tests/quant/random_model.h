#pragma once
// A bfloat16 MoE model of random weights, as large as a test asks for.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "base/rng.h"
#include "formats/safetensors_writer.h"
#include "quant/quantize_fixture.h"
#include "support/temp_dir.h"

namespace latent8 {

struct RandomModelShape {
  std::int64_t layers = 3, hidden = 512, intermediate = 512, experts = 64, heads = 4;
};

// Writes it into `dir`, with the tokenizer and all other sizes of tiny-r1; the first layer is dense, there is
// no MTP layer. Returns the bytes of all tensors.
class RandomModel {
 public:
  RandomModel(const TempDir& dir, RandomModelShape shape) : shape_(shape) {
    dir.copy_from(kTinyR1);
    config_ = nlohmann::json::parse(read_file(dir / "config.json"));
    config_["hidden_size"] = shape.hidden;
    config_["moe_intermediate_size"] = shape.intermediate;
    config_["intermediate_size"] = shape.intermediate;
    config_["n_routed_experts"] = shape.experts;
    config_["num_attention_heads"] = config_["num_key_value_heads"] = shape.heads;
    config_["num_hidden_layers"] = shape.layers;
    config_["num_nextn_predict_layers"] = 0;
    config_["first_k_dense_replace"] = 1;
    dir.write("config.json", config_.dump());
    plan();
    write(dir);
  }
  std::int64_t bytes() const { return bytes_; }

 private:
  std::int64_t size(const char* key) const { return config_.at(key).get<std::int64_t>(); }
  void add(const std::string& name, std::vector<std::int64_t> extents) {
    tensors_.push_back({name, DType::kBf16, std::move(extents)});
    bytes_ += tensors_.back().bytes();
  }
  void add_mlp(const std::string& name, std::int64_t intermediate) {
    add(name + ".gate_proj.weight", {intermediate, shape_.hidden});
    add(name + ".up_proj.weight", {intermediate, shape_.hidden});
    add(name + ".down_proj.weight", {shape_.hidden, intermediate});
  }
  void add_layer(std::int64_t index) {
    const std::string name = "model.layers." + std::to_string(index), attention = name + ".self_attn";
    const std::int64_t nope = size("qk_nope_head_dim"), rope = size("qk_rope_head_dim"),
                       v = size("v_head_dim"), rank = size("kv_lora_rank"), q_rank = size("q_lora_rank");
    add(attention + ".q_a_proj.weight", {q_rank, shape_.hidden});
    add(attention + ".q_a_layernorm.weight", {q_rank});
    add(attention + ".q_b_proj.weight", {shape_.heads * (nope + rope), q_rank});
    add(attention + ".kv_a_proj_with_mqa.weight", {rank + rope, shape_.hidden});
    add(attention + ".kv_a_layernorm.weight", {rank});
    add(attention + ".kv_b_proj.weight", {shape_.heads * (nope + v), rank});
    add(attention + ".o_proj.weight", {shape_.hidden, shape_.heads * v});
    add(name + ".input_layernorm.weight", {shape_.hidden});
    add(name + ".post_attention_layernorm.weight", {shape_.hidden});
    if (index == 0) return add_mlp(name + ".mlp", shape_.intermediate);
    for (std::int64_t e = 0; e < shape_.experts; ++e)
      add_mlp(name + ".mlp.experts." + std::to_string(e), shape_.intermediate);
    add(name + ".mlp.gate.weight", {shape_.experts, shape_.hidden});
    add(name + ".mlp.gate.e_score_correction_bias", {shape_.experts});
    add_mlp(name + ".mlp.shared_experts", size("n_shared_experts") * shape_.intermediate);
  }
  void plan() {
    add("model.embed_tokens.weight", {size("vocab_size"), shape_.hidden});
    for (std::int64_t l = 0; l < shape_.layers; ++l) add_layer(l);
    add("model.norm.weight", {shape_.hidden});
    add("lm_head.weight", {size("vocab_size"), shape_.hidden});
  }
  // Values repeat: what they are does not matter.
  void write(const TempDir& dir) const {
    constexpr std::int64_t kValues = 1 << 18;
    Rng rng(1);
    std::vector<float> values(kValues);
    for (float& value : values) value = rng.normal() / 16.0F;
    std::vector<std::byte> stored(kValues * 2);
    narrow(values.data(), DType::kBf16, kValues, stored.data());
    SafetensorsWriter writer(dir / "model.safetensors", tensors_);
    for (const TensorToWrite& tensor : tensors_)
      for (std::int64_t left = tensor.bytes(); left > 0;) {
        const auto offset = static_cast<std::size_t>(2 * rng.below(kValues / 2));
        const auto part = std::min<std::int64_t>(left, kValues);
        writer.append(tensor.name, std::span(stored).subspan(offset, static_cast<std::size_t>(part)));
        left -= part;
      }
    writer.finish();
  }

  RandomModelShape shape_;
  nlohmann::json config_;
  std::vector<TensorToWrite> tensors_;
  std::int64_t bytes_ = 0;
};

}  // namespace latent8
