#include "model/weights.h"

#include <algorithm>
#include <chrono>

#include "base/check.h"
#include "base/error.h"
#include "base/log.h"
#include "model/unread_tensors.h"
#include "model/weight_reader.h"

namespace latent8 {
namespace {

constexpr std::int64_t kCopyAlignment = 64;  // a cache line, a ZMM register

GatedMlp read_mlp(WeightReader& reader, const std::string& name, std::int64_t hidden,
                  std::int64_t intermediate) {
  return {reader.linear(name + ".gate_proj", intermediate, hidden),
          reader.linear(name + ".up_proj", intermediate, hidden),
          reader.linear(name + ".down_proj", hidden, intermediate)};
}

AttentionWeights read_attention(WeightReader& reader, const ModelConfig& c, const std::string& name) {
  AttentionWeights w;
  const std::int64_t q_rows = c.num_attention_heads * c.qk_head_dim(), rank = c.kv_lora_rank;
  if (c.q_lora_rank) {
    w.q_a_proj = reader.linear(name + ".q_a_proj", *c.q_lora_rank, c.hidden_size);
    w.q_a_layernorm = reader.norm(name + ".q_a_layernorm", *c.q_lora_rank);
    w.q_b_proj = reader.linear(name + ".q_b_proj", q_rows, *c.q_lora_rank);
  } else {
    w.q_proj = reader.linear(name + ".q_proj", q_rows, c.hidden_size);
  }
  w.kv_a_proj_with_mqa =
      reader.linear(name + ".kv_a_proj_with_mqa", rank + c.qk_rope_head_dim, c.hidden_size);
  w.kv_a_layernorm = reader.norm(name + ".kv_a_layernorm", rank);
  const std::int64_t head_rows = c.qk_nope_head_dim + c.v_head_dim;
  const Linear kv_b = reader.linear(name + ".kv_b_proj", c.num_attention_heads * head_rows, rank);
  if (kv_b.kind != Linear::Kind::kFloat)
    throw_error(ErrorCode::kUnsupported,
                "tensor '{}.kv_b_proj.weight': FLOAT expected in the description (it is absorbed into the "
                "query), got an int8 form",
                name);
  w.w_uk = {c.num_attention_heads, c.qk_nope_head_dim, rank, 0, head_rows, kv_b};
  w.w_uv = {c.num_attention_heads, c.v_head_dim, rank, c.qk_nope_head_dim, head_rows, kv_b};
  w.o_proj = reader.linear(name + ".o_proj", c.hidden_size, c.num_attention_heads * c.v_head_dim);
  return w;
}

GatedMlp read_expert(WeightReader& reader, const ModelConfig& c, const std::string& mlp,
                     std::int64_t expert) {
  return read_mlp(reader, fmt::format("{}.experts.{}", mlp, expert), c.hidden_size, c.moe_intermediate_size);
}

MoeWeights read_moe(WeightReader& reader, const ModelConfig& c, const LoadOptions& options,
                    const std::string& name) {
  MoeWeights w;
  w.gate = reader.linear(name + ".gate", c.n_routed_experts, c.hidden_size);
  if (c.topk_method == "noaux_tc")
    w.e_score_correction_bias = reader.vector(name + ".gate.e_score_correction_bias", c.n_routed_experts);
  for (std::int64_t e = 0; e < c.n_routed_experts && options.routed_experts; ++e)
    w.experts.push_back(read_expert(reader, c, name, e));
  if (c.n_shared_experts > 0)
    w.shared_experts = read_mlp(reader, name + ".shared_experts", c.hidden_size,
                                c.n_shared_experts * c.moe_intermediate_size);
  return w;
}

MtpWeights read_mtp(WeightReader& reader, const ModelWeights& model, const LoadOptions& options,
                    WeightStorage& storage) {
  const ModelConfig& c = model.config;
  const std::string name = fmt::format("model.layers.{}", c.num_hidden_layers);
  MtpWeights w;
  w.input = load_mtp_input(reader.checkpoint(), options, storage);
  w.layer = load_layer(reader.checkpoint(), c.num_hidden_layers, options, storage);
  w.shared_head_norm = reader.norm(name + ".shared_head.norm", c.hidden_size);
  w.embed_tokens = reader.has(name + ".embed_tokens.weight")
                       ? reader.embedding(name + ".embed_tokens", c.vocab_size, c.hidden_size)
                       : model.embed_tokens;
  w.shared_head = reader.has(name + ".shared_head.head.weight")
                      ? reader.linear(name + ".shared_head.head", c.vocab_size, c.hidden_size)
                      : model.lm_head;
  return w;
}

}  // namespace

bool has_mtp(const Checkpoint& checkpoint) {
  const ModelConfig& c = checkpoint.config();
  return c.num_nextn_predict_layers > 0 &&
         checkpoint.find(fmt::format("model.layers.{}.eh_proj.weight", c.num_hidden_layers)) != nullptr;
}

void load_attention_half(const Checkpoint& checkpoint, std::int64_t layer, const LoadOptions& options,
                         WeightStorage& storage, LayerWeights& out) {
  const ModelConfig& c = checkpoint.config();
  WeightReader reader(checkpoint, options, storage);
  const std::string name = fmt::format("model.layers.{}", layer);
  out.input_layernorm = reader.norm(name + ".input_layernorm", c.hidden_size);
  out.attention = read_attention(reader, c, name + ".self_attn");
  out.attention.fa = reader.fa_scales(layer);
}

void load_mlp_half(const Checkpoint& checkpoint, std::int64_t layer, const LoadOptions& options,
                   WeightStorage& storage, LayerWeights& out) {
  const ModelConfig& c = checkpoint.config();
  WeightReader reader(checkpoint, options, storage);
  const std::string name = fmt::format("model.layers.{}", layer);
  out.post_attention_layernorm = reader.norm(name + ".post_attention_layernorm", c.hidden_size);
  if (c.is_moe_layer(layer))
    out.moe = read_moe(reader, c, options, name + ".mlp");
  else
    out.mlp = read_mlp(reader, name + ".mlp", c.hidden_size, c.intermediate_size);
}

LayerWeights load_layer(const Checkpoint& checkpoint, std::int64_t layer, const LoadOptions& options,
                        WeightStorage& storage) {
  LayerWeights w;
  load_attention_half(checkpoint, layer, options, storage, w);
  load_mlp_half(checkpoint, layer, options, storage, w);
  return w;
}

GatedMlp load_expert(const Checkpoint& checkpoint, std::int64_t layer, std::int64_t expert,
                     WeightStorage& storage) {
  const LoadOptions options;
  WeightReader reader(checkpoint, options, storage);
  return read_expert(reader, checkpoint.config(), fmt::format("model.layers.{}.mlp", layer), expert);
}

MtpInputWeights load_mtp_input(const Checkpoint& checkpoint, const LoadOptions& options,
                               WeightStorage& storage) {
  const ModelConfig& c = checkpoint.config();
  WeightReader reader(checkpoint, options, storage);
  const std::string name = fmt::format("model.layers.{}", c.num_hidden_layers);
  return {reader.norm(name + ".enorm", c.hidden_size), reader.norm(name + ".hnorm", c.hidden_size),
          reader.linear(name + ".eh_proj", c.hidden_size, 2 * c.hidden_size)};
}

namespace {

// Everything but the MTP layer, of `layers` decoder layers.
void read_main(const Checkpoint& checkpoint, std::int64_t layers, const LoadOptions& options,
               ModelWeights& model) {
  const ModelConfig& c = checkpoint.config();
  WeightReader reader(checkpoint, options, model.storage);
  model.embed_tokens = reader.embedding("model.embed_tokens", c.vocab_size, c.hidden_size);
  for (std::int64_t l = 0; l < layers; ++l)
    model.layers.push_back(load_layer(checkpoint, l, options, model.storage));
  model.norm = reader.norm("model.norm", c.hidden_size);
  model.lm_head =
      c.tie_word_embeddings ? model.embed_tokens : reader.linear("lm_head", c.vocab_size, c.hidden_size);
}

// Bytes of the weights that a model without its MTP layer (or with it) reads, each rounded up to 64.
std::int64_t bytes_to_copy(const Checkpoint& checkpoint, bool mtp) {
  std::int64_t bytes = 0;
  for (const TensorView* view : tensors_read(checkpoint, mtp ? 0 : checkpoint.config().num_hidden_layers))
    bytes += (view->size_bytes() + kCopyAlignment - 1) / kCopyAlignment * kCopyAlignment;
  return bytes;
}

}  // namespace

const void* WeightCopies::add(std::span<const std::byte> from) {
  std::byte* to = memory_.data() + used_;
  used_ += (static_cast<std::int64_t>(from.size()) + kCopyAlignment - 1) / kCopyAlignment * kCopyAlignment;
  LATENT8_CHECK(used_ <= memory_.bytes());
  copies_.push_back({to, from});
  return to;
}

void WeightCopies::run(ThreadPool& pool) {
  const auto start = std::chrono::steady_clock::now();
  copy_all(pool, copies_);
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - start;
  const auto bytes = static_cast<double>(used_);
  log_info(fmt::format(
      "copied {:.2f} GiB of weights into memory in {:.2f} s, {:.2f} GB/s, with {} threads{}", bytes / 0x1p30,
      seconds.count(), bytes / 1e9 / std::max(seconds.count(), 1e-9), pool.threads(),
      memory_.nodes() > 1 ? fmt::format(", in turns on {} NUMA nodes", memory_.nodes()) : ""));
  copies_.clear();
}

std::unordered_set<const TensorView*> tensors_read(const Checkpoint& checkpoint, std::int64_t layers) {
  ModelWeights model;
  model.config = checkpoint.config();
  model.storage.visited.emplace();
  const LoadOptions options;
  read_main(checkpoint, layers > 0 ? layers : model.config.num_hidden_layers, options, model);
  if (layers == 0 && has_mtp(checkpoint)) {
    WeightReader reader(checkpoint, options, model.storage);
    read_mtp(reader, model, options, model.storage);
  }
  return std::move(*model.storage.visited);
}

ModelWeights load_weights(std::shared_ptr<const Checkpoint> checkpoint, const LoadOptions& options) {
  refuse_unread_tensors(*checkpoint, options.ignore_unread_tensors);
  ModelWeights model;
  model.config = checkpoint->config();
  const ModelConfig& c = model.config;
  const bool with_mtp = options.load_mtp && has_mtp(*checkpoint);
  if (options.copy) model.storage.copy = std::make_unique<WeightCopies>(bytes_to_copy(*checkpoint, with_mtp));
  read_main(*checkpoint, c.num_hidden_layers, options, model);
  if (with_mtp) {
    WeightReader reader(*checkpoint, options, model.storage);
    model.mtp = read_mtp(reader, model, options, model.storage);
  } else if (options.load_mtp && c.num_nextn_predict_layers > 0) {
    log_info(
        fmt::format("config.json names {} MTP layer(s), the checkpoint has none of their tensors: MTP is off",
                    c.num_nextn_predict_layers));
  }
  if (options.copy) {
    ThreadPool pool(options.threads);
    model.storage.copy->run(pool);
  }
  model.checkpoint = std::move(checkpoint);
  return model;
}

}  // namespace latent8
