#pragma once
// What every threaded operation needs: the threads, the kernels, and memory to work in.

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/kernel_table.h"
#include "sys/thread_pool.h"

namespace latent8 {

// Thread-safety: belongs to the one thread that runs model steps.
class OpContext {
 public:
  explicit OpContext(ThreadPool& pool, const KernelTable& table = latent8::kernels());

  ThreadPool& pool() const { return pool_; }
  const KernelTable& kernels() const { return table_; }
  int threads() const { return pool_.threads(); }

  // Makes worker_scratch(w) hold at least `bytes` for every worker. Grows only; call before a parallel loop.
  void reserve_worker_scratch(std::int64_t bytes);
  void* worker_scratch(int worker) { return worker_scratch_[static_cast<std::size_t>(worker)].data(); }

  // Codes of a linear's quantised input, shared by all linears since one runs at a time.
  struct Codes {
    AlignedBuffer<std::int8_t> q;     // [m, k]
    AlignedBuffer<float> scale;       // [m]
    AlignedBuffer<std::int32_t> sum;  // [m]
    void reserve(std::int64_t m, std::int64_t k);
  };
  Codes codes;
  Codes extra_codes;  // where an operation needs two inputs at once

 private:
  ThreadPool& pool_;
  const KernelTable& table_;
  std::vector<AlignedBuffer<std::byte>> worker_scratch_;
};

}  // namespace latent8
