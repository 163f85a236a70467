#include "apps/common.h"

#include <cctype>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string_view>

#include "apps/output.h"
#include "base/error.h"
#include "formats/files.h"
#include "formats/json.h"
#include "formats/sha256sums.h"
#include "model/float_cache.h"
#include "sys/thread_pool.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

// kv_cache_options.enable_nz of `section`: the reference writes booleans, people also write strings.
std::string enable_nz_of(const nlohmann::json& section, const std::string& where) {
  if (section.is_null()) return "";
  const auto object = [&](const nlohmann::json& part, const char* name) {
    if (!part.is_object())
      throw_error(ErrorCode::kCorrupt, "{}: {}an object expected, got {}", where, name, part.type_name());
  };
  object(section, "");
  const auto options = section.find("kv_cache_options");
  if (options == section.end()) return "";
  object(*options, "kv_cache_options: ");
  const auto value = options->find("enable_nz");
  if (value == options->end()) return "";
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
  if (!config.is_object())
    throw_error(ErrorCode::kCorrupt, "{}: an object expected, got {}", flags.atb_config, config.type_name());
  const auto section = [&](const char* pointer) {
    const nlohmann::json::json_pointer at(pointer);
    return config.contains(at) ? config.at(at) : nlohmann::json();
  };
  for (const char* pointer : {"/models/deepseekv2", "/llm"}) {
    const std::string value = enable_nz_of(section(pointer), flags.atb_config + ": " + pointer);
    if (!value.empty())
      return {value, fmt::format("{}: {}/kv_cache_options/enable_nz", flags.atb_config, pointer)};
  }
  return {};
}

// CLI11's own checks of numbers print the largest double in full and accept NaN.
CLI::Validator number_where(const std::function<bool(double)>& holds, const std::string& expected) {
  return CLI::Validator(
      [holds, expected](std::string& text) {
        double value = 0;
        const char* end = text.data() + text.size();
        const auto read = std::from_chars(text.data(), end, value);
        const bool good = read.ec == std::errc() && read.ptr == end && holds(value);
        return good ? std::string() : fmt::format("{} expected, got {}", expected, text);
      },
      "");
}

}  // namespace

CLI::Validator at_least(std::int64_t least) {
  return number_where([least](double value) { return value >= static_cast<double>(least); },
                      fmt::format("a number from {} on", least));
}

std::string utf8_flag(const char* flag, const std::string& text) {
  if (const auto offset = first_invalid_utf8(text))
    throw_error(ErrorCode::kInvalidArgument, "{}: UTF-8 expected, got byte {:#04x} at offset {}", flag,
                static_cast<unsigned char>(text[*offset]), *offset);
  return text;
}

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
         "cache of layers without an int8 one; auto is fp32 where no tensor of the checkpoint is quantised, "
         "else fp16")
      ->check(CLI::IsMember({"auto", "fp16", "fp32"}))
      ->capture_default_str();
  app.add_option("--load", flags.load, "use weights in the mapped files, or copy them into huge pages")
      ->check(CLI::IsMember({"map", "copy"}))
      ->capture_default_str();
  app.add_flag("--accept-unit-scales", flags.accept_unit_scales,
               "load a checkpoint whose FA scales are all 1.0");
  app.add_flag("--ignore-unread-tensors", flags.ignore_unread_tensors,
               "load a checkpoint with tensors that the model does not read");
  app.add_option("--enable-nz", flags.enable_nz,
                 "false is refused for checkpoints with an int8 cache; absent means true")
      ->check(CLI::IsMember({"true", "false"}));
  app.add_option("--atb-config", flags.atb_config,
                 "the reference's config.json, of which kv_cache_options.enable_nz is read")
      ->type_name("FILE");
}

void add_speculative_flags(CLI::App& app, ModelFlags& flags) {
  app.add_option("--speculative", flags.speculative,
                 "guess tokens by the MTP layer and check several in a step, which changes no answer; auto: "
                 "where the checkpoint has one and it pays")
      ->check(CLI::IsMember({"auto", "mtp", "none"}))
      ->default_str("auto");
  app.add_option("--num-speculative-tokens", flags.num_speculative_tokens,
                 "guess so many in every step, whether it pays or not")
      ->check(CLI::Range(1, kMaxSpeculativeTokens));
}

void add_model_flags(CLI::App& app, ModelFlags& flags) {
  app.add_option("--model", flags.model, "checkpoint directory")->required()->type_name("DIR");
  add_runtime_flags(app, flags);
}

void add_json_flag(CLI::App& app, bool& json) { app.add_flag("--json", json, "print one JSON object"); }

EngineOptions engine_options(const ModelFlags& flags) {
  EngineOptions options;
  options.numerics = flags.numerics == "ascend" ? Numerics::kAscend : Numerics::kNative;
  options.prefill = flags.prefill == "float" ? Prefill::kFloat : Prefill::kCached;
  if (flags.cache != "auto")
    options.cache_dtype = flags.cache == "fp32" ? CacheDType::kFp32 : CacheDType::kFp16;
  options.threads = flags.threads;
  if (flags.speculative)
    options.speculative = *flags.speculative == "mtp"    ? Speculative::kMtp
                          : *flags.speculative == "none" ? Speculative::kNone
                                                         : Speculative::kAuto;
  options.num_speculative_tokens = flags.num_speculative_tokens.value_or(0);
  return options;
}

ModelOptions model_options(const ModelFlags& flags) {
  return {.accept_unit_scales = flags.accept_unit_scales,
          .copy_weights = flags.load == "copy",
          .ignore_unread_tensors = flags.ignore_unread_tensors};
}

AttentionOptions attention_options(const ModelFlags& flags) {
  const EngineOptions options = engine_options(flags);
  return {options.numerics, options.prefill};
}

CacheType float_cache_type(const ModelFlags& flags, const Checkpoint& checkpoint) {
  return float_cache_type(engine_options(flags).cache_dtype, checkpoint);
}

bool has_int8_cache(const Checkpoint& checkpoint) {
  const ModelConfig& c = checkpoint.config();
  if (checkpoint.quant() == nullptr) return false;
  for (std::int64_t l = 0; l < c.num_hidden_layers + c.num_nextn_predict_layers; ++l)
    if (checkpoint.quant()->lists_fa_tensors(l)) return true;
  return false;
}

void add_check_flag(CLI::App& app, bool& check) {
  app.add_flag("--check", check, "first compare every file of the checkpoint with its SHA256SUMS");
}

void check_sha256sums(const ModelFlags& flags) {
  if (!std::filesystem::exists(std::filesystem::path(flags.model) / kSumsFile))
    throw_error(ErrorCode::kNotFound,
                "--check: '{}' has no {}; latent8 quantize writes it, or: sha256sum * > {}", flags.model,
                kSumsFile, kSumsFile);
  ThreadPool pool(flags.threads);
  Progress progress("check");
  require_sha256sums(flags.model, pool,
                     [&](std::int64_t done, std::int64_t total) { progress.update(done, total); });
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

void need_mtp(const Checkpoint& checkpoint) {
  if (!has_mtp(checkpoint))
    throw_error(ErrorCode::kInvalidArgument, "--model '{}': a checkpoint with an MTP layer expected",
                checkpoint.dir().string());
}

std::shared_ptr<const DeepseekModel> load_model(const ModelFlags& flags,
                                                std::shared_ptr<const Checkpoint> checkpoint) {
  const ModelOptions options = model_options(flags);
  const LoadOptions load{.accept_unit_scales = options.accept_unit_scales,
                         .copy = options.copy_weights,
                         .threads = flags.threads,
                         .ignore_unread_tensors = options.ignore_unread_tensors};
  return std::make_shared<const DeepseekModel>(load_weights(std::move(checkpoint), load));
}

Frontend load_frontend(const ModelFlags& flags) { return load_frontend(flags, open_checkpoint(flags)); }

Frontend load_frontend(const ModelFlags& flags, std::shared_ptr<const Checkpoint> checkpoint) {
  EngineOptions options = engine_options(flags);
  options.max_num_seqs = 1;
  return Frontend::load(std::move(checkpoint), options, model_options(flags));
}

void add_sampling_flags(CLI::App& app, SamplingFlags& flags) {
  app.add_option("--max-tokens", flags.max_tokens, "longest answer in tokens; 0: as the context holds")
      ->check(at_least(0))
      ->capture_default_str();
  app.add_option("--temperature", flags.temperature,
                 "0: greedy; default: as generation_config.json says, else 0")
      ->check(number_where([](double t) { return std::isfinite(t) && t >= 0; }, "a number from 0 on"));
  app.add_option("--top-p", flags.top_p, "likeliest tokens that together have this probability, in (0, 1]")
      ->check(number_where([](double p) { return p > 0 && p <= 1; }, "more than 0 and at most 1"));
  app.add_option("--top-k", flags.top_k, "this many likeliest tokens; 0: all")->check(at_least(0));
  app.add_option("--seed", flags.seed, "seed of sampling; equal seeds give equal answers")
      ->check(at_least(0))
      ->capture_default_str();
  app.add_option("--stop", flags.stop, "text that ends the answer; may be given several times")
      ->expected(1)
      ->check(CLI::Validator([](std::string& text) { return text.empty() ? "some text expected" : ""; }, ""))
      ->take_all();
}

SamplingParams sampling_params(const SamplingFlags& flags, const std::string& dir) {
  SamplingParams params;
  const auto path = std::filesystem::path(dir) / "generation_config.json";
  if (std::filesystem::exists(path)) {
    const nlohmann::json config = parse_json(read_text_file(path), path.string());
    const JsonFields fields(config, path.string());
    if (fields.boolean("do_sample", false)) {
      params.temperature = static_cast<float>(fields.number("temperature", 1.0));
      params.top_p = static_cast<float>(fields.number("top_p", 1.0));
      params.top_k = static_cast<std::int32_t>(fields.integer("top_k", 0, 1 << 30, 0));
    }
  }
  params.temperature = flags.temperature.value_or(params.temperature);
  params.top_p = flags.top_p.value_or(params.top_p);
  params.top_k = flags.top_k.value_or(params.top_k);
  params.seed = flags.seed;
  params.max_tokens = flags.max_tokens;
  return params;
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
