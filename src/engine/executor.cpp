#include "engine/executor.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace latent8 {

std::vector<LatentCache::Layer> main_cache_layers(const DeepseekModel& model, CacheType cache_type) {
  std::vector<LatentCache::Layer> layers = model.cache_layers(cache_type);
  layers.resize(static_cast<std::size_t>(model.num_layers()));
  return layers;
}

Executor::Executor(std::shared_ptr<const DeepseekModel> model, const ExecutorOptions& o)
    : model_(std::move(model)),
      attention_(o.attention),
      pool_(o.threads),
      ctx_(pool_),
      cache_(main_cache_layers(*model_, o.cache_type), o.block_size, o.num_blocks),
      scratch_(model_->config(), o.max_tokens),
      hidden_(o.max_tokens, model_->config().hidden_size),
      last_hidden_(o.max_logits_rows, model_->config().hidden_size),
      logits_(o.max_logits_rows, model_->config().vocab_size) {}

ConstMat<float> Executor::run(std::span<const Chunk> chunks) {
  step_.clear();
  for (const Chunk& chunk : chunks) {
    const Sequence& seq = *chunk.seq;
    const std::int64_t begin = seq.num_computed_tokens;
    const auto ids = std::span(seq.tokens)
                         .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(chunk.tokens));
    step_.add(ids, begin, seq.blocks.ids(), cache_.block_size(), begin < seq.prefill_end);
  }
  const Mat<float> hidden = hidden_.view().row_range(0, step_.tokens());
  model_->forward(ctx_, step_, attention_, cache_, scratch_, hidden);

  std::int64_t rows = 0;
  for (std::size_t i = 0; i < chunks.size(); ++i) {
    if (!chunks[i].completes()) continue;
    LATENT8_CHECK(rows < last_hidden_.rows());
    std::copy_n(hidden.row(step_.seqs[i].query_end - 1), hidden.cols, last_hidden_.row(rows++));
  }
  const Mat<float> logits = logits_.view().row_range(0, rows);
  if (rows > 0) model_->logits(ctx_, last_hidden_.view().row_range(0, rows), logits);
  return logits;
}

}  // namespace latent8
