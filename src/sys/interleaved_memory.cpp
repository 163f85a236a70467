#include "sys/interleaved_memory.h"

#include <linux/mempolicy.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <new>

#include "base/aligned_buffer.h"
#include "base/error.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

constexpr std::size_t kMaxNodes = 1024;  // MAX_NUMNODES of the kernels that distributions build
using NodeMask = std::array<unsigned long, kMaxNodes / (8 * sizeof(unsigned long))>;

// Spreads the pages over the nodes that the process may use. Returns their number, 1 if there is no policy.
// System calls, because libnuma would be one more dependency for two calls. Source: mbind(2),
// get_mempolicy(2).
int interleave(void* data, std::size_t bytes) {
  NodeMask nodes{};
  if (syscall(SYS_get_mempolicy, nullptr, nodes.data(), kMaxNodes, nullptr, MPOL_F_MEMS_ALLOWED) != 0)
    return 1;
  int count = 0;
  for (const unsigned long word : nodes) count += std::popcount(word);
  if (count < 2 || syscall(SYS_mbind, data, bytes, MPOL_INTERLEAVE, nodes.data(), kMaxNodes, 0) != 0)
    return 1;
  return count;
}

}  // namespace

InterleavedMemory::InterleavedMemory(std::int64_t bytes, const char* purpose) : bytes_(bytes) {
  if (bytes <= 0) return;
  const std::int64_t available = memory_info().available_bytes;
  const auto refuse = [&] {
    throw_error(ErrorCode::kUnavailable, "{}: {:.2f} GiB of memory expected, but {:.2f} GiB are available",
                purpose, static_cast<double>(bytes) / 0x1p30, static_cast<double>(available) / 0x1p30);
  };
  if (bytes > available) refuse();
  try {
    data_ = static_cast<std::byte*>(aligned_allocate(static_cast<std::size_t>(bytes)));
  } catch (const std::bad_alloc&) {
    refuse();
  }
  if (bytes >= kHugePageBytes) nodes_ = interleave(data_, static_cast<std::size_t>(bytes));
}

InterleavedMemory::~InterleavedMemory() {
  if (data_ != nullptr) aligned_free(data_, static_cast<std::size_t>(bytes_));
}

}  // namespace latent8
