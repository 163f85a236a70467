#include "support/model_runner.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>

#include "base/rng.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

const KernelTable& table_named(const char* name) {
  for (const KernelTable* table : all_tables())
    if (name != nullptr && std::string_view(table->name) == name) return *table;
  return kernels();
}

std::int64_t sum(const std::vector<std::int64_t>& values) {
  return std::accumulate(values.begin(), values.end(), std::int64_t{0});
}

}  // namespace

TestSteps::TestSteps(const DeepseekModel& model, const std::vector<std::int64_t>& lengths,
                     const RunOptions& o)
    : prompt_(o.prompt), pool_(o.threads), ctx_(pool_, table_named(o.isa)) {
  std::vector<std::int64_t> blocks, tokens;
  for (const std::int64_t length : lengths) {
    blocks.push_back((length + o.block_size - 1) / o.block_size);
    tokens.push_back(std::min(length, o.chunk));
  }
  const auto num_blocks = static_cast<std::int32_t>(o.skip_blocks + sum(blocks));
  blocks_ = std::make_unique<BlockPool>(num_blocks);
  for (std::int32_t i = 0; i < o.skip_blocks; ++i) skipped_.push_back(*blocks_->allocate());
  for (const std::int64_t length : lengths) {
    tables_.emplace_back(o.block_size);
    LATENT8_CHECK(tables_.back().reserve(*blocks_, length));
  }
  runner_ = std::make_unique<StepRunner>(model, ctx_,
                                         StepRunnerOptions{.attention = o.attention,
                                                           .float_cache = o.float_cache,
                                                           .block_size = o.block_size,
                                                           .num_blocks = num_blocks,
                                                           .max_tokens = sum(tokens),
                                                           .max_logits_rows = o.max_logits_rows});
  // Stale bytes of an earlier use: results must not depend on them.
  for (std::size_t l = 0; l < model.cache_layers(o.float_cache).size(); ++l) {
    const LatentPages pages = runner_->cache().layer(static_cast<std::int64_t>(l));
    std::memset(pages.base, 0x55,
                static_cast<std::size_t>(pages.layout.page_bytes(o.block_size) * num_blocks));
  }
}

SequencePlan TestSteps::plan_of(std::size_t seq, std::span<const std::int32_t> ids,
                                std::int64_t position) const {
  const std::span<const std::int32_t> blocks = tables_[seq].ids();
  return {.token_ids = {ids.begin(), ids.end()},
          .position = position,
          .block_table = {blocks.begin(), blocks.end()},
          .prompt = prompt_,
          .num_hidden = std::ssize(ids),
          .num_logits = std::ssize(ids)};
}

Matrix<float> TestSteps::logits(const StepPlan& plan) {
  Matrix<float> out(plan.logits_begin().back(), runner_->vocab_size());
  last_ = runner_->run(plan, [&](std::int64_t first_row, ConstMat<float> rows) {
    std::memcpy(out.row(first_row), rows.row(0),
                static_cast<std::size_t>(rows.rows * rows.cols) * sizeof(float));
  });
  return out;
}

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
    lengths.push_back(std::ssize(ids));
    out.emplace_back(lengths.back(), model.config().vocab_size);
  }
  TestSteps steps(model, lengths, o);
  const std::int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  for (std::int64_t begin = 0; begin < longest; begin += o.chunk) {
    StepPlan plan;
    for (std::size_t b = 0; b < sequences.size(); ++b) {
      if (begin >= lengths[b]) continue;
      const auto count = static_cast<std::size_t>(std::min(o.chunk, lengths[b] - begin));
      plan.seqs.push_back(
          steps.plan_of(b, std::span(sequences[b]).subspan(static_cast<std::size_t>(begin), count), begin));
    }
    const Matrix<float> logits = steps.logits(plan);
    std::int64_t row = 0;
    for (std::size_t b = 0; b < sequences.size(); ++b)
      for (std::int64_t t = begin; t < std::min(begin + o.chunk, lengths[b]); ++t, ++row)
        std::copy_n(logits.row(row), logits.cols(), out[b].row(t));
  }
  return out;
}

Matrix<float> run_mtp_logits(const DeepseekModel& model, std::span<const std::int32_t> ids,
                             const RunOptions& o) {
  TestSteps steps(model, {std::ssize(ids)}, o);
  steps.logits({.seqs = {steps.plan_of(0, ids, 0)}, .hidden_rows = {}});
  StepPlan mtp{
      .layers = StepPlan::Layers::kMtp, .seqs = {steps.plan_of(0, ids.subspan(1), 0)}, .hidden_rows = {}};
  mtp.hidden_rows.resize(ids.size() - 1);
  std::iota(mtp.hidden_rows.begin(), mtp.hidden_rows.end(), 0);
  return steps.logits(mtp);
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
