#pragma once
// Rows of work that is no tensor operation (sampling, scoring of predictions), shared among the threads.

#include <cstdint>

#include "ops/context.h"

namespace latent8 {

// Calls body(row, worker) for every row of [0, rows). `worker` only names memory to work in: what a row comes
// to must not depend on it, so that no result depends on the number of threads.
//   grain  rows that one thread takes at a time
template <class Body>
void for_each_row(OpContext& ctx, std::int64_t rows, const Body& body, std::int64_t grain = 1) {
  ctx.pool().parallel_for(rows, grain, [&](std::int64_t begin, std::int64_t end, int worker) {
    for (std::int64_t row = begin; row < end; ++row) body(row, worker);
  });
}

}  // namespace latent8
