#include "benchmark/random_source.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/dtype.h"
#include "base/rng.h"
#include "formats/atomic_file.h"
#include "formats/layer_schema.h"
#include "formats/safetensors_writer.h"
#include "kernels/fp8_block.h"
#include "model/shapes.h"
#include "text/byte_alphabet.h"

namespace latent8 {
namespace {

constexpr float kFp8Deviation = 100.0F;          // the largest of a block is near 448 then
constexpr std::int64_t kTable = 3 << 20;         // weights
constexpr std::int64_t kPieceWeights = 1 << 20;  // weights
constexpr std::int64_t kShardExperts = 64;       // of R1, 2.8 GB

struct Weight {
  std::string name;
  std::int64_t rows, cols;
  enum class Kind : std::uint8_t { kLinear, kBf16, kOnes, kZerosF32 } kind = Kind::kLinear;
};

Weight weight_of(const LayerSchema& layer, const TensorSchema& tensor, std::int64_t expert) {
  using Kind = Weight::Kind;
  const std::string name = layer.weight(tensor, expert);
  if (tensor.form == TensorForm::kNorm) return {name, 0, tensor.rows, Kind::kOnes};
  if (tensor.form == TensorForm::kVector) return {name, 0, tensor.rows, Kind::kZerosF32};
  // What published fp8 checkpoints have in fp8.
  const bool fp8 = tensor.may_be_int8() || tensor.role == TensorRole::kKvBProj;
  return {name, tensor.rows, tensor.cols, fp8 ? Kind::kLinear : Kind::kBf16};
}

std::vector<Weight> common_weights(const ModelConfig& c) {
  std::vector<Weight> out;
  for (const LayerSchema& part : {outside_schema(c), layer_schema(c, 0)})
    for (const TensorSchema& tensor : part.tensors)
      if (tensor.part != LayerPart::kExpert) out.push_back(weight_of(part, tensor, -1));
  return out;
}

std::vector<Weight> expert_weights(const ModelConfig& c, std::int64_t begin, std::int64_t end) {
  const LayerSchema layer = layer_schema(c, 0);
  std::vector<Weight> out;
  for (std::int64_t e = begin; e < end; ++e)
    for (const TensorSchema& tensor : layer.tensors)
      if (tensor.part == LayerPart::kExpert) out.push_back(weight_of(layer, tensor, e));
  return out;
}

std::vector<std::vector<Weight>> shards(const ModelConfig& c) {
  std::vector<std::vector<Weight>> out{common_weights(c)};
  for (std::int64_t e = 0; e < c.n_routed_experts; e += kShardExperts)
    out.push_back(expert_weights(c, e, std::min(e + kShardExperts, c.n_routed_experts)));
  return out;
}

std::int64_t blocks(std::int64_t n) { return (n + kFp8Block - 1) / kFp8Block; }

std::vector<TensorToWrite> tensors_of(const Weight& w, bool fp8) {
  using Kind = Weight::Kind;
  if (w.kind == Kind::kOnes) return {{w.name, DType::kBf16, {w.cols}}};
  if (w.kind == Kind::kZerosF32) return {{w.name, DType::kF32, {w.cols}}};
  if (w.kind == Kind::kBf16 || !fp8) return {{w.name, DType::kBf16, {w.rows, w.cols}}};
  return {{w.name, DType::kF8E4M3, {w.rows, w.cols}},
          {w.name + "_scale_inv", DType::kF32, {blocks(w.rows), blocks(w.cols)}}};
}

// Random numbers in the two stored types, with unit deviation in bf16 and kFp8Deviation in fp8.
class RandomTable {
 public:
  RandomTable() : bf16_(kTable), fp8_(kTable) {
    Rng rng(1);
    for (std::size_t i = 0; i < kTable; ++i) {
      const float x = rng.normal();
      bf16_[i] = to_bf16(x / 64.0F);
      fp8_[i] = to_fp8_e4m3(std::clamp(x * kFp8Deviation, -448.0F, 448.0F));
    }
  }
  // `count` <= kPieceWeights numbers from a random place.
  std::span<const std::byte> piece(std::int64_t count, bool fp8) {
    const auto begin = static_cast<std::size_t>(place_.below(kTable - count)),
               n = static_cast<std::size_t>(count);
    return fp8 ? std::as_bytes(std::span(fp8_).subspan(begin, n))
               : std::as_bytes(std::span(bf16_).subspan(begin, n));
  }

 private:
  std::vector<Bf16> bf16_;
  std::vector<Fp8E4M3> fp8_;
  Rng place_{2};
};

class Writer {
 public:
  Writer(const RandomSourceOptions& options) : options_(options) {}

  void write(const std::filesystem::path& path, const std::vector<Weight>& weights) {
    std::vector<TensorToWrite> tensors;
    for (const Weight& w : weights)
      for (TensorToWrite& tensor : tensors_of(w, options_.fp8)) tensors.push_back(std::move(tensor));
    order_for_alignment(tensors);
    SafetensorsWriter file(path, tensors);
    for (const Weight& w : weights) append(file, w);
    file.finish();
  }

 private:
  void append(SafetensorsWriter& file, const Weight& w) {
    using Kind = Weight::Kind;
    const auto cols = static_cast<std::size_t>(w.cols);
    if (w.kind == Kind::kOnes) {
      const std::vector<Bf16> ones(cols, to_bf16(1.0F));
      return file.append(w.name, std::as_bytes(std::span(ones)));
    }
    if (w.kind == Kind::kZerosF32) {
      const std::vector<float> zeros(cols);
      return file.append(w.name, std::as_bytes(std::span(zeros)));
    }
    const bool fp8 = w.kind == Kind::kLinear && options_.fp8;
    for (std::int64_t left = w.rows * w.cols; left > 0; left -= kPieceWeights) {
      const auto bytes = table_.piece(std::min(left, kPieceWeights), fp8);
      file.append(w.name, bytes);
      written_ += static_cast<std::int64_t>(bytes.size());
      if (options_.progress) options_.progress(written_);
    }
    if (!fp8) return;
    std::vector<float> scale(static_cast<std::size_t>(blocks(w.rows) * blocks(w.cols)));
    for (float& s : scale)
      s = static_cast<float>(0.75 + 0.5 * rng_.uniform()) /
          (kFp8Deviation * std::sqrt(static_cast<float>(w.cols)));
    file.append(w.name + "_scale_inv", std::as_bytes(std::span(scale)));
  }

  const RandomSourceOptions& options_;
  RandomTable table_;
  Rng rng_{3};
  std::int64_t written_ = 0;
};

std::string config_json(const ModelConfig& c, bool fp8) {
  return fmt::format(
      R"({{"architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "hidden_act": "silu",
"attention_bias": false, "tie_word_embeddings": false, "torch_dtype": "bfloat16", "moe_layer_freq": 1,
"vocab_size": {}, "hidden_size": {}, "intermediate_size": {}, "moe_intermediate_size": {},
"num_hidden_layers": {}, "num_nextn_predict_layers": 0, "num_attention_heads": {}, "num_key_value_heads": {},
"n_shared_experts": {}, "n_routed_experts": {}, "num_experts_per_tok": {}, "n_group": {}, "topk_group": {},
"first_k_dense_replace": {}, "q_lora_rank": {}, "kv_lora_rank": {}, "qk_nope_head_dim": {},
"qk_rope_head_dim": {}, "v_head_dim": {}, "routed_scaling_factor": {}, "rms_norm_eps": {}, "rope_theta": {},
"scoring_func": "{}", "topk_method": "{}", "norm_topk_prob": true, "max_position_embeddings": {}{}}}
)",
      c.vocab_size, c.hidden_size, c.intermediate_size, c.moe_intermediate_size, c.num_hidden_layers,
      c.num_attention_heads, c.num_attention_heads, c.n_shared_experts, c.n_routed_experts,
      c.num_experts_per_tok, c.n_group, c.topk_group, c.first_k_dense_replace, *c.q_lora_rank, c.kv_lora_rank,
      c.qk_nope_head_dim, c.qk_rope_head_dim, c.v_head_dim, c.routed_scaling_factor, c.rms_norm_eps,
      c.rope_theta, c.scoring_func, c.topk_method, c.max_position_embeddings,
      fp8 ? R"(, "quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
"weight_block_size": [128, 128]})"
          : "");
}

// Every byte is a token: the characters of the alphabet in which tokenizer.json writes bytes.
std::string tokenizer_json() {
  std::string vocab;
  int id = 0;
  for (int code = 0x21; code < 0x180; ++code) {
    std::string token(1, static_cast<char>(code));
    if (code >= 0x80) token = {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
    const auto bytes = bytes_from_alphabet(token);
    if (!bytes || bytes->size() != 1) continue;
    if (token == "\"" || token == "\\") token.insert(0, 1, '\\');
    vocab += fmt::format("{}\"{}\": {}", id == 0 ? "" : ", ", token, id);
    ++id;
  }
  return fmt::format(R"({{"added_tokens": [], "normalizer": null,
"pre_tokenizer": {{"type": "ByteLevel", "add_prefix_space": false, "use_regex": false}},
"decoder": {{"type": "ByteLevel"}}, "model": {{"type": "BPE", "vocab": {{{}}}, "merges": []}}}}
)",
                     vocab);
}

std::string prompts_json(const RandomSourceOptions& options) {
  Rng rng(4);
  std::string out = "[";
  for (std::int64_t i = 0; i < options.prompts; ++i) {
    out += i == 0 ? "\"" : ",\n\"";
    for (std::int64_t t = 0; t < options.prompt_tokens; ++t) out += static_cast<char>('a' + rng.below(26));
    out += '"';
  }
  return out + "]\n";
}

}  // namespace

ModelConfig random_source_config(std::int64_t experts) {
  ModelConfig c = *shape_config("r1");
  c.num_hidden_layers = 1;
  c.first_k_dense_replace = 0;
  c.n_routed_experts = experts;
  c.vocab_size = 256;
  c.rope_scaling.reset();
  return c;
}

std::int64_t random_source_bytes(const ModelConfig& config, bool fp8) {
  std::int64_t bytes = 0;
  for (const std::vector<Weight>& shard : shards(config))
    for (const Weight& w : shard)
      for (const TensorToWrite& tensor : tensors_of(w, fp8)) bytes += tensor.bytes();
  return bytes;
}

void write_random_source(const std::filesystem::path& dir, const ModelConfig& config,
                         const RandomSourceOptions& options) {
  write_file_atomically(dir / "config.json", config_json(config, options.fp8));
  write_file_atomically(dir / "tokenizer.json", tokenizer_json());
  write_file_atomically(dir / "tokenizer_config.json", std::string_view("{}\n"));
  write_file_atomically(dir / "calib.json", prompts_json(options));
  Writer writer(options);
  std::int64_t number = 0;
  for (const std::vector<Weight>& shard : shards(config))
    writer.write(dir / fmt::format("model-{:05}.safetensors", ++number), shard);
}

}  // namespace latent8
