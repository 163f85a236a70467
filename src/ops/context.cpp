#include "ops/context.h"

namespace latent8 {
namespace {

template <class T>
void grow(AlignedBuffer<T>& buffer, std::int64_t size) {
  if (buffer.size() < size) buffer = AlignedBuffer<T>(size);
}

}  // namespace

OpContext::OpContext(ThreadPool& pool, const KernelTable& table)
    : pool_(pool), table_(table), worker_scratch_(static_cast<std::size_t>(pool.threads())) {}

void OpContext::reserve_worker_scratch(std::int64_t bytes) {
  for (auto& scratch : worker_scratch_) grow(scratch, bytes);
}

void OpContext::Codes::reserve(std::int64_t m, std::int64_t k) {
  grow(q, m * k);
  grow(scale, m);
  grow(sum, m);
}

}  // namespace latent8
