#include "ops/mla_attend.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"
#include "kernels/attend_args.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

// A block of query rows of one sequence, and the runs of keys that any of its rows sees.
struct RowBlock {
  const AttendSeq* seq = nullptr;
  std::int64_t row_begin = 0, rows = 0;  // rows of out
  std::int64_t keys = 0;                 // of its last row
  std::int64_t runs() const { return (keys + kRunKeys - 1) / kRunKeys; }
};

// One row block's result over some keys: out [rows, rank] not normalised, max [rows], sum [rows].
struct Partial {
  float* out;
  float* max;
  float* sum;
};

// Partial results behind each other in memory, each for a block of at most `rows` rows.
struct PartialLayout {
  std::int64_t rows, rank;
  std::int64_t floats() const { return rows * (rank + 2); }
  Partial at(float* memory, std::int64_t index) const {
    float* base = memory + index * floats();
    return {base, base + rows * rank, base + rows * (rank + 1)};
  }
};

// What a worker needs for one run: the kernel's scratch, the run's groups, and what each row sees.
struct RunScratch {
  const void** groups;    // [kRunKeys / kGroupKeys]
  std::int32_t* visible;  // [attend_rows]
  void* kernel;
  static constexpr std::int64_t kGroups = kRunKeys / kGroupKeys;
  static std::int64_t bytes(const KernelTable& table, const LatentLayout& layout) {
    return kGroups * 8 + round_up_64(table.attend_rows * 4) +
           table.attend_scratch_bytes(layout.rank, layout.rope);
  }
  static RunScratch at(void* memory, const KernelTable& table) {
    auto* bytes = static_cast<std::byte*>(memory);
    return {reinterpret_cast<const void**>(bytes), reinterpret_cast<std::int32_t*>(bytes + kGroups * 8),
            bytes + kGroups * 8 + round_up_64(table.attend_rows * 4)};
  }

 private:
  static std::int64_t round_up_64(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }
};

// Where the groups [first, first + count) of a sequence lie.
void find_groups(const LatentPages& pages, const AttendSeq& seq, std::int64_t first, std::int64_t count,
                 const void** groups) {
  const std::int64_t per_page = pages.block_size / kGroupKeys, bytes = pages.layout.group_bytes();
  for (std::int64_t g = first; g < first + count; ++g) {
    const std::int32_t block = seq.block_table[static_cast<std::size_t>(g / per_page)];
    *groups++ = pages.page(block) + g % per_page * bytes;
  }
}

// Rows per block: as many as a kernel takes (they share a tile of keys), fewer if the threads had nothing to
// do else.
std::int64_t rows_per_block(std::span<const AttendSeq> seqs, std::int64_t heads, std::int64_t most,
                            int threads) {
  std::int64_t rows = most;
  const auto items = [&] {
    std::int64_t n = 0;
    for (const AttendSeq& s : seqs)
      n +=
          ((s.query_end - s.query_begin) * heads + rows - 1) / rows * ((s.seq_len + kRunKeys - 1) / kRunKeys);
    return n;
  };
  while (rows > 16 && items() < 2 * threads) rows /= 2;
  return threads == 1 ? most : rows;
}

void attend_run(OpContext& ctx, const LatentPages& pages, const RowBlock& block, std::int64_t run,
                const AttendQueries& q, const Partial& to, void* memory) {
  const KernelTable& table = ctx.kernels();
  const std::int64_t key_begin = run * kRunKeys, n_keys = std::min(kRunKeys, block.keys - key_begin);
  const RunScratch scratch = RunScratch::at(memory, table);
  const AttendSeq& seq = *block.seq;
  find_groups(pages, seq, key_begin / kGroupKeys, (n_keys + kGroupKeys - 1) / kGroupKeys, scratch.groups);
  const std::int64_t first_position = seq.seq_len - (seq.query_end - seq.query_begin);
  for (std::int64_t r = 0; r < block.rows; ++r) {
    const std::int64_t token = (block.row_begin + r) / q.heads - seq.query_begin;
    scratch.visible[r] = static_cast<std::int32_t>(first_position + token + 1);
  }
  const std::int64_t rank = pages.layout.rank, rope = pages.layout.rope, row = block.row_begin;
  if (pages.layout.type == CacheType::kInt8) {
    table.mla_attend_s8({scratch.groups, key_begin, n_keys, block.rows, rank, rope, q.q8.row(row),
                         q.qk_scale.data() + row, q.q_pe.row(row), scratch.visible, pages.scale, to.out,
                         to.max, to.sum, scratch.kernel});
  } else {
    const auto attend = pages.layout.type == CacheType::kF16 ? table.mla_attend_f16 : table.mla_attend_f32;
    attend({scratch.groups, key_begin, n_keys, block.rows, rank, rope, q.q.row(row), q.q_pe.row(row),
            scratch.visible, to.out, to.max, to.sum, scratch.kernel});
  }
}

// into = into + from for rows [begin, end), both relative to their own maxima.
void merge(const Partial& into, const Partial& from, std::int64_t begin, std::int64_t end,
           std::int64_t rank) {
  for (std::int64_t r = begin; r < end; ++r) {
    if (from.max[r] == -std::numeric_limits<float>::infinity()) continue;  // the row sees no key of this run
    const float max = std::max(into.max[r], from.max[r]);
    const float a = std::exp(into.max[r] - max), b = std::exp(from.max[r] - max);
    float* to = into.out + r * rank;
    const float* add = from.out + r * rank;
    for (std::int64_t d = 0; d < rank; ++d) to[d] = to[d] * a + add[d] * b;
    into.sum[r] = into.sum[r] * a + from.sum[r] * b;
    into.max[r] = max;
  }
}

// Rows [begin, end) of a block's result into `out`, normalised.
void write_rows(const Partial& from, const RowBlock& block, std::int64_t begin, std::int64_t end,
                Mat<float> out) {
  for (std::int64_t r = begin; r < end; ++r) {
    const float inverse = 1.0F / from.sum[r];
    const float* values = from.out + r * out.cols;
    float* to = out.row(block.row_begin + r);
    for (std::int64_t d = 0; d < out.cols; ++d) to[d] = values[d] * inverse;
  }
}

std::vector<RowBlock> row_blocks(std::span<const AttendSeq> seqs, std::int64_t heads, std::int64_t rows_per) {
  std::vector<RowBlock> blocks;
  for (const AttendSeq& seq : seqs) {
    const std::int64_t end = seq.query_end * heads;
    for (std::int64_t row = seq.query_begin * heads; row < end; row += rows_per) {
      const std::int64_t rows = std::min(rows_per, end - row);
      const std::int64_t last_token = (row + rows - 1) / heads;
      blocks.push_back({&seq, row, rows, seq.seq_len - (seq.query_end - 1 - last_token)});
    }
  }
  return blocks;
}

}  // namespace

void mla_attend(OpContext& ctx, const LatentPages& pages, std::span<const AttendSeq> seqs,
                const AttendQueries& queries, AttendScratch& scratch, Mat<float> out) {
  const std::int64_t rank = pages.layout.rank, most_rows = ctx.kernels().attend_rows;
  const PartialLayout layout{most_rows, rank};
  ctx.reserve_worker_scratch(RunScratch::bytes(ctx.kernels(), pages.layout));
  const std::vector<RowBlock> blocks =
      row_blocks(seqs, queries.heads, rows_per_block(seqs, queries.heads, most_rows, ctx.threads()));

  if (static_cast<int>(blocks.size()) >=
      4 * ctx.threads()) {  // enough row blocks: each walks its runs itself
    scratch.worker_partial.resize(static_cast<std::size_t>(ctx.threads()));
    for (auto& buffer : scratch.worker_partial)
      if (buffer.size() < 2 * layout.floats()) buffer = AlignedBuffer<float>(2 * layout.floats());
    ctx.pool().parallel_for(
        static_cast<std::int64_t>(blocks.size()), 1, [&](std::int64_t i, std::int64_t, int worker) {
          const RowBlock& block = blocks[static_cast<std::size_t>(i)];
          float* memory = scratch.worker_partial[static_cast<std::size_t>(worker)].data();
          const Partial total = layout.at(memory, 0), next = layout.at(memory, 1);
          for (std::int64_t run = 0; run < block.runs(); ++run) {
            attend_run(ctx, pages, block, run, queries, run == 0 ? total : next, ctx.worker_scratch(worker));
            if (run > 0) merge(total, next, 0, block.rows, rank);
          }
          write_rows(total, block, 0, block.rows, out);
        });
    return;
  }

  std::vector<std::int64_t> first_item(blocks.size() + 1, 0);
  for (std::size_t i = 0; i < blocks.size(); ++i) first_item[i + 1] = first_item[i] + blocks[i].runs();
  if (scratch.partials.size() < first_item.back() * layout.floats())
    scratch.partials = AlignedBuffer<float>(first_item.back() * layout.floats());
  const auto partial = [&](std::int64_t item) { return layout.at(scratch.partials.data(), item); };
  ctx.pool().parallel_for(first_item.back(), 1, [&](std::int64_t item, std::int64_t, int worker) {
    const auto it = std::upper_bound(first_item.begin(), first_item.end(), item) - 1;
    const RowBlock& block = blocks[static_cast<std::size_t>(it - first_item.begin())];
    attend_run(ctx, pages, block, item - *it, queries, partial(item), ctx.worker_scratch(worker));
  });
  // The merge of a row follows the order of its runs; rows are shared among the threads.
  const std::int64_t shares = (ctx.threads() + std::ssize(blocks) - 1) / std::ssize(blocks);
  ctx.pool().parallel_for(std::ssize(blocks) * shares, 1, [&](std::int64_t item, std::int64_t, int) {
    const auto b = static_cast<std::size_t>(item / shares);
    const RowBlock& block = blocks[b];
    const std::int64_t share = item % shares;
    const std::int64_t begin = block.rows * share / shares, end = block.rows * (share + 1) / shares;
    for (std::int64_t run = 1; run < block.runs(); ++run)
      merge(partial(first_item[b]), partial(first_item[b] + run), begin, end, rank);
    write_rows(partial(first_item[b]), block, begin, end, out);
  });
}

}  // namespace latent8
