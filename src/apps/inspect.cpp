// latent8 inspect: what a checkpoint is, from its headers alone.

#include <nlohmann/json.hpp>
#include <set>

#include "apps/common.h"
#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/subcommands.h"
#include "base/error.h"
#include "base/log.h"
#include "base/printable.h"
#include "formats/layer_schema.h"
#include "model/unread_tensors.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

// The kind of tensor that sizes are summed by.
std::string kind_of(std::string_view name, const ModelSchema& schema, const ModelConfig& config) {
  const auto found = schema.find(name);
  const std::string mtp = layer_name(config.num_hidden_layers) + ".";  // FA scales are its too
  if (found ? found->layer >= config.num_hidden_layers
            : config.num_nextn_predict_layers > 0 && name.starts_with(mtp))
    return "mtp";
  if (!found) return schema.knows(name) ? "fa_scales" : "other";
  if (found->tensor->form == TensorForm::kNorm) return "norms";
  switch (found->tensor->part) {
    case LayerPart::kAttention:
      return "attention";
    case LayerPart::kExpert:
      return "experts";
    case LayerPart::kSharedExpert:
      return "shared_experts";
    case LayerPart::kRouter:
      return "gate";
    case LayerPart::kDenseMlp:
      return "mlp";
    default:
      return found->tensor->role == TensorRole::kEmbedTokens ? "embedding" : "lm_head";
  }
}

std::int64_t bytes_of(const TensorView& tensor) { return static_cast<std::int64_t>(tensor.bytes.size()); }

// The forms that the linears of attention or of the MLP have, without the router; a float checkpoint's are
// its types: "FLOAT+W8A8_DYNAMIC".
std::string forms(const Checkpoint& checkpoint, const LayerSchema& layer, bool attention) {
  std::set<std::string> found;
  for_each_tensor(layer, [&](const TensorSchema& tensor, std::int64_t expert) {
    const bool mlp = tensor.part == LayerPart::kDenseMlp || tensor.part == LayerPart::kExpert ||
                     tensor.part == LayerPart::kSharedExpert;
    if (attention ? tensor.part != LayerPart::kAttention : !mlp) return;
    if (tensor.form == TensorForm::kNorm) return;
    const std::string name = layer.weight(tensor, expert);
    const TensorView* view = checkpoint.find(name);
    if (view == nullptr) return;
    const auto type = checkpoint.quant() ? checkpoint.quant()->type_of(name) : std::nullopt;
    found.insert(std::string(type ? to_string(*type) : to_string(view->dtype)));
  });
  std::string text;
  for (const std::string& form : found) text += (text.empty() ? "" : "+") + form;
  return text;
}

Json layers_json(const Checkpoint& checkpoint, CacheType float_cache) {
  const ModelConfig& c = checkpoint.config();
  Json layers = Json::array();
  for (std::int64_t l = 0; l < c.num_hidden_layers + c.num_nextn_predict_layers; ++l) {
    const std::string prefix = layer_name(l) + ".";
    const auto first = checkpoint.tensors().lower_bound(prefix);
    if (first == checkpoint.tensors().end() || !first->first.starts_with(prefix)) continue;
    const bool fa = checkpoint.quant() && checkpoint.quant()->lists_fa_tensors(l);
    const LayerSchema schema = layer_schema(c, l);
    const LatentLayout layout{fa ? CacheType::kInt8 : float_cache, c.kv_lora_rank, c.qk_rope_head_dim};
    layers.push_back({{"layer", l},
                      {"mtp", l >= c.num_hidden_layers},
                      {"moe", c.is_moe_layer(l)},
                      {"attention", forms(checkpoint, schema, true)},
                      {"mlp", forms(checkpoint, schema, false)},
                      {"fa_quant", fa},
                      {"cache", fa                               ? "int8"
                                : float_cache == CacheType::kF32 ? "fp32"
                                                                 : "fp16"},
                      {"cache_bytes_per_token", layout.bytes_per_token()}});
  }
  return layers;
}

Json model_json(const ModelConfig& c) {
  Json model = {{"model_type", c.model_type},
                {"vocab_size", c.vocab_size},
                {"hidden_size", c.hidden_size},
                {"num_hidden_layers", c.num_hidden_layers},
                {"num_nextn_predict_layers", c.num_nextn_predict_layers},
                {"num_attention_heads", c.num_attention_heads},
                {"q_lora_rank", c.q_lora_rank ? Json(*c.q_lora_rank) : Json()},
                {"kv_lora_rank", c.kv_lora_rank},
                {"qk_nope_head_dim", c.qk_nope_head_dim},
                {"qk_rope_head_dim", c.qk_rope_head_dim},
                {"v_head_dim", c.v_head_dim},
                {"intermediate_size", c.intermediate_size},
                {"moe_intermediate_size", c.moe_intermediate_size},
                {"n_routed_experts", c.n_routed_experts},
                {"n_shared_experts", c.n_shared_experts},
                {"num_experts_per_tok", c.num_experts_per_tok},
                {"first_k_dense_replace", c.first_k_dense_replace},
                {"max_position_embeddings", c.max_position_embeddings},
                {"context", c.context_limit().tokens}};
  return model;
}

Json quantisation_json(const Checkpoint& checkpoint) {
  if (checkpoint.quant() == nullptr) return nullptr;
  const QuantDescription& q = *checkpoint.quant();
  return {{"dialect", q.version.empty() ? "mindie" : "ascendv1"},
          {"file", q.file_name},
          {"model_quant_type", q.model_quant_type},
          {"fa_quant_type", q.fa_quant_type}};
}

Json tensors_json(const Checkpoint& checkpoint) {
  Json tensors = Json::array();
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    const auto type = checkpoint.quant() ? checkpoint.quant()->type_of(name) : std::nullopt;
    tensors.push_back({{"name", name},
                       {"dtype", to_string(tensor.dtype)},
                       {"shape", tensor.shape},
                       {"bytes", bytes_of(tensor)},
                       {"quant", type ? Json(to_string(*type)) : Json()}});
  }
  return tensors;
}

// Names of tensors that no part of the model reads; null where that cannot be told, as one that it reads is
// missing.
Json unread_json(const Checkpoint& checkpoint) {
  try {
    return unread_tensors(checkpoint).unknown;
  } catch (const Error& error) {
    log_warn(error.what());
    return nullptr;
  }
}

Json describe(const Checkpoint& checkpoint, CacheType float_cache, bool with_tensors) {
  std::map<std::string, std::int64_t> sizes;
  std::int64_t total = 0;
  const ModelSchema schema(checkpoint.config());
  for (const auto& [name, tensor] : checkpoint.tensors()) {
    sizes[kind_of(name, schema, checkpoint.config())] += bytes_of(tensor);
    total += bytes_of(tensor);
  }
  const CacheBytes cache = cache_bytes(checkpoint, float_cache);
  Json out = {{"path", checkpoint.dir().string()},
              {"model", model_json(checkpoint.config())},
              {"files", checkpoint.files().size()},
              {"n_tensors", checkpoint.tensors().size()},
              {"bytes", total},
              {"bytes_by_kind", sizes},
              {"quantisation", quantisation_json(checkpoint)},
              {"unread_tensors", unread_json(checkpoint)},
              {"layers", layers_json(checkpoint, float_cache)},
              {"cache_bytes_per_token", cache.per_token},
              {"cache_bytes_per_token_fp16", cache.fp16_per_token}};
  if (with_tensors) out["tensors"] = tensors_json(checkpoint);
  return out;
}

std::string text(const Json& value) {
  constexpr std::size_t kLongest = 400;
  return cut_middle(value.is_string() ? value.get<std::string>() : json_text(value, -1), kLongest);
}

void print_layers(const Json& layers) {
  print_result(fmt::format("\n{:<8} {:<6} {:<24} {:<24} {:<6} {:>11}\n", "layer", "mlp", "attention linears",
                           "MLP linears", "cache", "bytes/token"));
  for (const Json& l : layers)
    print_result(fmt::format("{:<8} {:<6} {:<24} {:<24} {:<6} {:>11}\n",
                             text(l["layer"]) + (l["mtp"].get<bool>() ? " MTP" : ""),
                             l["moe"].get<bool>() ? "MoE" : "dense", text(l["attention"]), text(l["mlp"]),
                             text(l["cache"]), text(l["cache_bytes_per_token"])));
}

void print_description(const Json& d) {
  print_result(fmt::format("checkpoint      {}\n", text(d["path"])));
  for (const auto& [key, value] : d["model"].items())
    print_result(fmt::format("  {:<26} {}\n", key, value.is_null() ? "none" : text(value)));
  const Json& q = d["quantisation"];
  if (q.is_null())
    print_result("quantisation    none\n");
  else
    print_result(fmt::format(
        "quantisation    {} dialect, {}{} ({})\n", text(q["dialect"]), text(q["model_quant_type"]),
        text(q["fa_quant_type"]).empty() ? "" : " + " + text(q["fa_quant_type"]), text(q["file"])));
  print_result(fmt::format("weights         {} in {} tensors, {} file(s)\n",
                           format_bytes(d["bytes"].get<std::int64_t>()), text(d["n_tensors"]),
                           text(d["files"])));
  for (const auto& [kind, bytes] : d["bytes_by_kind"].items())
    print_result(fmt::format("  {:<26} {:>12}\n", kind, format_bytes(bytes.get<std::int64_t>())));
  if (!d["unread_tensors"].empty())
    print_result(fmt::format("unread          {}\n",
                             unread_text(d["unread_tensors"].get<std::vector<std::string>>())));
  print_layers(d["layers"]);
  const auto cache = d["cache_bytes_per_token"].get<std::int64_t>(),
             fp16 = d["cache_bytes_per_token_fp16"].get<std::int64_t>();
  print_result(fmt::format("\ncache           {} bytes per token; fp16 would be {} ({:.1f} %)\n", cache, fp16,
                           100.0 * static_cast<double>(cache) / static_cast<double>(fp16)));
  if (!d.contains("tensors")) return;
  print_result("\n");
  for (const Json& t : d["tensors"])
    print_result(fmt::format("{:<72} {:<8} {:<16} {:>12} {}\n", text(t["name"]), text(t["dtype"]),
                             t["shape"].dump(), text(t["bytes"]),
                             t["quant"].is_null() ? "" : text(t["quant"])));
}

}  // namespace

void add_inspect(CLI::App& root) {
  struct InspectFlags {
    ModelFlags model;
    bool tensors = false, json = false;
  };
  const auto flags = std::make_shared<InspectFlags>();
  CLI::App* app = root.add_subcommand("inspect", "show what a checkpoint is: sizes, quantisation, cache");
  app->add_option("dir", flags->model.model, "checkpoint directory")->required()->type_name("DIR");
  app->add_flag("--tensors", flags->tensors, "list every tensor");
  add_json_flag(*app, flags->json);
  app->footer(
      "Examples:\n"
      "  latent8 inspect models/tiny\n"
      "  latent8 inspect --tensors /data/DeepSeek-R1-W8A8-FA3\n"
      "  latent8 inspect --json models/tiny | jq .cache_bytes_per_token");
  app->callback([flags] {
    const auto checkpoint = open_checkpoint(flags->model);
    const Json description =
        describe(*checkpoint, float_cache_type(flags->model, *checkpoint), flags->tensors);
    if (flags->json)
      print_result(json_text(description, 2) + "\n");
    else
      print_description(description);
  });
}

}  // namespace latent8
