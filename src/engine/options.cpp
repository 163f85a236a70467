#include "engine/options.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/error.h"
#include "base/log.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

void need_positive(const char* name, std::int64_t value) {
  if (value < 1) throw_error(ErrorCode::kInvalidArgument, "{}: at least 1 expected, got {}", name, value);
}

bool has_int8_cache(const DeepseekModel& model) {
  return std::any_of(model.weights().layers.begin(), model.weights().layers.end(),
                     [](const LayerWeights& w) { return w.attention.fa.has_value(); });
}

CacheType float_cache_type(const DeepseekModel& model, EngineOptions::CacheDType wanted) {
  if (wanted == EngineOptions::CacheDType::kFp16) return CacheType::kF16;
  if (wanted == EngineOptions::CacheDType::kFp32) return CacheType::kF32;
  const auto& checkpoint = model.weights().checkpoint;
  const bool quantised = has_int8_cache(model) || (checkpoint != nullptr && checkpoint->quant() != nullptr);
  return quantised ? CacheType::kF16 : CacheType::kF32;
}

std::int64_t context_tokens(const ModelConfig& config, std::int64_t max_model_len) {
  if (max_model_len == 0) return config.max_position_embeddings;
  if (max_model_len < 2 || max_model_len > config.max_position_embeddings)
    throw_error(ErrorCode::kInvalidArgument,
                "max_model_len: 2 to {} expected (max_position_embeddings of the model), got {}",
                config.max_position_embeddings, max_model_len);
  return max_model_len;
}

std::int64_t mapped_weight_bytes(const DeepseekModel& model) {
  std::int64_t bytes = 0;
  if (model.weights().checkpoint != nullptr)
    for (const auto& [name, tensor] : model.weights().checkpoint->tensors())
      bytes += static_cast<std::int64_t>(tensor.bytes.size());
  return bytes;
}

// Half of what is free when the mapped weights are in memory, at least an eighth of what is free without
// them.
std::int64_t default_cache_bytes(const DeepseekModel& model) {
  const std::int64_t available = memory_info().available_bytes;
  return std::max((available - mapped_weight_bytes(model)) / 2, available / 8);
}

std::int32_t count_blocks(const DeepseekModel& model, const EngineOptions& o, std::int64_t context,
                          std::int64_t block_bytes) {
  constexpr std::int64_t kMaxSlots = std::numeric_limits<std::int32_t>::max();  // slots are int32
  const std::int64_t per_seq = (context + o.block_size - 1) / o.block_size;
  const std::int64_t wanted = std::min(o.max_num_seqs, kMaxSlots / o.block_size / per_seq + 1) * per_seq;
  const std::int64_t bytes = o.cache_bytes > 0 ? o.cache_bytes : default_cache_bytes(model);
  const std::int64_t blocks = std::min({bytes / block_bytes, wanted, kMaxSlots / o.block_size});
  const std::int64_t available = memory_info().available_bytes;
  if (blocks < 1 || blocks * block_bytes > available)
    throw_error(
        ErrorCode::kUnavailable,
        "latent cache: {} bytes free, {} asked for, a block of {} tokens takes {}; set cache_bytes or "
        "a smaller max_model_len",
        available, bytes, o.block_size, block_bytes);
  if (blocks < per_seq)
    log_warn(
        fmt::format("the latent cache holds {} tokens, fewer than the context of {}: longer requests are "
                    "refused",
                    blocks * o.block_size, context));
  return static_cast<std::int32_t>(blocks);
}

void check_sampling(const SamplingParams& p) {
  const auto need = [](bool ok, const char* name, const char* expected, auto got) {
    if (!ok) throw_error(ErrorCode::kInvalidArgument, "{}: {} expected, got {}", name, expected, got);
  };
  need(std::isfinite(p.temperature) && p.temperature >= 0.0F, "temperature", "0 or more", p.temperature);
  need(p.top_p > 0.0F && p.top_p <= 1.0F, "top_p", "more than 0 and at most 1", p.top_p);
  need(p.top_k >= 0, "top_k", "0 or more", p.top_k);
  need(p.min_p >= 0.0F && p.min_p < 1.0F, "min_p", "0 or more and less than 1", p.min_p);
  need(std::isfinite(p.repetition_penalty) && p.repetition_penalty > 0.0F, "repetition_penalty",
       "more than 0", p.repetition_penalty);
  need(std::isfinite(p.presence_penalty), "presence_penalty", "a finite number", p.presence_penalty);
  need(std::isfinite(p.frequency_penalty), "frequency_penalty", "a finite number", p.frequency_penalty);
  need(p.max_tokens >= 0, "max_tokens", "0 or more", p.max_tokens);
  need(p.logprobs >= -1 && p.logprobs <= 64, "logprobs", "-1 to 64", p.logprobs);
}

}  // namespace

ResolvedOptions resolve_options(const DeepseekModel& model, const EngineOptions& o) {
  need_positive("max_num_seqs", o.max_num_seqs);
  need_positive("max_num_batched_tokens", o.max_num_batched_tokens);
  if (o.block_size < 16 || o.block_size > 128 || o.block_size % 16 != 0)
    throw_error(ErrorCode::kInvalidArgument, "block_size: a multiple of 16 from 16 to 128 expected, got {}",
                o.block_size);
  if (o.threads < 0)
    throw_error(ErrorCode::kInvalidArgument, "threads: 0 or more expected, got {}", o.threads);
  if (o.cache_bytes < 0)
    throw_error(ErrorCode::kInvalidArgument, "cache_bytes: 0 or more expected, got {}", o.cache_bytes);
  if (!o.enable_nz && has_int8_cache(model))
    throw_error(ErrorCode::kInvalidArgument,
                "enable_nz: true expected for a checkpoint with an int8 latent cache (FA3), got false; set "
                "llm.kv_cache_options.enable_nz to true, or --enable-nz true");

  ResolvedOptions out;
  const CacheType type = float_cache_type(model, o.cache_dtype);
  out.cache_bytes_per_token = LatentCache::bytes_per_token(main_cache_layers(model, type));
  out.context_tokens = context_tokens(model.config(), o.max_model_len);
  const std::int32_t blocks =
      count_blocks(model, o, out.context_tokens, out.cache_bytes_per_token * o.block_size);
  out.limits = {.max_num_seqs = o.max_num_seqs,
                .max_num_batched_tokens = o.max_num_batched_tokens,
                .block_size = o.block_size,
                .num_blocks = blocks};
  const bool ascend = o.numerics == EngineOptions::Numerics::kAscend;
  const bool float_prefill = o.prefill == EngineOptions::Prefill::kFloat;
  out.executor = {.attention = {.numerics = ascend ? Numerics::kAscend : Numerics::kNative,
                                .prefill = float_prefill ? Prefill::kFloat : Prefill::kCached},
                  .cache_type = type,
                  .threads = o.threads,
                  .block_size = o.block_size,
                  .num_blocks = blocks,
                  .max_tokens = o.max_num_batched_tokens,
                  .max_logits_rows = std::min(o.max_num_seqs, o.max_num_batched_tokens)};
  return out;
}

void check_request(const Request& request, std::int64_t vocab_size, const ResolvedOptions& options) {
  const auto prompt = static_cast<std::int64_t>(request.token_ids.size());
  if (prompt == 0) throw_error(ErrorCode::kInvalidArgument, "prompt: at least 1 token expected, got none");
  if (prompt >= options.context_tokens)
    throw_error(
        ErrorCode::kInvalidArgument,
        "prompt: at most {} tokens expected (a context of {} with room for one of the answer), got {}",
        options.context_tokens - 1, options.context_tokens, prompt);
  if (prompt >= options.cache_tokens())
    throw_error(ErrorCode::kInvalidArgument,
                "prompt: at most {} tokens expected (the latent cache holds {}), got {}; set a larger "
                "cache_bytes",
                options.cache_tokens() - 1, options.cache_tokens(), prompt);
  for (std::size_t i = 0; i < request.token_ids.size(); ++i)
    if (request.token_ids[i] < 0 || request.token_ids[i] >= vocab_size)
      throw_error(ErrorCode::kInvalidArgument, "prompt: token ids from 0 to {} expected, got {} at place {}",
                  vocab_size - 1, request.token_ids[i], i);
  check_sampling(request.sampling);
}

}  // namespace latent8
