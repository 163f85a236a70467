#include "quant/checkpoint_writer.h"

#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/files.h"
#include "formats/quant_description.h"
#include "formats/safetensors_index.h"

namespace latent8 {
namespace {

constexpr std::int64_t kMtpShardBytes = std::int64_t{5} << 30;  // facts/format.md 1.8
constexpr const char* kFaQuantType = "FAKQuant";
constexpr int kConfigIndent = 4;

template <class Visit>
void for_each_module(const CheckpointPlan& plan, const Visit& visit) {
  for (const PlannedModule& module : plan.embedding) visit(module);
  for (const auto& layer : plan.layers)
    for (const PlannedModule& module : layer) visit(module);
  for (const PlannedModule& module : plan.head) visit(module);
}

bool keeps_weights(const QuantizeOptions& options) {
  return options.weights == QuantizeOptions::Weights::kFloat;
}

}  // namespace

std::string weight_kind(const QuantizeOptions& options) {
  return keeps_weights(options) ? "float" : "w8a8_dynamic";
}

ShardWriter::ShardWriter(std::filesystem::path dir, const CheckpointPlan& plan, const std::string& kind,
                         std::int64_t shard_bytes)
    : dir_(std::move(dir)),
      index_file_(fmt::format("quant_model_weight_{}.safetensors.index.json", kind)),
      index_indent_(plan.mtp.empty() ? 2 : 4) {
  std::vector<const PlannedModule*> main, mtp;
  for_each_module(plan, [&](const PlannedModule& module) { main.push_back(&module); });
  for (const PlannedModule& module : plan.mtp) mtp.push_back(&module);
  assign(main, shard_bytes, [&](std::size_t i, std::size_t n) {
    return fmt::format("quant_model_weight_{}-{:05}-of-{:05}.safetensors", kind, i, n);
  });
  assign(mtp, kMtpShardBytes,
         [](std::size_t i, std::size_t) { return fmt::format("mtp_float-{}.safetensors", i); });
}

template <class Name>
void ShardWriter::assign(const std::vector<const PlannedModule*>& modules, std::int64_t limit,
                         const Name& name) {
  const std::size_t first = shards_.size();
  for (const PlannedModule* module : modules)
    for (const PlannedTensor& planned : module->tensors) {
      const std::int64_t bytes = planned.tensor.bytes();
      if (shards_.size() == first || shards_.back().bytes + bytes >= limit) shards_.emplace_back();
      shards_.back().tensors.push_back(planned.tensor);
      shards_.back().bytes += bytes;
      LATENT8_CHECK(shard_of_.emplace(planned.tensor.name, shards_.size() - 1).second);
      total_ += bytes;
    }
  for (std::size_t i = first; i < shards_.size(); ++i) {
    Shard& shard = shards_[i];
    shard.file = name(i - first + 1, shards_.size() - first);
    for (const TensorToWrite& tensor : shard.tensors) weight_map_.emplace_back(tensor.name, shard.file);
    order_for_alignment(shard.tensors);
  }
}

void ShardWriter::append(const std::string& name, std::span<const std::byte> bytes) {
  const auto found = shard_of_.find(name);
  LATENT8_CHECK(found != shard_of_.end());
  Shard& shard = shards_[found->second];
  if (!shard.writer)
    shard.writer = std::make_unique<SafetensorsWriter>(dir_ / shard.file, std::move(shard.tensors));
  shard.writer->append(name, bytes);
  const auto count = static_cast<std::int64_t>(bytes.size());
  shard.written += count;
  written_ += count;
  if (shard.written < shard.bytes) return;
  shard.writer->finish();
  shard.writer.reset();
}

void ShardWriter::finish() {
  LATENT8_CHECK_EQ(written_, total_);
  write_file_atomically(dir_ / index_file_, safetensors_index_json(total_, weight_map_, index_indent_));
}

void write_description(const std::filesystem::path& dir, const CheckpointPlan& plan,
                       const QuantizeOptions& options) {
  const bool mindie = options.format == QuantizeOptions::Format::kMindie;
  QuantDescription description;
  if (!mindie) description.version = "1.0.0";
  description.model_quant_type = keeps_weights(options) ? "FLOAT" : "W8A8_DYNAMIC";
  if (options.fa_quant) description.fa_quant_type = kFaQuantType;
  const auto add = [&](const PlannedModule& module) {
    for (const PlannedTensor& planned : module.tensors)
      LATENT8_CHECK(description.add(planned.tensor.name, planned.type));
  };
  for_each_module(plan, add);
  for (const PlannedModule& module : plan.mtp) add(module);
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
  } else {
    config["mla_quantize"] = "w8a8";
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
