#include "base/aligned_buffer.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>

namespace latent8 {
namespace {

constexpr std::size_t kHugePage = kHugePageBytes;

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

}  // namespace

void* aligned_allocate(std::size_t bytes) {
  if (bytes >= kHugePage) return map_huge(round_up(bytes, kHugePage));
  void* p = std::aligned_alloc(64, round_up(bytes, 64));
  if (p == nullptr) throw std::bad_alloc();
  std::memset(p, 0, round_up(bytes, 64));
  return p;
}

void aligned_free(void* p, std::size_t bytes) noexcept {
  if (bytes >= kHugePage)
    munmap(p, round_up(bytes, kHugePage));
  else
    std::free(p);
}

}  // namespace latent8
