#include "apps/common.h"

#include <nlohmann/json.hpp>

#include "apps/output.h"
#include "base/error.h"
#include "formats/files.h"
#include "formats/json.h"

namespace latent8 {
namespace {

// kv_cache_options.enable_nz of `section`: the reference writes booleans, people also write strings.
std::string enable_nz_of(const nlohmann::json& section, const std::string& where) {
  if (!section.is_object()) return "";
  const auto options = section.find("kv_cache_options");
  if (options == section.end() || !options->is_object()) return "";
  const auto value = options->find("enable_nz");
  if (value == options->end() || value->is_null()) return "";
  if (value->is_boolean()) return value->get<bool>() ? "true" : "false";
  if (*value == "true" || *value == "false") return value->get<std::string>();
  throw_error(ErrorCode::kCorrupt, "{}: kv_cache_options.enable_nz: true or false expected, got {}", where,
              value->dump());
}

struct EnableNz {
  std::string value;  // "", "true", "false"
  std::string where;  // what set it
};

// --enable-nz, else models.deepseekv2 of --atb-config, else llm of it.
EnableNz enable_nz(const ModelFlags& flags) {
  if (!flags.enable_nz.empty()) return {flags.enable_nz, "--enable-nz"};
  if (flags.atb_config.empty()) return {};
  const nlohmann::json config = parse_json(read_text_file(flags.atb_config), flags.atb_config);
  const auto section = [&](const char* pointer) {
    const nlohmann::json::json_pointer at(pointer);
    return config.contains(at) ? config.at(at) : nlohmann::json();
  };
  for (const char* pointer : {"/models/deepseekv2", "/llm"}) {
    const std::string value = enable_nz_of(section(pointer), flags.atb_config);
    if (!value.empty())
      return {value, fmt::format("{}: {}/kv_cache_options/enable_nz", flags.atb_config, pointer)};
  }
  return {};
}

}  // namespace

void add_runtime_flags(CLI::App& app, ModelFlags& flags) {
  app.add_option("--threads", flags.threads, "threads; 0 means one per physical core")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  app.add_option("--numerics", flags.numerics,
                 "arithmetic of int8 layers: native, or ascend (the reference's, slow)")
      ->check(CLI::IsMember({"native", "ascend"}))
      ->capture_default_str();
  app.add_option("--prefill", flags.prefill, "how prompt tokens attend in int8 layers")
      ->check(CLI::IsMember({"int8", "float"}))
      ->capture_default_str();
  app.add_option(
         "--cache", flags.cache,
         "cache of float layers; auto is fp32 where nothing in the checkpoint is quantised, else fp16")
      ->check(CLI::IsMember({"auto", "fp16", "fp32"}))
      ->capture_default_str();
  app.add_option("--load", flags.load, "use weights in the mapped files, or copy them into huge pages")
      ->check(CLI::IsMember({"map", "copy"}))
      ->capture_default_str();
  app.add_flag("--accept-unit-scales", flags.accept_unit_scales,
               "load a checkpoint whose FA scales are all 1.0");
  app.add_option("--enable-nz", flags.enable_nz,
                 "false is refused for checkpoints with an int8 cache; absent means true")
      ->check(CLI::IsMember({"true", "false"}));
  app.add_option("--atb-config", flags.atb_config,
                 "the reference's config.json, of which kv_cache_options.enable_nz is read");
}

void add_model_flags(CLI::App& app, ModelFlags& flags) {
  app.add_option("--model", flags.model, "checkpoint directory")->required();
  add_runtime_flags(app, flags);
}

void add_json_flag(CLI::App& app, bool& json) { app.add_flag("--json", json, "print one JSON object"); }

AttentionOptions attention_options(const ModelFlags& flags) {
  return {flags.numerics == "ascend" ? Numerics::kAscend : Numerics::kNative,
          flags.prefill == "float" ? Prefill::kFloat : Prefill::kCached};
}

CacheType float_cache_type(const ModelFlags& flags, const Checkpoint& checkpoint) {
  if (flags.cache != "auto") return flags.cache == "fp32" ? CacheType::kF32 : CacheType::kF16;
  if (checkpoint.quant() != nullptr)
    for (const auto& [name, type] : checkpoint.quant()->entries())
      if (type != QuantType::kFloat) return CacheType::kF16;
  return CacheType::kF32;
}

bool has_int8_cache(const Checkpoint& checkpoint) {
  const ModelConfig& c = checkpoint.config();
  if (checkpoint.quant() == nullptr) return false;
  for (std::int64_t l = 0; l < c.num_hidden_layers + c.num_nextn_predict_layers; ++l)
    if (checkpoint.quant()->lists_fa_tensors(l)) return true;
  return false;
}

std::shared_ptr<const Checkpoint> open_checkpoint(const ModelFlags& flags) {
  auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(flags.model));
  const EnableNz nz = enable_nz(flags);
  if (nz.value == "false" && has_int8_cache(*checkpoint))
    throw_error(ErrorCode::kInvalidArgument,
                "{} is false, but {} has an int8 latent cache (FA3), which needs NZ: set enable_nz to true",
                nz.where, flags.model);
  return checkpoint;
}

std::shared_ptr<const DeepseekModel> load_model(const ModelFlags& flags,
                                                std::shared_ptr<const Checkpoint> checkpoint) {
  LoadOptions options;
  options.accept_unit_scales = flags.accept_unit_scales;
  options.copy = flags.load == "copy";
  return std::make_shared<const DeepseekModel>(load_weights(std::move(checkpoint), options));
}

CacheBytes cache_bytes(const Checkpoint& checkpoint, CacheType float_cache) {
  const ModelConfig& c = checkpoint.config();
  CacheBytes bytes;
  for (std::int64_t l = 0; l < c.num_hidden_layers; ++l) {
    const bool int8 = checkpoint.quant() != nullptr && checkpoint.quant()->lists_fa_tensors(l);
    const LatentLayout layout{int8 ? CacheType::kInt8 : float_cache, c.kv_lora_rank, c.qk_rope_head_dim};
    const LatentLayout fp16{CacheType::kF16, c.kv_lora_rank, c.qk_rope_head_dim};
    bytes.per_token += layout.bytes_per_token();
    bytes.fp16_per_token += fp16.bytes_per_token();
  }
  return bytes;
}

}  // namespace latent8
