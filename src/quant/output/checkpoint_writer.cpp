#include "quant/output/checkpoint_writer.h"

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/files.h"
#include "formats/quant_description.h"

namespace latent8 {
namespace {

constexpr const char* kFaQuantType = "FAKQuant";
constexpr int kConfigIndent = 4;

bool keeps_weights(const QuantizeOptions& options) {
  return options.weights == QuantizeOptions::Weights::kFloat;
}

}  // namespace

std::string weight_kind(const QuantizeOptions& options) {
  return keeps_weights(options) ? "float" : "w8a8_dynamic";
}

void write_description(const std::filesystem::path& dir, const CheckpointPlan& plan,
                       const QuantizeOptions& options) {
  const bool mindie = options.format == QuantizeOptions::Format::kMindie;
  QuantDescription description;
  if (!mindie) description.version = "1.0.0";
  description.model_quant_type = keeps_weights(options) ? "FLOAT" : "W8A8_DYNAMIC";
  if (options.fa_quant) description.fa_quant_type = kFaQuantType;
  for (const PlannedUnit& unit : plan.units)
    for (const PlannedModule& module : unit.modules)
      for (const PlannedTensor& planned : module.tensors)
        LATENT8_CHECK(description.add(planned.tensor.name, planned.type));
  const std::string text = description.to_json();
  write_file_atomically(dir / "quant_model_description.json", text);
  if (mindie)
    write_file_atomically(dir / fmt::format("quant_model_description_{}.json", weight_kind(options)), text);
}

std::string quantized_config(std::string_view source_json, const CheckpointPlan& plan,
                             const QuantizeOptions& options) {
  using Json = nlohmann::ordered_json;
  Json config = Json::parse(source_json);
  const Json fa_type = options.fa_quant ? Json(kFaQuantType) : Json(nullptr);
  const bool mindie = options.format == QuantizeOptions::Format::kMindie;
  if (mindie) config["model_type"] = "deepseekv2";
  if (plan.dtype == DType::kBf16 && config.contains("torch_dtype")) config["torch_dtype"] = "bfloat16";
  if (options.layer_count > 0 && config["num_hidden_layers"] != plan.layers) {
    config["num_hidden_layers"] = plan.layers;
    if (config.contains("num_nextn_predict_layers")) config["num_nextn_predict_layers"] = 0;
  }
  const bool mtp_mix = plan.has(PlannedUnit::Kind::kMtp) && !keeps_weights(options);
  if (keeps_weights(options)) {
    config["quantize"] = weight_kind(options);
    config["quantization_config"]["fa_quant_type"] = fa_type;  // beside the fp8 blocks, if there are any
  } else if (mindie) {
    config["quantize"] = weight_kind(options);
    Json& quantization = config["quantization_config"] = Json::object();
    quantization["kv_quant_type"] = nullptr;
    quantization["fa_quant_type"] = fa_type;
    quantization["group_size"] = 0;
    config["mla_quantize"] = "w8a8";
    if (mtp_mix) config["mtp_quantize"] = weight_kind(options);
  } else {
    config["mla_quantize"] = "w8a8";
    if (mtp_mix) config["mtp_quantize"] = weight_kind(options);
    config["quantize"] = weight_kind(options);
    config.erase("quantization_config");  // of an fp8 source
    if (options.fa_quant) config["quantization_config"]["fa_quant_type"] = fa_type;
  }
  return config.dump(kConfigIndent, ' ', /*ensure_ascii=*/true);
}

void copy_other_files(const std::filesystem::path& from, const std::filesystem::path& to) {
  for (const std::string& name : list_folder(from)) {
    const std::filesystem::path path(name);
    const bool json = path.extension() == ".json" && name != "config.json" &&
                      !name.ends_with(".index.json") && !name.starts_with("quant_model_description");
    if (!json && path.extension() != ".py" && path.extension() != ".jinja") continue;
    if (std::filesystem::is_regular_file(from / name))
      write_file_atomically(to / name, read_text_file(from / name));
  }
}

}  // namespace latent8
