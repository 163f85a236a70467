#include "model/unread_tensors.h"

#include <algorithm>
#include <array>
#include <charconv>

#include "base/error.h"
#include "base/log.h"
#include "formats/layer_schema.h"
#include "model/weights.h"

namespace latent8 {
namespace {

constexpr std::string_view kLayers = "model.layers.";

// The index of "model.layers.N.", or -1.
std::int64_t layer_of(std::string_view name) {
  if (!name.starts_with(kLayers)) return -1;
  name.remove_prefix(kLayers.size());
  std::int64_t layer = -1;
  const auto read = std::from_chars(name.data(), name.data() + name.size(), layer);
  return read.ec == std::errc() && read.ptr != name.data() + name.size() && *read.ptr == '.' ? layer : -1;
}

// Whether a tensor that follows a module's path has a reader: not every form of the weight has one for each.
bool is_read(const Checkpoint& checkpoint, const ModelSchema::Found& found, std::string_view name) {
  const std::string_view suffix = found.suffix;
  if (suffix.empty() || suffix == ".weight") return true;
  if (suffix == ".bias") {  // rows of embeddings are looked up, kv_b_proj is absorbed
    const TensorRole role = found.tensor->role;
    return role != TensorRole::kEmbedTokens && role != TensorRole::kMtpEmbedTokens &&
           role != TensorRole::kKvBProj;
  }
  if (checkpoint.quant()) return true;  // whose description lists what counts
  name.remove_suffix(suffix.size());
  const TensorView* weight = checkpoint.find(fmt::format("{}.weight", name));
  return suffix == ".weight_scale_inv" && weight != nullptr && weight->dtype == DType::kF8E4M3;
}

// Of MTP layers the first is read, and only one that has an MTP layer's input.
bool is_read(const Checkpoint& checkpoint, const ModelSchema& schema, std::string_view name) {
  const ModelConfig& config = checkpoint.config();
  if (config.tie_word_embeddings && name == "lm_head.weight") return false;
  const std::int64_t layer = layer_of(name);
  if (layer > config.num_hidden_layers || (layer == config.num_hidden_layers && !has_mtp(checkpoint)))
    return false;
  const std::optional<ModelSchema::Found> found = schema.find(name);
  return found ? is_read(checkpoint, *found, name) : schema.knows(name);
}

// A layer behind those that are read that has an MTP layer's input: a second MTP layer, or one whose
// num_nextn_predict_layers is not in config.json, which transformers leaves out.
bool is_spare_mtp_layer(const Checkpoint& checkpoint, std::int64_t layer) {
  const std::int64_t read = checkpoint.config().num_hidden_layers + (has_mtp(checkpoint) ? 1 : 0);
  return layer >= read && checkpoint.find(fmt::format("{}{}.eh_proj.weight", kLayers, layer)) != nullptr;
}

}  // namespace

bool is_harmless(const Checkpoint& checkpoint, std::string_view name) {
  constexpr std::array kEndings{
      ".rotary_emb.inv_freq",  // these three: computed from config.json
      ".rotary_emb.cos_cached",
      ".rotary_emb.sin_cached",
      ".k_scale",
      ".v_scale",
      ".kv_scale",  // of an fp8 cache, which this program does not have
      ".q_scale",
      ".prob_output_scale",  // of fp8 attention
  };
  if (std::any_of(kEndings.begin(), kEndings.end(), [&](const char* end) { return name.ends_with(end); }))
    return true;
  // Scales of an int8 cache that the description does not list: it decides, and the layer's cache is float.
  if (name.find(".self_attn.fa_") != std::string_view::npos) return true;
  if (name == "lm_head.weight") return checkpoint.config().tie_word_embeddings;
  return is_spare_mtp_layer(checkpoint, layer_of(name));
}

UnreadTensors unread_tensors(const Checkpoint& checkpoint, std::int64_t layers) {
  const ModelSchema schema(checkpoint.config());
  UnreadTensors unread;
  const auto add = [&](const std::string& name) {
    if (layers > 0 && layer_of(name) >= layers) return;
    (is_harmless(checkpoint, name) ? unread.harmless : unread.unknown).push_back(name);
  };
  for (const auto& [name, view] : checkpoint.tensors())
    if (!is_read(checkpoint, schema, name)) add(name);
  for (const std::string& name : checkpoint.unlisted()) add(name);
  std::sort(unread.unknown.begin(), unread.unknown.end());
  return unread;
}

std::string unread_text(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 5;
  if (names.empty()) return "";
  std::string text = fmt::format("{} tensor{} that no part of the model reads: ", names.size(),
                                 names.size() == 1 ? "" : "s");
  for (std::size_t i = 0; i < std::min(names.size(), kShown); ++i)
    text += (i == 0 ? "'" : ", '") + names[i] + "'";
  return text + (names.size() > kShown ? ", ..." : "");
}

void refuse_unread_tensors(const Checkpoint& checkpoint, bool ignore, std::int64_t layers) {
  const UnreadTensors unread = unread_tensors(checkpoint, layers);
  if (unread.unknown.empty()) return;
  const std::string what = fmt::format("'{}': {}", checkpoint.dir().string(), unread_text(unread.unknown));
  if (ignore) return log_warn(what + "; answers are those of a model without them");
  throw_error(ErrorCode::kUnsupported,
              "{}; the model has parts that are not known, or config.json does not describe these weights "
              "(num_hidden_layers, n_shared_experts, ...); --ignore-unread-tensors goes on without them",
              what);
}

}  // namespace latent8
