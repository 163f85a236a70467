#include "quant/output/checkpoint_writer.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/files.h"
#include "formats/foreign_file.h"
#include "sys/mapped_file.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr const char* kFaQuantType = "FAKQuant";
constexpr int kConfigIndent = 4;

bool keeps_weights(const QuantizeOptions& options) {
  return options.weights == QuantizeOptions::Weights::kFloat;
}
bool is_mindie(const QuantizeOptions& options) { return options.format == QuantizeOptions::Format::kMindie; }
bool is_compat(const QuantizeOptions& options) { return options.compat != QuantizeOptions::Compat::kNone; }

const char* name_of(DType dtype) {
  return dtype == DType::kF16 ? "float16" : dtype == DType::kF32 ? "float32" : "bfloat16";
}

// A key that the source does not have, or has as null without meaning anything by it.
void assume(Json& config, const char* key, Json value) {
  if (!config.contains(key) || config[key].is_null()) config[key] = std::move(value);
}

// The same for a key whose null says that the model has no such thing.
void assume_absent(Json& config, const char* key, Json value) {
  if (!config.contains(key)) config[key] = std::move(value);
}

// Rotary parameters in the spelling of the hub and of transformers 5.
void assume_rope(Json& config, const ModelConfig& c) {
  assume(config, "rope_theta", c.rope_theta);
  Json yarn = {};
  if (c.rope_scaling) {
    const RopeScaling& rope = *c.rope_scaling;
    yarn = {{"type", rope.type},
            {"factor", rope.factor},
            {"original_max_position_embeddings", rope.original_max_position_embeddings},
            {"beta_fast", rope.beta_fast},
            {"beta_slow", rope.beta_slow},
            {"mscale", rope.mscale},
            {"mscale_all_dim", rope.mscale_all_dim}};
  }
  assume(config, "rope_scaling", c.rope_scaling ? yarn : Json(nullptr));
  Json parameters = c.rope_scaling ? yarn : Json::object();
  parameters.erase("type");
  parameters["rope_type"] = c.rope_scaling ? c.rope_scaling->type : "default";
  parameters["rope_theta"] = c.rope_theta;
  assume(config, "rope_parameters", std::move(parameters));
}

// Readers differ in what they assume where config.json is silent, and 'deepseekv2' stands for V2 and V3
// alike.
void assume_rest(Json& config, const ModelConfig& c, DType dtype) {
  assume_absent(config, "q_lora_rank", c.q_lora_rank ? Json(*c.q_lora_rank) : Json(nullptr));
  assume(config, "kv_lora_rank", c.kv_lora_rank);
  assume(config, "qk_nope_head_dim", c.qk_nope_head_dim);
  assume(config, "qk_rope_head_dim", c.qk_rope_head_dim);
  assume(config, "v_head_dim", c.v_head_dim);
  assume(config, "num_key_value_heads", c.num_attention_heads);
  assume(config, "num_nextn_predict_layers", c.num_nextn_predict_layers);
  assume_absent(config, "n_routed_experts", c.n_routed_experts);
  if (c.n_routed_experts > 0) {
    assume_absent(config, "n_shared_experts", c.n_shared_experts);
    assume(config, "num_experts_per_tok", c.num_experts_per_tok);
    assume(config, "moe_intermediate_size", c.moe_intermediate_size);
    assume(config, "moe_layer_freq", c.moe_layer_freq);
    assume(config, "n_group", c.n_group);
    assume(config, "topk_group", c.topk_group);
  }
  assume(config, "first_k_dense_replace", c.first_k_dense_replace);
  assume(config, "scoring_func", c.scoring_func);
  assume(config, "topk_method", c.topk_method);
  assume(config, "norm_topk_prob", c.norm_topk_prob);
  assume(config, "routed_scaling_factor", c.routed_scaling_factor);
  assume(config, "hidden_act", "silu");
  assume(config, "attention_bias", c.attention_bias);
  assume(config, "tie_word_embeddings", c.tie_word_embeddings);
  assume(config, "rms_norm_eps", c.rms_norm_eps);
  assume(config, "max_position_embeddings", c.max_position_embeddings);
  assume_rope(config, c);
  for (const char* key : {"torch_dtype", "dtype"})
    config[key] = name_of(dtype == DType::kBf16 ? dtype : c.torch_dtype);
}

// The marks of the quantisation, in the reference's order.
void mark(Json& config, bool mtp_mix, const QuantizeOptions& options) {
  const Json fa_type = options.fa_quant ? Json(kFaQuantType) : Json(nullptr);
  const std::string kind = weight_kind(options);
  if (keeps_weights(options)) {
    config["quantize"] = kind;
    config["quantization_config"]["fa_quant_type"] = fa_type;  // beside the fp8 blocks, if there are any
    return;
  }
  config.erase("quantization_config");  // of an fp8 source
  if (is_mindie(options)) {
    config["quantize"] = kind;
    config["quantization_config"] = {
        {"kv_quant_type", nullptr}, {"fa_quant_type", fa_type}, {"group_size", 0}};
    config["mla_quantize"] = "w8a8";
    if (mtp_mix) config["mtp_quantize"] = kind;
    return;
  }
  config["mla_quantize"] = "w8a8";
  if (mtp_mix) config["mtp_quantize"] = kind;
  config["quantize"] = kind;
  if (options.fa_quant) config["quantization_config"]["fa_quant_type"] = fa_type;
}

// What stands there instead of a file that a tokenizer or template is read from, with the way out. Of other
// files only the pointers of Git LFS are looked for: an empty one may be meant.
std::string lost_content(const fs::path& path) {
  constexpr std::array<std::string_view, 4> kRead{".json", ".jinja", ".model", ".txt"};
  const std::optional<std::string> kind = foreign_kind(MappedFile(path).bytes());
  const bool read = std::find(kRead.begin(), kRead.end(), path.extension().string()) != kRead.end();
  return kind && (read || kind->starts_with("a Git LFS pointer")) ? *kind : "";
}

// Weights in any form that a hub has them in: what is quantised, or belongs to another program.
bool is_weight(const std::string& name) {
  constexpr std::array<std::string_view, 14> kEndings{
      ".safetensors", ".bin", ".pt",        ".pth", ".ckpt",    ".gguf",   ".ggml",
      ".onnx",        ".h5",  ".onnx_data", ".npz", ".msgpack", ".distcp", ".tflite"};
  return std::any_of(kEndings.begin(), kEndings.end(), [&](auto ending) { return name.ends_with(ending); });
}

bool is_cache(const fs::path& name) {
  return std::any_of(name.begin(), name.end(), [](const fs::path& part) {
    return part == "__pycache__" || part == "cache" || part.extension() == ".pyc";
  });
}

// Why a file is not copied although somebody might miss it; "" if it is copied.
std::string reason_to_leave_out(const fs::path& path, const std::string& name) {
  if (is_cache(name)) return "a cache";
  if (name.starts_with("state/")) return "the name of this program's own folder";
  if (name.find(".tmp-") != name.npos) return "a temporary file";
  if (name == "SHA256SUMS") return "of the source's files";
  return lost_content(path);
}

// Whether a file is written anew, or has no place beside quantised weights.
bool is_replaced(const std::string& name) {
  const std::string file = fs::path(name).filename().string();
  return name == "config.json" || is_weight(file) || file.ends_with(".index.json") ||
         file.starts_with("quant_model_description");
}

bool is_taken_by_reference(const std::string& name) {
  return name.ends_with(".json") || name.ends_with(".py");
}

void copy_whole(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::create_directories(to.parent_path(), error);
  if (error)
    throw_error(ErrorCode::kIo, "'{}': cannot create the folder: {}", to.parent_path().string(),
                error.message());
  AtomicFile file(to);
  for_each_chunk(
      from, [&](std::int64_t offset, std::span<const std::byte> bytes) { file.write_at(offset, bytes); });
  file.commit();
}

}  // namespace

std::string weight_kind(const QuantizeOptions& options) {
  return keeps_weights(options) ? "float" : "w8a8_dynamic";
}

void write_description(const fs::path& dir, const std::vector<std::pair<std::string, QuantType>>& tensors,
                       const QuantizeOptions& options) {
  QuantDescription description;
  if (!is_mindie(options)) description.version = "1.0.0";
  description.model_quant_type = keeps_weights(options) ? "FLOAT" : "W8A8_DYNAMIC";
  if (options.fa_quant)
    description.fa_quant_type = is_compat(options) && is_mindie(options) ? "FAQuant" : kFaQuantType;
  for (const auto& [name, type] : tensors) LATENT8_CHECK(description.add(name, type));
  const std::string text = description.to_json();
  if (!is_mindie(options) || !is_compat(options))
    write_file_atomically(dir / "quant_model_description.json", text);
  if (is_mindie(options))
    write_file_atomically(dir / fmt::format("quant_model_description_{}.json", weight_kind(options)), text);
}

std::string quantized_config(std::string_view source_json, const ModelConfig& source, const MadeModel& made,
                             const QuantizeOptions& options) {
  Json config = Json::parse(source_json);
  if (is_mindie(options)) config["model_type"] = "deepseekv2";
  if (!is_compat(options)) {
    assume_rest(config, source, made.dtype);
    if (options.layer_count > 0 && config["num_hidden_layers"] != made.layers) {
      config["num_hidden_layers"] = made.layers;
      config["num_nextn_predict_layers"] = 0;
    }
  }
  mark(config, made.mtp_mix, options);
  return config.dump(kConfigIndent, ' ', /*ensure_ascii=*/true);
}

CopiedFiles copy_other_files(const fs::path& from, const fs::path& to, bool as_reference) {
  CopiedFiles out;
  std::error_code error;
  fs::recursive_directory_iterator it(from, fs::directory_options::skip_permission_denied, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    const std::string name = it->path().lexically_relative(from).generic_string();
    std::error_code none;
    const bool folder = it->is_directory(none);
    if (it->path().filename().string().starts_with('.')) {  // other programs'
      it.disable_recursion_pending();
      if (!as_reference) out.left_out.push_back(name + " (hidden)");
      continue;
    }
    if (as_reference) it.disable_recursion_pending();
    if (folder || is_replaced(name) || (as_reference && !is_taken_by_reference(name))) continue;
    if (!it->is_regular_file(none)) {
      out.left_out.push_back(name + " (no regular file)");
      continue;
    }
    const std::string reason = as_reference ? "" : reason_to_leave_out(it->path(), name);
    if (!reason.empty()) {
      out.left_out.push_back(fmt::format("{} ({})", name, reason));
      continue;
    }
    copy_whole(it->path(), to / name);
    out.copied.push_back(name);
  }
  if (error) throw_error(ErrorCode::kIo, "cannot list '{}': {}", from.string(), error.message());
  std::sort(out.copied.begin(), out.copied.end());
  std::sort(out.left_out.begin(), out.left_out.end());
  return out;
}

}  // namespace latent8
