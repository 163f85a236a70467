#pragma once
// Copying much memory.

#include <cstddef>
#include <span>

#include "sys/thread_pool.h"

namespace latent8 {

struct Copy {
  std::byte* to = nullptr;  // as many bytes as `from`
  std::span<const std::byte> from;
};

// Runs all copies on all threads, large ones in pieces. No two of them overlap.
void copy_all(ThreadPool& pool, std::span<const Copy> copies);

}  // namespace latent8
