#include "base/aligned_buffer.h"

#include <sys/mman.h>

#include <cstdlib>
#include <cstring>
#include <new>

namespace latent8 {

constexpr std::size_t kHugePage = std::size_t{2} << 20;

void* aligned_allocate(std::size_t bytes) {
  const bool huge = bytes >= kHugePage;
  const std::size_t alignment = huge ? kHugePage : 64;
  const std::size_t rounded = (bytes + alignment - 1) / alignment * alignment;
  void* p = std::aligned_alloc(alignment, rounded);
  if (p == nullptr) throw std::bad_alloc();
  if (huge) madvise(p, rounded, MADV_HUGEPAGE);  // advice: failure only costs speed
  std::memset(p, 0, rounded);
  return p;
}

void aligned_free(void* p) noexcept { std::free(p); }

}  // namespace latent8
