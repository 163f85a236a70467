#include "support/model_runner.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/rng.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

const KernelTable& table_named(const char* name) {
  for (const KernelTable* table : all_tables())
    if (name != nullptr && std::string_view(table->name) == name) return *table;
  return kernels();
}

// Cache, buffers and block tables of one run.
struct Machine {
  Machine(const DeepseekModel& model, const std::vector<std::int64_t>& lengths, const RunOptions& o)
      : pool(o.threads), ctx(pool, table_named(o.isa)), blocks(block_count(lengths, o)) {
    cache =
        std::make_unique<LatentCache>(model.cache_layers(o.float_cache), o.block_size, blocks.num_blocks());
    for (std::int32_t i = 0; i < o.skip_blocks; ++i) skipped.push_back(*blocks.allocate());
    std::int64_t tokens = 0;
    for (const std::int64_t length : lengths) {
      tables.emplace_back(o.block_size);
      LATENT8_CHECK(tables.back().reserve(blocks, length));
      tokens += std::min(length, o.chunk);
    }
    scratch = std::make_unique<Scratch>(model.config(), tokens);
    // Stale bytes of an earlier use: results must not depend on them.
    for (std::int64_t l = 0; l < static_cast<std::int64_t>(model.cache_layers(o.float_cache).size()); ++l) {
      const LatentPages pages = cache->layer(l);
      std::memset(pages.base, 0x55,
                  static_cast<std::size_t>(pages.layout.page_bytes(o.block_size) * blocks.num_blocks()));
    }
  }
  static std::int32_t block_count(const std::vector<std::int64_t>& lengths, const RunOptions& o) {
    std::int64_t count = o.skip_blocks;
    for (const std::int64_t length : lengths) count += (length + o.block_size - 1) / o.block_size;
    return static_cast<std::int32_t>(count);
  }

  ThreadPool pool;
  OpContext ctx;
  BlockPool blocks;
  std::vector<BlockRef> skipped;
  std::vector<BlockTable> tables;
  std::unique_ptr<LatentCache> cache;
  std::unique_ptr<Scratch> scratch;
};

}  // namespace

std::filesystem::path source_path(const char* relative) {
  return std::filesystem::path(LATENT8_SOURCE_DIR) / relative;
}

std::shared_ptr<const DeepseekModel> load_model(const std::filesystem::path& dir,
                                                const LoadOptions& options) {
  return std::make_shared<DeepseekModel>(
      load_weights(std::make_shared<const Checkpoint>(Checkpoint::open(dir)), options));
}

std::vector<Matrix<float>> run_logits(const DeepseekModel& model,
                                      const std::vector<std::vector<std::int32_t>>& sequences,
                                      const RunOptions& o) {
  std::vector<std::int64_t> lengths;
  std::vector<Matrix<float>> out;
  for (const auto& ids : sequences) {
    lengths.push_back(static_cast<std::int64_t>(ids.size()));
    out.emplace_back(lengths.back(), model.config().vocab_size);
  }
  Machine m(model, lengths, o);
  const std::int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  for (std::int64_t begin = 0; begin < longest; begin += o.chunk) {
    StepBatch step;
    for (std::size_t b = 0; b < sequences.size(); ++b) {
      if (begin >= lengths[b]) continue;
      const std::int64_t count = std::min(o.chunk, lengths[b] - begin);
      step.add(
          std::span(sequences[b]).subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count)),
          begin, m.tables[b].ids(), o.block_size, o.prompt);
    }
    Matrix<float> hidden(step.tokens(), model.config().hidden_size);
    model.forward(m.ctx, step, o.attention, *m.cache, *m.scratch, hidden.view());
    std::size_t next = 0;
    for (std::size_t b = 0; b < sequences.size(); ++b) {
      if (begin >= lengths[b]) continue;
      const AttendSeq& seq = step.seqs[next++];
      model.logits(m.ctx, hidden.view().row_range(seq.query_begin, seq.query_end),
                   out[b].view().row_range(begin, begin + seq.query_end - seq.query_begin));
    }
  }
  return out;
}

Matrix<float> run_mtp_logits(const DeepseekModel& model, std::span<const std::int32_t> ids,
                             const RunOptions& o) {
  const auto count = static_cast<std::int64_t>(ids.size());
  Machine m(model, {count}, o);
  StepBatch step;
  step.add(ids, 0, m.tables[0].ids(), o.block_size, true);
  Matrix<float> hidden(count, model.config().hidden_size), mtp_hidden(count - 1, model.config().hidden_size);
  model.forward(m.ctx, step, o.attention, *m.cache, *m.scratch, hidden.view());
  step.clear();
  step.add(ids.subspan(1), 0, m.tables[0].ids(), o.block_size, true);
  model.mtp_forward(m.ctx, step, o.attention, *m.cache, *m.scratch, hidden.view().row_range(0, count - 1),
                    mtp_hidden.view());
  Matrix<float> out(count - 1, model.config().vocab_size);
  model.mtp_logits(m.ctx, mtp_hidden.view(), out.view());
  return out;
}

bool bit_equal(const Matrix<float>& a, const Matrix<float>& b) {
  return a.rows() == b.rows() && a.cols() == b.cols() &&
         std::memcmp(a.row(0), b.row(0), static_cast<std::size_t>(a.rows() * a.cols()) * sizeof(float)) == 0;
}

double largest_difference(ConstMat<float> a, ConstMat<float> b) {
  double largest = 0;
  for (std::int64_t r = 0; r < a.rows; ++r)
    for (std::int64_t c = 0; c < a.cols; ++c) {
      const double difference = std::fabs(static_cast<double>(a.row(r)[c]) - b.row(r)[c]);
      if (!(difference <= largest)) largest = difference;  // NaN counts as the largest
    }
  return largest;
}

std::vector<std::int32_t> random_ids(std::int64_t count, std::int64_t vocab_size, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < count; ++i) ids.push_back(static_cast<std::int32_t>(rng.below(vocab_size)));
  return ids;
}

}  // namespace latent8
