#include "quant/output/checkpoint_writer.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/files.h"
#include "formats/foreign_file.h"
#include "formats/write_model_config.h"
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

// Readers differ in what they assume where config.json is silent, and 'deepseekv2' stands for V2 and V3
// alike.
void assume_rest(Json& config, const ModelConfig& c, DType dtype) {
  // Null says that the model has no such thing; of other keys it says nothing.
  constexpr std::array<std::string_view, 5> kNoneIfNull{"q_lora_rank", "n_routed_experts", "n_shared_experts",
                                                        "scale_depth", "dim_model_base"};
  ModelConfig made = c;
  if (dtype == DType::kBf16) made.torch_dtype = dtype;
  const Json all = write_model_config(made);
  for (const auto& [key, value] : all.items()) {
    const bool null_counts = std::find(kNoneIfNull.begin(), kNoneIfNull.end(), key) != kNoneIfNull.end();
    const bool silent = !config.contains(key) || (config[key].is_null() && !null_counts);
    if (silent || key == "torch_dtype" || key == "dtype") config[key] = value;
  }
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
      if (source.scale_depth) config["scale_depth"] = *source.with_layers(made.layers).scale_depth;
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
