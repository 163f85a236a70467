#include "benchmark/workloads.h"

#include <algorithm>
#include <cmath>

#include "base/rng.h"
#include "benchmark/clock.h"
#include "benchmark/random_model.h"
#include "kv/block_pool.h"
#include "model/step_runner.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

// Runs step(i) for i = 0, 1, ...; the first is not timed.
void time_steps(BenchRow& row, const BenchOptions& options, const std::function<void(int)>& step) {
  step(0);
  std::vector<double> times;
  double total = 0;
  for (int i = 1; i <= options.repeats || total < options.least_seconds; ++i) {
    const double begin = seconds_now();
    step(i);
    times.push_back(seconds_now() - begin);
    total += times.back();
  }
  std::sort(times.begin(), times.end());
  const double median = times[times.size() / 2];
  row.ms = median * 1e3;
  row.spread = (times.back() - times.front()) / median;
}

std::vector<std::int32_t> random_tokens(std::int64_t count, std::int64_t vocab, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < count; ++i) ids.push_back(static_cast<std::int32_t>(rng.below(vocab)));
  return ids;
}

// Blocks for `sequences` of `tokens` each.
struct Blocks {
  Blocks(std::int64_t sequences, std::int64_t tokens, std::int64_t size)
      : pool(static_cast<std::int32_t>(sequences * ((tokens + size - 1) / size))) {
    for (std::int64_t i = 0; i < sequences; ++i) {
      tables.emplace_back(size);
      LATENT8_CHECK(tables.back().reserve(pool, tokens));
    }
  }
  BlockPool pool;
  std::vector<BlockTable> tables;
};

StepRunner make_runner(const DeepseekModel& model, OpContext& ctx, const BenchOptions& options,
                       const Blocks& blocks, std::int64_t max_tokens, std::int64_t sequences) {
  return {model, ctx,
          StepRunnerOptions{.attention = options.attention,
                            .float_cache = options.float_cache,
                            .block_size = options.block_size,
                            .num_blocks = blocks.pool.num_blocks(),
                            .max_tokens = max_tokens,
                            .max_logits_rows = sequences}};
}

SequencePlan plan_of(const Blocks& blocks, std::size_t sequence, std::span<const std::int32_t> ids,
                     std::int64_t position, bool prompt) {
  const std::span<const std::int32_t> table = blocks.tables[sequence].ids();
  return {.token_ids = {ids.begin(), ids.end()},
          .position = position,
          .block_table = {table.begin(), table.end()},
          .prompt = prompt,
          .num_logits = 1};
}

BenchRow make_row(const char* work, const ModelConfig& config) {
  BenchRow row;
  row.work = work;
  row.layers = config.num_hidden_layers;
  return row;
}

}  // namespace

double BenchRow::bytes() const {
  double sum = 0;
  for (const OperatorCost& op : operators) sum += op.bytes;
  return sum;
}
double BenchRow::int8_macs() const {
  double sum = 0;
  for (const OperatorCost& op : operators) sum += op.int8_macs;
  return sum;
}
double BenchRow::fp32_macs() const {
  double sum = 0;
  for (const OperatorCost& op : operators) sum += op.fp32_macs;
  return sum;
}
double BenchRow::percent_of_limit(const MachineLimits& limits) const {
  return 100.0 * least_seconds(operators, limits) / (ms / 1e3);
}

BenchRow bench_prefill(OpContext& ctx, const DeepseekModel& model, std::int64_t prompt,
                       const BenchOptions& options) {
  BenchRow row = make_row("prefill", model.config());
  row.prompt = prompt;
  row.batch = 1;
  Blocks blocks(1, prompt, options.block_size);
  StepRunner runner = make_runner(model, ctx, options, blocks, prompt, 1);
  time_steps(row, options, [&](int i) {
    const auto ids = random_tokens(prompt, model.config().vocab_size, static_cast<std::uint64_t>(i));
    runner.run({.seqs = {plan_of(blocks, 0, ids, 0, true)}, .hidden_rows = {}});
  });
  row.tok_per_s = static_cast<double>(prompt) / row.ms * 1e3;
  row.operators = step_cost(model.weights(), 1, prompt, 0);
  return row;
}

BenchRow bench_decode(OpContext& ctx, const DeepseekModel& model, std::int64_t depth, std::int64_t batch,
                      const BenchOptions& options) {
  BenchRow row = make_row("decode", model.config());
  row.depth = depth;
  row.batch = batch;
  const std::int64_t prompt = options.prompt_before_decode, vocab = model.config().vocab_size;
  Blocks blocks(batch, std::max(depth + 1, prompt), options.block_size);
  StepRunner runner = make_runner(model, ctx, options, blocks, std::max(batch, prompt), batch);
  if (prompt > 0)
    runner.run({.seqs = {plan_of(blocks, 0, random_tokens(prompt, vocab, 0), 0, true)}, .hidden_rows = {}});
  fill_cache(ctx.pool(), runner.cache(), model.num_layers());
  time_steps(row, options, [&](int i) {
    const auto ids = random_tokens(batch, vocab, static_cast<std::uint64_t>(i));
    StepPlan plan;
    for (std::size_t b = 0; b < ids.size(); ++b)
      plan.seqs.push_back(plan_of(blocks, b, {&ids[b], 1}, depth, false));
    runner.run(plan);
  });
  row.tok_per_s = static_cast<double>(batch) / row.ms * 1e3;
  row.operators = step_cost(model.weights(), batch, 1, depth);
  return row;
}

BenchRow bench_attention(OpContext& ctx, const ModelConfig& config, CacheType type, std::int64_t depth,
                         std::int64_t batch, const BenchOptions& options) {
  BenchRow row = make_row("attention", config);
  row.layers = 1;
  row.depth = depth;
  row.batch = batch;
  const LatentLayout layout{type, config.kv_lora_rank, config.qk_rope_head_dim};
  const std::int64_t step_bytes = batch * depth * layout.bytes_per_token();
  const std::int64_t sets = std::max<std::int64_t>(2, 2 * last_level_cache_bytes() / step_bytes + 1);
  Blocks blocks(batch * sets, depth, options.block_size);
  const LatentCache cache({{layout, 4.0F / 127.0F}}, options.block_size, blocks.pool.num_blocks());
  fill_cache(ctx.pool(), cache, 1);

  const std::int64_t rows = batch * config.num_attention_heads;
  Matrix<std::int8_t> q8(rows, layout.rank);
  Matrix<float> q(rows, layout.rank), q_pe(rows, layout.rope), out(rows, layout.rank);
  std::vector<float> qk_scale(static_cast<std::size_t>(rows), 2e-5F);
  Rng rng(1);
  for (std::int64_t r = 0; r < rows; ++r) {
    for (std::int64_t d = 0; d < layout.rank; ++d) {
      q8.row(r)[d] = static_cast<std::int8_t>(rng.below(255) - 127);
      q.row(r)[d] = rng.normal() * 0.05F;
    }
    for (std::int64_t d = 0; d < layout.rope; ++d) q_pe.row(r)[d] = rng.normal() * 0.05F;
  }
  const AttendQueries queries{config.num_attention_heads, q8.view(), qk_scale, q.view(), q_pe.view()};
  AttendScratch scratch;
  time_steps(row, options, [&](int i) {
    std::vector<AttendSeq> seqs;
    for (std::int64_t b = 0; b < batch; ++b) {
      const auto& table = blocks.tables[static_cast<std::size_t>(i % sets * batch + b)];
      seqs.push_back({b, b + 1, depth, table.ids()});
    }
    mla_attend(ctx, cache.layer(0), seqs, queries, scratch, out.view());
  });
  row.tok_per_s = static_cast<double>(batch) / row.ms * 1e3;
  row.operators = {attention_cost(config, type == CacheType::kInt8, batch, 1, depth - 1)};
  return row;
}

BenchRow bench_gemm(OpContext& ctx, const std::string& name, std::int64_t n, std::int64_t k,
                    std::int64_t rows, const BenchOptions& options) {
  BenchRow row;
  row.work = "gemm";
  row.shape = name;
  row.batch = rows;
  const std::int64_t sets = std::max<std::int64_t>(2, 2 * last_level_cache_bytes() / (n * k) + 1);
  AlignedBuffer<std::int8_t> weights(sets * n * k);
  Rng rng(3);
  for (std::int64_t i = 0; i < weights.size(); i += 1)
    weights[i] = static_cast<std::int8_t>(i * 7 + (i >> 8));
  std::vector<float> scale(static_cast<std::size_t>(n), 1e-3F);
  Matrix<float> x(rows, k), out(rows, n);
  for (std::int64_t r = 0; r < rows; ++r)
    for (float& v : x.view().row_span(r)) v = rng.normal();
  Linear w;
  w.kind = Linear::Kind::kW8A8Dynamic;
  w.out_features = n;
  w.in_features = k;
  w.scale = scale.data();
  time_steps(row, options, [&](int i) {
    w.weight = weights.data() + i % sets * n * k;
    linear(ctx, w, x.view(), out.view());
  });
  row.tok_per_s = static_cast<double>(rows) / row.ms * 1e3;
  row.operators = {linear_cost(w, rows)};
  return row;
}

}  // namespace latent8
