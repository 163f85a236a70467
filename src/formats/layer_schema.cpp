#include "formats/layer_schema.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>

#include "base/check.h"
#include "base/error.h"

namespace latent8 {
namespace {

using Form = TensorForm;
using Role = TensorRole;
using Part = LayerPart;
using Split = TensorSplit;
using Space = ChannelSpace;

constexpr std::string_view kLayers = "model.layers.";
constexpr std::string_view kExperts = "mlp.experts.";

// What may follow the path of a module in the names of its tensors.
constexpr std::array<std::string_view, 11> kSuffixes{
    ".weight",       ".bias",       ".weight_scale_inv", ".weight_scale",  ".weight_offset", ".input_scale",
    ".input_offset", ".quant_bias", ".deq_scale",        ".module.weight", ".module.bias"};
constexpr std::array<std::string_view, 6> kFaTensors{"fa_q.scale",  "fa_k.scale",  "fa_v.scale",
                                                     "fa_q.offset", "fa_k.offset", "fa_v.offset"};

TensorSchema norm(std::string_view path, Role role, Part part, std::int64_t size, bool moves = true) {
  return {.path = path, .form = Form::kNorm, .role = role, .part = part, .rows = size, .moves = moves};
}

void add_attention(std::vector<TensorSchema>& out, const ModelConfig& c) {
  const std::int64_t heads = c.num_attention_heads, hidden = c.hidden_size, q_rows = heads * c.qk_head_dim();
  const auto add = [&](std::string_view path, Role role, std::int64_t rows, std::int64_t cols,
                       InputKind reads, std::optional<Role> before, Split split, Space rows_are,
                       Space columns_are) {
    out.push_back({.path = path,
                   .role = role,
                   .part = Part::kAttention,
                   .rows = rows,
                   .cols = cols,
                   .reads = reads,
                   .norms = {before},
                   .split = split,
                   .row_space = rows_are,
                   .column_space = columns_are});
  };
  if (c.q_lora_rank) {
    add("self_attn.q_a_proj", Role::kQAProj, *c.q_lora_rank, hidden, InputKind::kHidden, Role::kInputNorm,
        Split::kWhole, Space::kQLora, Space::kHidden);
    out.push_back(norm("self_attn.q_a_layernorm", Role::kQANorm, Part::kAttention, *c.q_lora_rank));
    add("self_attn.q_b_proj", Role::kQBProj, q_rows, *c.q_lora_rank, InputKind::kCQ, Role::kQANorm,
        Split::kHeads, Space::kNone, Space::kQLora);
  } else {
    add("self_attn.q_proj", Role::kQProj, q_rows, hidden, InputKind::kHidden, Role::kInputNorm, Split::kHeads,
        Space::kNone, Space::kHidden);
  }
  add("self_attn.kv_a_proj_with_mqa", Role::kKvAProj, c.kv_lora_rank + c.qk_rope_head_dim, hidden,
      InputKind::kHidden, Role::kInputNorm, Split::kWhole, Space::kNone, Space::kHidden);
  // It stays where it is: what it makes is the cached latent.
  out.push_back(norm("self_attn.kv_a_layernorm", Role::kKvANorm, Part::kAttention, c.kv_lora_rank, false));
  add("self_attn.kv_b_proj", Role::kKvBProj, heads * (c.qk_nope_head_dim + c.v_head_dim), c.kv_lora_rank,
      InputKind::kCKv, Role::kKvANorm, Split::kHeads, Space::kKvB, Space::kNone);
  out.back().form = Form::kMatrix;  // it is absorbed into the query
  add("self_attn.o_proj", Role::kOProj, hidden, heads * c.v_head_dim, InputKind::kO, {}, Split::kRows,
      Space::kHidden, Space::kValues);
}

// It chooses keys for contexts that are not computed here; its tensors are carried along. Of layers that take
// over another layer's choice there are none.
void add_indexer(std::vector<TensorSchema>& out, const ModelConfig& c) {
  const std::size_t first = out.size();
  const auto add = [&](std::string_view path, Role role, std::int64_t rows, std::int64_t cols,
                       InputKind reads, Role before, Space columns_are) {
    out.push_back({.path = path,
                   .form = Form::kMatrix,
                   .role = role,
                   .part = Part::kAttention,
                   .rows = rows,
                   .cols = cols,
                   .reads = reads,
                   .norms = {before},
                   .column_space = columns_are});
  };
  add("self_attn.indexer.wq_b", Role::kIndexerQB, c.index_n_heads * c.index_head_dim, *c.q_lora_rank,
      InputKind::kCQ, Role::kQANorm, Space::kQLora);
  add("self_attn.indexer.wk", Role::kIndexerK, c.index_head_dim, c.hidden_size, InputKind::kHidden,
      Role::kInputNorm, Space::kHidden);
  out.push_back(
      norm("self_attn.indexer.k_norm", Role::kIndexerKNorm, Part::kAttention, c.index_head_dim, false));
  add("self_attn.indexer.weights_proj", Role::kIndexerWeights, c.index_n_heads, c.hidden_size,
      InputKind::kHidden, Role::kInputNorm, Space::kHidden);
  for (std::size_t i = first; i < out.size(); ++i) out[i].optional = true;
}

struct MlpPaths {
  std::string_view gate, up, down;
};
constexpr MlpPaths kDense{"mlp.gate_proj", "mlp.up_proj", "mlp.down_proj"};
constexpr MlpPaths kShared{"mlp.shared_experts.gate_proj", "mlp.shared_experts.up_proj",
                           "mlp.shared_experts.down_proj"};
constexpr MlpPaths kRouted{"gate_proj", "up_proj", "down_proj"};  // behind "mlp.experts.7."

void add_mlp(std::vector<TensorSchema>& out, const MlpPaths& paths, Part part, std::int64_t hidden,
             std::int64_t intermediate) {
  const TensorSchema up{.path = paths.gate,
                        .role = Role::kGateProj,
                        .part = part,
                        .rows = intermediate,
                        .cols = hidden,
                        .reads = InputKind::kMlp,
                        .norms = {Role::kPostAttentionNorm},
                        .split = Split::kRows,
                        .column_space = Space::kHidden};
  out.push_back(up);
  out.push_back(up);
  out.back().path = paths.up;
  out.back().role = Role::kUpProj;
  out.push_back({.path = paths.down,
                 .role = Role::kDownProj,
                 .part = part,
                 .rows = hidden,
                 .cols = intermediate,
                 .reads = InputKind::kDown,
                 .split = Split::kRows,
                 .row_space = Space::kHidden});
}

void add_moe(std::vector<TensorSchema>& out, const ModelConfig& c) {
  add_mlp(out, kRouted, Part::kExpert, c.hidden_size, c.moe_intermediate_size);
  out.push_back({.path = "mlp.gate",
                 .form = Form::kMatrix,
                 .role = Role::kRouter,
                 .part = Part::kRouter,
                 .rows = c.n_routed_experts,
                 .cols = c.hidden_size,
                 .reads = InputKind::kMlp,
                 .norms = {Role::kPostAttentionNorm},
                 .column_space = Space::kHidden});
  if (c.topk_method == "noaux_tc")
    out.push_back({.path = "mlp.gate.e_score_correction_bias",
                   .form = Form::kVector,
                   .role = Role::kRouterBias,
                   .part = Part::kRouter,
                   .rows = c.n_routed_experts});
  if (c.n_shared_experts > 0)
    add_mlp(out, kShared, Part::kSharedExpert, c.hidden_size, c.n_shared_experts * c.moe_intermediate_size);
}

TensorSchema embedding(std::string_view path, Role role, Part part, const ModelConfig& c) {
  return {.path = path,
          .form = Form::kMatrix,
          .role = role,
          .part = part,
          .rows = c.vocab_size,
          .cols = c.hidden_size,
          .column_space = Space::kHidden};
}

TensorSchema head(std::string_view path, Role role, Part part, const ModelConfig& c, Role before) {
  TensorSchema out = embedding(path, role, part, c);
  out.reads = InputKind::kFinal;
  out.norms = {before};
  out.split = Split::kVocabulary;
  return out;
}

// Its embedding and head may be the model's.
void add_mtp(std::vector<TensorSchema>& out, const ModelConfig& c) {
  out.push_back(norm("enorm", Role::kENorm, Part::kMtp, c.hidden_size));
  out.push_back(norm("hnorm", Role::kHNorm, Part::kMtp, c.hidden_size));
  out.push_back({.path = "eh_proj",
                 .form = Form::kMatrix,
                 .role = Role::kEhProj,
                 .part = Part::kMtp,
                 .rows = c.hidden_size,
                 .cols = 2 * c.hidden_size,
                 .reads = InputKind::kMtp,
                 .norms = {Role::kENorm, Role::kHNorm},
                 .split = Split::kRows,
                 .row_space = Space::kHidden,
                 .column_space = Space::kHidden});
  out.push_back(norm("shared_head.norm", Role::kSharedHeadNorm, Part::kMtp, c.hidden_size));
  out.push_back(embedding("embed_tokens", Role::kMtpEmbedTokens, Part::kMtp, c));
  out.back().optional = true;
  out.push_back(head("shared_head.head", Role::kSharedHead, Part::kMtp, c, Role::kSharedHeadNorm));
  out.back().optional = true;
}

// A number that ends with a '.', both taken from `text`; none: another text, or digits nobody writes ("07").
std::optional<std::int64_t> take_number(std::string_view& text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const auto digits = static_cast<std::size_t>(end - text.data());
  if (error != std::errc() || value < 0 || digits >= text.size() || text[digits] != '.' ||
      (text[0] == '0' && digits > 1))
    return std::nullopt;
  text.remove_prefix(digits + 1);
  return value;
}

std::optional<ModelSchema::Found> find_in(const LayerSchema& schema, std::string_view rest) {
  std::string_view in_expert = rest;
  std::optional<std::int64_t> expert;
  if (schema.experts > 0 && rest.starts_with(kExperts)) {
    in_expert.remove_prefix(kExperts.size());
    expert = take_number(in_expert);
    if (!expert || *expert >= schema.experts) return std::nullopt;
  }
  for (const TensorSchema& tensor : schema.tensors) {
    if ((tensor.part == Part::kExpert) != expert.has_value()) continue;
    const std::string_view path = expert ? in_expert : rest;
    if (!path.starts_with(tensor.path)) continue;
    const std::string_view suffix = path.substr(tensor.path.size());
    const bool vector = tensor.form == Form::kVector;
    if (vector ? suffix.empty() : std::find(kSuffixes.begin(), kSuffixes.end(), suffix) != kSuffixes.end())
      return ModelSchema::Found{&tensor, schema.layer, expert.value_or(-1), suffix};
  }
  return std::nullopt;
}

}  // namespace

const TensorSchema* LayerSchema::find(Role role) const {
  const auto it =
      std::find_if(tensors.begin(), tensors.end(), [&](const TensorSchema& t) { return t.role == role; });
  return it == tensors.end() ? nullptr : &*it;
}

const TensorSchema* LayerSchema::find(Role role, Part part) const {
  const auto it = std::find_if(tensors.begin(), tensors.end(),
                               [&](const TensorSchema& t) { return t.role == role && t.part == part; });
  return it == tensors.end() ? nullptr : &*it;
}

const TensorSchema& LayerSchema::get(Role role) const {
  const TensorSchema* tensor = find(role);
  LATENT8_CHECK(tensor != nullptr);
  return *tensor;
}

const TensorSchema& LayerSchema::get(Role role, Part part) const {
  const TensorSchema* tensor = find(role, part);
  LATENT8_CHECK(tensor != nullptr);
  return *tensor;
}

std::string LayerSchema::name(const TensorSchema& tensor, std::int64_t expert) const {
  LATENT8_CHECK((tensor.part == Part::kExpert) == (expert >= 0));
  if (layer < 0) return std::string(tensor.path);
  if (expert < 0) return fmt::format("{}{}.{}", kLayers, layer, tensor.path);
  return fmt::format("{}{}.{}{}.{}", kLayers, layer, kExperts, expert, tensor.path);
}

std::string LayerSchema::weight(const TensorSchema& tensor, std::int64_t expert) const {
  return name(tensor, expert) + (tensor.form == Form::kVector ? "" : ".weight");
}

std::string layer_name(std::int64_t layer) { return fmt::format("{}{}", kLayers, layer); }

std::string attention_name(std::int64_t layer) { return layer_name(layer) + ".self_attn"; }

LayerSchema layer_schema(const ModelConfig& c, std::int64_t layer) {
  LayerSchema out{.layer = layer};
  out.tensors.push_back(norm("input_layernorm", Role::kInputNorm, Part::kAttention, c.hidden_size));
  add_attention(out.tensors, c);
  if (c.index_topk > 0) add_indexer(out.tensors, c);
  out.tensors.push_back(
      norm("post_attention_layernorm", Role::kPostAttentionNorm, Part::kMlpNorm, c.hidden_size));
  if (c.is_moe_layer(layer)) {
    out.experts = c.n_routed_experts;
    add_moe(out.tensors, c);
  } else {
    add_mlp(out.tensors, kDense, Part::kDenseMlp, c.hidden_size, c.intermediate_size);
  }
  if (layer >= c.num_hidden_layers) add_mtp(out.tensors, c);
  return out;
}

LayerSchema outside_schema(const ModelConfig& c) {
  LayerSchema out;
  out.tensors.push_back(embedding("model.embed_tokens", Role::kEmbedTokens, Part::kOutside, c));
  out.tensors.push_back(norm("model.norm", Role::kFinalNorm, Part::kOutside, c.hidden_size));
  out.tensors.push_back(head("lm_head", Role::kLmHead, Part::kOutside, c, Role::kFinalNorm));
  out.tensors.back().optional = c.tie_word_embeddings;
  return out;
}

ModelSchema::ModelSchema(const ModelConfig& config) : outside_(outside_schema(config)) {
  for (std::int64_t l = 0; l < config.num_hidden_layers + config.num_nextn_predict_layers; ++l)
    layers_.push_back(layer_schema(config, l));
}

std::optional<ModelSchema::Found> ModelSchema::find(std::string_view name) const {
  if (!name.starts_with(kLayers)) return find_in(outside_, name);
  name.remove_prefix(kLayers.size());
  const std::optional<std::int64_t> layer = take_number(name);
  if (!layer || *layer >= static_cast<std::int64_t>(layers_.size())) return std::nullopt;
  return find_in(this->layer(*layer), name);
}

bool ModelSchema::knows(std::string_view name) const {
  if (find(name)) return true;
  if (!name.starts_with(kLayers)) return false;
  std::string_view rest = name.substr(kLayers.size());
  const std::optional<std::int64_t> layer = take_number(rest);
  constexpr std::string_view kAttention = "self_attn.";
  return layer && *layer < static_cast<std::int64_t>(layers_.size()) && rest.starts_with(kAttention) &&
         std::find(kFaTensors.begin(), kFaTensors.end(), rest.substr(kAttention.size())) != kFaTensors.end();
}

void check_shapes(const ModelSchema& schema, const TensorMap& tensors) {
  for (const auto& [name, view] : tensors) {
    const std::optional<ModelSchema::Found> found = schema.find(name);
    if (!found || (found->suffix != ".weight" && !found->suffix.empty())) continue;
    const TensorSchema& t = *found->tensor;
    if (t.cols == 0 && view.elements() != t.rows)
      throw_error(ErrorCode::kCorrupt, "tensor '{}': {} elements expected from config.json, got shape {}",
                  name, t.rows, view.shape_text());
    if (t.cols > 0 && view.shape != std::vector{t.rows, t.cols})
      throw_error(ErrorCode::kCorrupt, "tensor '{}': shape [{}, {}] expected from config.json, got {}", name,
                  t.rows, t.cols, view.shape_text());
  }
}

}  // namespace latent8
