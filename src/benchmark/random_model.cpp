#include "benchmark/random_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "base/rng.h"
#include "formats/layer_schema.h"

namespace latent8 {
namespace {

using Role = TensorRole;

constexpr double kCodeDeviation = 73.3;  // of uniform codes in [-127, 127]
constexpr std::int64_t kPiece = std::int64_t{1} << 20;

// Random bytes, the same for any number of threads. Codes: -128 is replaced by -127.
void fill_codes(ThreadPool& pool, std::byte* to, std::int64_t bytes, std::uint64_t seed) {
  pool.parallel_for((bytes + kPiece - 1) / kPiece, 1, [&](std::int64_t piece, std::int64_t, int) {
    Rng rng(seed ^ static_cast<std::uint64_t>(piece) << 32);
    const std::int64_t end = std::min((piece + 1) * kPiece, bytes);
    for (std::int64_t at = piece * kPiece; at < end; at += 8) {
      std::uint64_t word = rng.next_u64();
      std::memcpy(to + at, &word, static_cast<std::size_t>(std::min<std::int64_t>(8, end - at)));
    }
    for (std::int64_t at = piece * kPiece; at < end; ++at)
      if (to[at] == std::byte{0x80}) to[at] = std::byte{0x81};
  });
}

// bf16 numbers of about the given deviation (uniform), the same for any number of threads.
void fill_bf16(ThreadPool& pool, std::byte* to, std::int64_t count, double deviation, std::uint64_t seed) {
  const double width = deviation * std::sqrt(12.0);
  pool.parallel_for((count + kPiece - 1) / kPiece, 1, [&](std::int64_t piece, std::int64_t, int) {
    Rng rng(seed ^ static_cast<std::uint64_t>(piece) << 32);
    const std::int64_t end = std::min((piece + 1) * kPiece, count);
    for (std::int64_t i = piece * kPiece; i < end; ++i) {
      const Bf16 x = to_bf16(static_cast<float>((rng.uniform() - 0.5) * width));
      std::memcpy(to + i * 2, &x, 2);
    }
  });
}

class Builder {
 public:
  // pool: fills the weights; nullptr: they get no memory.
  Builder(ThreadPool* pool, const ModelConfig& config, ModelWeights& model)
      : pool_(pool), c_(config), m_(model) {}

  Linear bf16(std::int64_t rows, std::int64_t cols) {
    Linear w;
    w.out_features = rows;
    w.in_features = cols;
    w.type = WeightType::kBf16;
    if (pool_ == nullptr) return w;
    auto& bytes = m_.storage.bytes.emplace_back(rows * cols * 2);
    fill_bf16(*pool_, bytes.data(), rows * cols, 1.0 / std::sqrt(static_cast<double>(cols)), ++seed_);
    w.weight = bytes.data();
    return w;
  }

  Linear int8(Linear::Kind kind, std::int64_t rows, std::int64_t cols) {
    Linear w;
    w.kind = kind;
    w.out_features = rows;
    w.in_features = cols;
    if (pool_ == nullptr) return w;
    auto& bytes = m_.storage.bytes.emplace_back(rows * cols);
    fill_codes(*pool_, bytes.data(), rows * cols, ++seed_);
    w.weight = bytes.data();
    const double weight_scale = 1.0 / (kCodeDeviation * std::sqrt(static_cast<double>(cols)));
    const bool is_static = kind == Linear::Kind::kW8A8Static;
    w.input_scale = is_static ? 8.0F / 255.0F : 1.0F;
    w.scale = floats(rows, static_cast<float>(weight_scale) * w.input_scale).data();
    if (is_static) w.quant_bias = m_.storage.ints.emplace_back(rows).data();
    return w;
  }

  // int8 where it may be: static in attention, dynamic in MLPs.
  Linear linear(const TensorSchema& tensor) {
    if (!tensor.may_be_int8()) return bf16(tensor.rows, tensor.cols);
    const bool attention = tensor.part == LayerPart::kAttention;
    return int8(attention ? Linear::Kind::kW8A8Static : Linear::Kind::kW8A8Dynamic, tensor.rows, tensor.cols);
  }
  Norm norm(const TensorSchema& tensor) { return {floats(tensor.rows, 1.0F), {}}; }

  GatedMlp mlp(const LayerSchema& schema, LayerPart part) {
    return {linear(schema.get(Role::kGateProj, part)), linear(schema.get(Role::kUpProj, part)),
            linear(schema.get(Role::kDownProj, part))};
  }

  AttentionWeights attention(const LayerSchema& schema, bool int8_cache) {
    AttentionWeights w;
    if (schema.find(Role::kQProj) != nullptr) {
      w.q_proj = linear(schema.get(Role::kQProj));
    } else {
      w.q_a_proj = linear(schema.get(Role::kQAProj));
      w.q_a_layernorm = norm(schema.get(Role::kQANorm));
      w.q_b_proj = linear(schema.get(Role::kQBProj));
    }
    w.kv_a_proj_with_mqa = linear(schema.get(Role::kKvAProj));
    w.kv_a_layernorm = norm(schema.get(Role::kKvANorm));
    const std::int64_t head_rows = c_.qk_nope_head_dim + c_.v_head_dim, heads = c_.num_attention_heads;
    const Linear kv_b = linear(schema.get(Role::kKvBProj));
    w.w_uk = {heads, c_.qk_nope_head_dim, c_.kv_lora_rank, 0, head_rows, kv_b};
    w.w_uv = {heads, c_.v_head_dim, c_.kv_lora_rank, c_.qk_nope_head_dim, head_rows, kv_b};
    w.o_proj = linear(schema.get(Role::kOProj));
    if (int8_cache)
      w.fa = FaScales{std::vector<float>(static_cast<std::size_t>(heads), 0.03F), 4.0F / 127.0F};
    return w;
  }

  LayerWeights layer(const LayerSchema& schema, bool int8_cache) {
    LayerWeights w;
    w.input_layernorm = norm(schema.get(Role::kInputNorm));
    w.attention = attention(schema, int8_cache);
    w.post_attention_layernorm = norm(schema.get(Role::kPostAttentionNorm));
    if (schema.experts == 0) {
      w.mlp = mlp(schema, LayerPart::kDenseMlp);
      return w;
    }
    w.moe.emplace();
    w.moe->gate = linear(schema.get(Role::kRouter));
    if (const TensorSchema* bias = schema.find(Role::kRouterBias))
      w.moe->e_score_correction_bias = floats(bias->rows, 0.0F);
    for (std::int64_t e = 0; e < schema.experts; ++e)
      w.moe->experts.push_back(mlp(schema, LayerPart::kExpert));
    if (schema.find(Role::kGateProj, LayerPart::kSharedExpert) != nullptr)
      w.moe->shared_experts = mlp(schema, LayerPart::kSharedExpert);
    return w;
  }

 private:
  std::span<const float> floats(std::int64_t size, float value) {
    if (pool_ == nullptr) return {};
    auto& buffer = m_.storage.floats.emplace_back(size);
    std::fill_n(buffer.data(), size, value);
    return buffer.span();
  }

  ThreadPool* pool_;
  const ModelConfig& c_;
  ModelWeights& m_;
  std::uint64_t seed_ = 0;
};

std::unique_ptr<DeepseekModel> build(ThreadPool* pool, const ModelConfig& config, bool int8_cache) {
  ModelWeights model;
  model.config = config;
  Builder builder(pool, config, model);
  const ModelSchema schema(config);
  const LayerSchema& outside = schema.outside();
  model.embed_tokens = builder.linear(outside.get(Role::kEmbedTokens));
  for (std::int64_t l = 0; l < config.num_hidden_layers; ++l)
    model.layers.push_back(builder.layer(schema.layer(l), int8_cache));
  model.norm = builder.norm(outside.get(Role::kFinalNorm));
  model.lm_head = builder.linear(outside.get(Role::kLmHead));
  return std::make_unique<DeepseekModel>(std::move(model));
}

}  // namespace

std::unique_ptr<DeepseekModel> random_model(ThreadPool& pool, const ModelConfig& config, bool int8_cache) {
  return build(&pool, config, int8_cache);
}

std::unique_ptr<DeepseekModel> unfilled_model(const ModelConfig& config, bool int8_cache) {
  return build(nullptr, config, int8_cache);
}

std::int64_t random_model_bytes(const ModelConfig& c) {
  const ModelSchema schema(c);
  std::int64_t bytes = 0;
  const auto add = [&](const LayerSchema& layer) {
    for (const TensorSchema& tensor : layer.tensors)
      bytes += tensor.rows * tensor.cols * (tensor.may_be_int8() ? 1 : 2) *
               (tensor.part == LayerPart::kExpert ? layer.experts : 1);
  };
  add(schema.outside());
  for (std::int64_t l = 0; l < c.num_hidden_layers; ++l) add(schema.layer(l));
  return bytes;
}

void fill_cache(ThreadPool& pool, const LatentCache& cache, std::int64_t layers) {
  for (std::int64_t l = 0; l < layers; ++l) {
    const LatentPages pages = cache.layer(l);
    pool.parallel_for(cache.num_blocks(), 4, [&](std::int64_t begin, std::int64_t end, int) {
      std::vector<float> c_kv(static_cast<std::size_t>(pages.layout.rank)),
          k_pe(static_cast<std::size_t>(pages.layout.rope));
      for (std::int64_t block = begin; block < end; ++block) {
        Rng rng(static_cast<std::uint64_t>(l << 32 | block));
        // Sixteen different tokens, repeated over the page: enough for attention to have something to choose.
        for (std::int64_t slot = 0; slot < pages.block_size; ++slot) {
          if (slot < kGroupKeys) {
            for (float& x : c_kv) x = rng.normal();
            for (float& x : k_pe) x = rng.normal();
            store_latent(pages.layout, pages.page(static_cast<std::int32_t>(block)), slot, c_kv.data(),
                         k_pe.data(), 1.0F / pages.scale);
          } else if (slot % kGroupKeys == 0) {
            std::byte* page = pages.page(static_cast<std::int32_t>(block));
            std::memcpy(page + slot / kGroupKeys * pages.layout.group_bytes(), page,
                        static_cast<std::size_t>(pages.layout.group_bytes()));
          }
        }
      }
    });
  }
}

}  // namespace latent8
