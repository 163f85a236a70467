#pragma once
// How a product per head is shared among threads.

#include <algorithm>
#include <cstdint>

#include "ops/context.h"

namespace latent8 {

// The size of the blocks into which every head's [m, n] output is cut.
struct HeadCut {
  std::int64_t rows, cols;
};
// Whole heads where they keep the threads busy; else fewer rows, then fewer columns: a multiple of col_step.
HeadCut cut_heads(const OpContext& ctx, std::int64_t heads, std::int64_t m, std::int64_t n,
                  std::int64_t col_step);

struct HeadBlock {
  std::int64_t head, m0, m1, n0, n1;
};
// Calls body(block, worker) for every block of every head.
template <class Body>
void for_each_head_block(OpContext& ctx, std::int64_t heads, std::int64_t m, std::int64_t n, HeadCut cut,
                         const Body& body) {
  if (m == 0) return;
  const std::int64_t row_blocks = (m + cut.rows - 1) / cut.rows, col_blocks = (n + cut.cols - 1) / cut.cols;
  ctx.pool().parallel_for(heads * row_blocks * col_blocks, 1, [&](std::int64_t i, std::int64_t, int worker) {
    const std::int64_t m0 = i / col_blocks % row_blocks * cut.rows, n0 = i % col_blocks * cut.cols;
    body(HeadBlock{i / col_blocks / row_blocks, m0, std::min(m0 + cut.rows, m), n0,
                   std::min(n0 + cut.cols, n)},
         worker);
  });
}

}  // namespace latent8
