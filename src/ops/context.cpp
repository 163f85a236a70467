#include "ops/context.h"

#include <algorithm>

#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

// Twice as much at least: sizes that creep up with the batch allocate a few times only.
template <class T>
void grow(AlignedBuffer<T>& buffer, std::int64_t size) {
  if (buffer.size() < size) buffer = AlignedBuffer<T>(std::max(size, 2 * buffer.size()));
}

}  // namespace

void CodeBuffer::reserve(std::int64_t bytes, std::int64_t rows) {
  grow(codes_, bytes);
  grow(scale_, rows);
}

OpContext::OpContext(ThreadPool& pool) : OpContext(pool, latent8::kernels()) {}

OpContext::OpContext(ThreadPool& pool, const KernelTable& table)
    : pool_(pool), table_(table), worker_scratch_(static_cast<std::size_t>(pool.threads())) {}

void OpContext::reserve_worker_scratch(std::int64_t bytes) {
  for (auto& scratch : worker_scratch_)
    if (scratch.size() < bytes) scratch = AlignedBuffer<std::byte>(bytes);
}

}  // namespace latent8
