#include "engine/options.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/checksum.h"
#include "base/error.h"
#include "base/log.h"
#include "model/float_cache.h"
#include "model/step_memory.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

void need_positive(const char* name, std::int64_t value) {
  if (value < 1) throw_error(ErrorCode::kInvalidArgument, "{}: at least 1 expected, got {}", name, value);
}

constexpr std::int64_t kMaxStepTokens = std::int64_t{1} << 20;  // far beyond any memory

// Rows of logits in memory at one time: 132 MB for a vocabulary of 129,280.
constexpr std::int64_t kMaxLogitsRows = 256;

bool has_int8_cache(const std::vector<LatentCache::Layer>& layers) {
  return std::any_of(layers.begin(), layers.end(),
                     [](const LatentCache::Layer& layer) { return layer.layout.type == CacheType::kInt8; });
}

std::int64_t context_tokens(const ModelConfig& config, std::int64_t max_model_len) {
  const ContextLimit limit = config.context_limit();
  if (max_model_len == 0) return limit.tokens;
  if (max_model_len < 2 || max_model_len > limit.tokens)
    throw_error(ErrorCode::kInvalidArgument, "max_model_len: 2 to {} expected ({}), got {}", limit.tokens,
                limit.reason, max_model_len);
  return max_model_len;
}

// Bytes of weights that come into memory when they are first read: those mapped, not those copied at load.
std::int64_t mapped_weight_bytes(const DeepseekModel& model) {
  const Checkpoint* checkpoint = model.weights().checkpoint.get();
  std::int64_t bytes = checkpoint == nullptr ? 0 : checkpoint->tensor_bytes();
  const WeightStorage& storage = model.weights().storage;
  for (const auto& copy : storage.bytes) bytes -= copy.size();
  if (storage.copy != nullptr) bytes -= storage.copy->bytes();
  return std::max<std::int64_t>(bytes, 0);
}

// The memory that an engine starts with, in bytes.
struct MemoryPlan {
  std::int64_t available;
  std::int64_t mapped_weights;
  std::int64_t step_buffers;

  // Half of what is free when the mapped weights are in memory, at least an eighth of what is free without
  // them.
  std::int64_t default_cache() const {
    const std::int64_t left = available - step_buffers;
    return std::max((left - mapped_weights) / 2, left / 8);
  }
};

std::string gib(std::int64_t bytes) { return fmt::format("{:.2f} GiB", static_cast<double>(bytes) / 0x1p30); }

[[noreturn]] void refuse_memory(const EngineOptions& o, const MemoryPlan& memory, std::int64_t cache,
                                std::int64_t block_bytes) {
  throw_error(
      ErrorCode::kUnavailable,
      "memory: {} free; a latent cache of {} (a block of {} tokens takes {} bytes) and step buffers of {} "
      "(max_num_batched_tokens {}, max_num_seqs {}) do not fit, beside {} of weights that are mapped; "
      "set a smaller {}max_num_batched_tokens, max_num_seqs or max_model_len, or fewer threads",
      gib(memory.available), gib(cache), o.block_size, block_bytes, gib(memory.step_buffers),
      o.max_num_batched_tokens, o.max_num_seqs, gib(memory.mapped_weights),
      o.cache_bytes > 0 ? "cache_bytes, " : "");
}

std::int32_t count_blocks(const EngineOptions& o, const MemoryPlan& memory, std::int64_t context,
                          std::int64_t block_bytes) {
  constexpr std::int64_t kMaxSlots = std::numeric_limits<std::int32_t>::max();  // slots are int32
  const std::int64_t per_seq = (context + o.block_size - 1) / o.block_size;
  const std::int64_t wanted = std::min(o.max_num_seqs, kMaxSlots / o.block_size / per_seq + 1) * per_seq;
  const std::int64_t bytes = o.cache_bytes > 0 ? o.cache_bytes : memory.default_cache();
  const std::int64_t blocks = std::min({bytes / block_bytes, wanted, kMaxSlots / o.block_size});
  const std::int64_t cache = std::max<std::int64_t>(blocks, 1) * block_bytes;
  if (cache + memory.step_buffers > memory.available || (blocks < 1 && o.cache_bytes == 0))
    refuse_memory(o, memory, cache, block_bytes);
  if (blocks < 1)
    throw_error(
        ErrorCode::kUnavailable,
        "cache_bytes: at least {} expected (a block of {} tokens), got {}; set a larger cache_bytes or "
        "a smaller block_size",
        block_bytes, o.block_size, bytes);
  if (blocks < per_seq)
    log_warn(
        fmt::format("the latent cache holds {} tokens, fewer than the context of {}: longer requests are "
                    "refused",
                    blocks * o.block_size, context));
  return static_cast<std::int32_t>(blocks);
}

void check_sampling(const SamplingParams& p, std::int64_t vocab_size) {
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
  need(p.min_tokens >= 0, "min_tokens", "0 or more", p.min_tokens);
  need(p.max_tokens >= 0, "max_tokens", "0 or more", p.max_tokens);
  need(p.logprobs >= -1 && p.logprobs <= 64, "logprobs", "-1 to 64", p.logprobs);
  for (const std::int32_t id : p.stop_token_ids)
    need(id >= 0 && id < vocab_size, "stop_token_ids", "token ids of the model", id);
  constexpr float kMaxBias = 1e6F;  // what stays finite when it is added
  for (const auto& [id, bias] : p.logit_bias) {
    need(id >= 0 && id < vocab_size, "logit_bias", "token ids of the model", id);
    need(std::abs(bias) <= kMaxBias, "logit_bias", "-1e6 to 1e6", bias);
  }
}

// Prompts of other chunks, and decodes of several tokens, would compute other bits: drafts would show.
bool is_exact_with_drafts(const EngineOptions& o) {
  return o.numerics == Numerics::kNative && o.prefill == Prefill::kCached;
}

// Drafts of a sequence in a step.
std::int64_t max_drafts(const DeepseekModel& model, const EngineOptions& o) {
  if (o.num_speculative_tokens < 0 || o.num_speculative_tokens > kMaxSpeculativeTokens)
    throw_error(ErrorCode::kInvalidArgument,
                "num_speculative_tokens: 1 to {} expected, or 0 for as many as pay, got {}",
                kMaxSpeculativeTokens, o.num_speculative_tokens);
  if (o.speculative == Speculative::kMtp && !is_exact_with_drafts(o))
    throw_error(ErrorCode::kInvalidArgument,
                "speculative: mtp needs native numerics and int8 prefill, whose results do not depend on how "
                "tokens share steps; set speculative to auto or none, or leave ascend and float prefill out");
  if (o.speculative == Speculative::kMtp && !model.has_mtp())
    throw_error(ErrorCode::kInvalidArgument,
                "speculative: mtp needs a checkpoint with an MTP layer, this one has none; set speculative "
                "to auto or none");
  if (!wants_mtp(o) || !model.has_mtp()) return 0;
  return o.num_speculative_tokens > 0 ? o.num_speculative_tokens : kMaxSpeculativeTokens;
}

// What a block of the latent cache depends on beside tokens and model: layouts, scales, size.
std::uint64_t prefix_root(const std::vector<LatentCache::Layer>& layers, std::int64_t block_size) {
  std::string text = fmt::format("{}", block_size);
  for (const LatentCache::Layer& layer : layers)
    text += fmt::format(" {}:{}:{}", static_cast<int>(layer.layout.type), layer.layout.bytes_per_token(),
                        layer.scale);
  return checksum(std::as_bytes(std::span(text)));
}

}  // namespace

bool wants_mtp(const EngineOptions& o) {
  return o.speculative != Speculative::kNone && is_exact_with_drafts(o);
}

ResolvedOptions resolve_options(const DeepseekModel& model, const EngineOptions& o) {
  need_positive("max_num_seqs", o.max_num_seqs);
  need_positive("max_num_batched_tokens", o.max_num_batched_tokens);
  if (o.max_num_batched_tokens > kMaxStepTokens)
    throw_error(ErrorCode::kInvalidArgument, "max_num_batched_tokens: at most {} expected, got {}",
                kMaxStepTokens, o.max_num_batched_tokens);
  if (o.block_size < 16 || o.block_size > 128 || o.block_size % 16 != 0)
    throw_error(ErrorCode::kInvalidArgument, "block_size: a multiple of 16 from 16 to 128 expected, got {}",
                o.block_size);
  if (o.threads < 0)
    throw_error(ErrorCode::kInvalidArgument, "threads: 0 or more expected, got {}", o.threads);
  if (o.max_waiting < 0)
    throw_error(ErrorCode::kInvalidArgument, "max_waiting: 0 or more expected, got {}", o.max_waiting);
  if (!(o.max_stream_gap_s >= 0.0))
    throw_error(ErrorCode::kInvalidArgument, "max_stream_gap_s: 0 or more expected, got {}",
                o.max_stream_gap_s);
  if (o.cache_bytes < 0)
    throw_error(ErrorCode::kInvalidArgument, "cache_bytes: 0 or more expected, got {}", o.cache_bytes);
  const CacheType type = float_cache_type(o.cache_dtype, model);
  const std::vector<LatentCache::Layer> layers = model.cache_layers(type);
  if (!o.enable_nz && has_int8_cache(layers))
    throw_error(ErrorCode::kInvalidArgument,
                "enable_nz: true expected for a checkpoint with an int8 latent cache (FA3), got false; set "
                "llm.kv_cache_options.enable_nz to true, or --enable-nz true");

  ResolvedOptions out;
  const std::int64_t drafts = max_drafts(model, o);
  out.fixed_drafts = o.num_speculative_tokens > 0;
  out.cache_bytes_per_token = LatentCache::bytes_per_token(layers);
  out.context_tokens = context_tokens(model.config(), o.max_model_len);
  out.threads = o.threads > 0 ? o.threads : static_cast<int>(physical_cores().size());
  out.step = {.attention = {o.numerics, o.prefill},
              .float_cache = type,
              .block_size = o.block_size,
              .num_blocks = 0,
              // The MTP layer computes one more of each sequence that begins.
              .max_tokens = o.max_num_batched_tokens +
                            (drafts > 0 ? std::min(o.max_num_seqs, o.max_num_batched_tokens) : 0),
              .max_logits_rows = std::min({o.max_num_seqs, o.max_num_batched_tokens, kMaxLogitsRows})};
  const MemoryPlan memory{
      .available = memory_info().available_bytes,
      .mapped_weights = mapped_weight_bytes(model),
      .step_buffers = step_buffer_bytes(model, out.step, out.threads, out.context_tokens)};
  out.step_buffer_bytes = memory.step_buffers;
  out.step.num_blocks = count_blocks(o, memory, out.context_tokens, out.cache_bytes_per_token * o.block_size);
  out.limits = {
      .max_num_seqs = o.max_num_seqs,
      .max_num_batched_tokens = o.max_num_batched_tokens,
      .block_size = o.block_size,
      .num_blocks = out.step.num_blocks,
      .prefix_cache = o.prefix_cache && o.numerics == Numerics::kNative && o.prefill == Prefill::kCached,
      .prefix_root = prefix_root(layers, o.block_size),
      .max_drafts = drafts};
  out.max_waiting = o.max_waiting;
  out.max_stream_gap_s = o.max_stream_gap_s;
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
  check_sampling(request.sampling, vocab_size);
  if (request.prompt_logprobs < -1 || request.prompt_logprobs > 64)
    throw_error(ErrorCode::kInvalidArgument, "prompt_logprobs: -1 to 64 expected, got {}",
                request.prompt_logprobs);
}

}  // namespace latent8
