#include "quant/compat/token_batches.h"

#include <algorithm>

#include "base/error.h"

namespace latent8::compat {
namespace {

constexpr int kMaxBatchSize = 16;

using Sequence = std::vector<std::int32_t>;

Sequence tokenize(const Tokenizer& tokenizer, const ModelConfig& config, const std::string& prompt,
                  std::size_t index) {
  if (!tokenizer.bos_id() || !tokenizer.eos_id())
    throw_error(ErrorCode::kUnsupported,
                "tokenizer_config.json: BOS and EOS expected by the msmodelslim mode, got none");
  Sequence ids{*tokenizer.bos_id()};
  for (const std::int32_t id : tokenizer.encode(prompt)) ids.push_back(id);
  ids.push_back(*tokenizer.eos_id());
  if (static_cast<std::int64_t>(ids.size()) > config.max_position_embeddings)
    throw_error(ErrorCode::kInvalidArgument,
                "calibration prompt {}: at most {} tokens expected (the model's context), got {}; split it",
                index, config.max_position_embeddings, ids.size());
  const std::int32_t largest = *std::max_element(ids.begin(), ids.end());
  if (largest >= config.vocab_size)
    throw_error(ErrorCode::kInvalidArgument,
                "calibration prompt {}: token ids below {} expected (config.json: 'vocab_size'), got {}",
                index, config.vocab_size, largest);
  return ids;
}

TokenBatch batch_of(std::span<const Sequence> sequences, std::int32_t pad) {
  TokenBatch batch;
  batch.sequences = static_cast<std::int64_t>(sequences.size());
  for (const Sequence& ids : sequences)
    batch.length = std::max(batch.length, static_cast<std::int64_t>(ids.size()));
  for (const Sequence& ids : sequences) {
    const std::int64_t pads = batch.length - static_cast<std::int64_t>(ids.size());
    batch.pads.push_back(pads);
    batch.ids.insert(batch.ids.end(), static_cast<std::size_t>(pads), pad);
    batch.ids.insert(batch.ids.end(), ids.begin(), ids.end());
    for (std::int64_t p = 0; p < batch.length; ++p) batch.positions.push_back(static_cast<std::int32_t>(p));
  }
  return batch;
}

}  // namespace

std::vector<TokenBatch> make_batches(const Tokenizer& tokenizer, const ModelConfig& config,
                                     const std::vector<std::string>& prompts, int batch_size) {
  if (batch_size < 1 || batch_size > kMaxBatchSize)
    throw_error(ErrorCode::kInvalidArgument, "prompts per call: 1 to {} expected, got {}", kMaxBatchSize,
                batch_size);
  std::vector<Sequence> sequences;
  for (const std::string& prompt : prompts)
    sequences.push_back(tokenize(tokenizer, config, prompt, sequences.size()));
  std::vector<TokenBatch> batches;
  const auto size = static_cast<std::size_t>(batch_size);
  for (std::size_t begin = 0; begin < sequences.size(); begin += size)
    batches.push_back(batch_of(std::span(sequences).subspan(begin, std::min(size, sequences.size() - begin)),
                               *tokenizer.eos_id()));
  return batches;
}

}  // namespace latent8::compat
