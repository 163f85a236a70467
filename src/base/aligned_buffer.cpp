#include "base/aligned_buffer.h"

#include <sys/mman.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

#include "base/memory_use.h"

namespace latent8 {
namespace {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

std::size_t round_up(std::size_t bytes, std::size_t unit) { return (bytes + unit - 1) / unit * unit; }

// Anonymous memory that starts on a huge page: one more is mapped, and what lies around is given back.
void* map_huge(std::size_t bytes) {
  void* mapped = mmap(nullptr, bytes + kHugePage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) throw std::bad_alloc();
  auto* begin = static_cast<std::byte*>(mapped);
  const auto address = reinterpret_cast<std::uintptr_t>(begin);
  const std::size_t before = round_up(address, kHugePage) - address;
  if (before > 0) munmap(begin, before);
  if (before < kHugePage) munmap(begin + before + bytes, kHugePage - before);
  madvise(begin + before, bytes, MADV_HUGEPAGE);  // advice: failure only costs speed
  return begin + before;
}

std::size_t size_of_allocation(std::size_t bytes) {
  return round_up(bytes, bytes >= kHugePage ? kHugePage : 64);
}

std::atomic<std::int64_t> in_use{0};

}  // namespace

void* aligned_allocate(std::size_t bytes) {
  const std::size_t size = size_of_allocation(bytes);
  void* p = nullptr;
  if (bytes >= kHugePage) {
    p = map_huge(size);
  } else {
    p = std::aligned_alloc(64, size);
    if (p == nullptr) throw std::bad_alloc();
    std::memset(p, 0, size);
  }
  in_use += static_cast<std::int64_t>(size);
  return p;
}

void aligned_free(void* p, std::size_t bytes) noexcept {
  const std::size_t size = size_of_allocation(bytes);
  if (bytes >= kHugePage)
    munmap(p, size);
  else
    std::free(p);
  in_use -= static_cast<std::int64_t>(size);
}

std::int64_t aligned_size(std::int64_t bytes) {
  return static_cast<std::int64_t>(size_of_allocation(static_cast<std::size_t>(bytes)));
}

std::int64_t aligned_bytes_in_use() { return in_use; }

}  // namespace latent8
