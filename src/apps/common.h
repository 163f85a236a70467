#pragma once
// Flags that several subcommands have, and what they open.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "eval/sequence_runner.h"
#include "formats/checkpoint.h"
#include "frontend/frontend.h"
#include "model/deepseek_model.h"

namespace latent8 {

struct ModelFlags {
  std::string model;  // directory
  int threads = 0;    // 0: the physical cores of the affinity mask
  std::string numerics = "native", prefill = "int8", cache = "auto", load = "map";
  bool accept_unit_scales = false, ignore_unread_tensors = false;
  std::string enable_nz;                      // "", "true" or "false"
  std::optional<std::string> speculative;     // none: auto, or as a service config says
  std::optional<int> num_speculative_tokens;  // none: as many as pay, likewise
  std::string atb_config;
};

// --model (required) and everything below.
void add_model_flags(CLI::App& app, ModelFlags& flags);
// --speculative and --num-speculative-tokens, for commands that answer.
void add_speculative_flags(CLI::App& app, ModelFlags& flags);
// How a model runs, without --model: --threads, --numerics, --prefill, --cache, --load, ...
void add_runtime_flags(CLI::App& app, ModelFlags& flags);
// A whole or other number, `least` or more.
CLI::Validator at_least(std::int64_t least);
// `text`, given to `flag`. Throws: Error{kInvalidArgument} naming the flag if it is not UTF-8.
std::string utf8_flag(const char* flag, const std::string& text);

void add_json_flag(CLI::App& app, bool& json);
void add_check_flag(CLI::App& app, bool& check);
// What --check asks for. Throws: Error{kNotFound} if --model has no SHA256SUMS, and as require_sha256sums().
void check_sha256sums(const ModelFlags& flags);

// What the flags say of how an engine, or anything that runs a model without one, computes.
EngineOptions engine_options(const ModelFlags& flags);
ModelOptions model_options(const ModelFlags& flags);
AttentionOptions attention_options(const ModelFlags& flags);
CacheType float_cache_type(const ModelFlags& flags, const Checkpoint& checkpoint);
bool has_int8_cache(const Checkpoint& checkpoint);

// Throws: Error{kInvalidArgument} if enable_nz is explicitly false (--enable-nz, or the file of --atb-config)
// and the checkpoint has int8 layers; and what Checkpoint::open() throws.
std::shared_ptr<const Checkpoint> open_checkpoint(const ModelFlags& flags);
// Throws: Error{kInvalidArgument} for a checkpoint without an MTP layer.
void need_mtp(const Checkpoint& checkpoint);
// Throws: as load_weights().
std::shared_ptr<const DeepseekModel> load_model(const ModelFlags& flags,
                                                std::shared_ptr<const Checkpoint> checkpoint);

// Tokenizer, template and engine of --model for one conversation. Throws: as open_checkpoint() and
// Frontend::load().
Frontend load_frontend(const ModelFlags& flags);
// The same for a checkpoint that open_checkpoint() returned.
Frontend load_frontend(const ModelFlags& flags, std::shared_ptr<const Checkpoint> checkpoint);

// --max-tokens, --temperature, --top-p, --top-k, --seed, --stop.
struct SamplingFlags {
  std::int64_t max_tokens = 0;
  std::optional<float> temperature, top_p;  // none: what the checkpoint advises
  std::optional<std::int32_t> top_k;
  std::uint64_t seed = 0;
  std::vector<std::string> stop;
};
void add_sampling_flags(CLI::App& app, SamplingFlags& flags);
// Flags that are not given come from generation_config.json of `dir`: its temperature, top_p and top_k if
// do_sample is true, else greedy. Throws: Error{kCorrupt} naming that file.
SamplingParams sampling_params(const SamplingFlags& flags, const std::string& dir);

// Bytes of cache per token over the layers of the model (MTP not counted), and of a latent in fp16.
struct CacheBytes {
  std::int64_t per_token = 0, fp16_per_token = 0;
};
CacheBytes cache_bytes(const Checkpoint& checkpoint, CacheType float_cache);

}  // namespace latent8
