#pragma once
// What every threaded operation needs: the threads, the kernels, and memory to work in.

#include <cstdint>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/activation_codes.h"
#include "sys/thread_pool.h"

namespace latent8 {

struct KernelTable;

// Memory of quantised inputs. Holds the largest that was asked for.
class CodeBuffer {
 public:
  // For several ActivationCodes: the sums of their bytes and rows. What was written before is lost.
  void reserve(std::int64_t bytes, std::int64_t rows);
  // m rows of k codes whose codes begin at `byte`, a multiple of 64, and whose scales at `row`, of what was
  // reserved.
  ActivationCodes rows(std::int64_t byte, std::int64_t row, std::int64_t m, std::int64_t k) {
    return {codes_.data() + byte, scale_.data() + row, m, k};
  }

 private:
  AlignedBuffer<std::byte> codes_;
  AlignedBuffer<float> scale_;
};

// Thread-safety: belongs to the one thread that runs model steps.
class OpContext {
 public:
  explicit OpContext(ThreadPool& pool);  // with latent8::kernels()
  OpContext(ThreadPool& pool, const KernelTable& table);

  ThreadPool& pool() const { return pool_; }
  const KernelTable& kernels() const { return table_; }
  int threads() const { return pool_.threads(); }

  // Makes worker_scratch(w) hold at least `bytes` for every worker. Grows only; call before a parallel loop.
  void reserve_worker_scratch(std::int64_t bytes);
  void* worker_scratch(int worker) { return worker_scratch_[static_cast<std::size_t>(worker)].data(); }

  // Codes of a linear's quantised input, shared by all linears since one runs at a time.
  CodeBuffer codes;
  CodeBuffer extra_codes;  // where an operation needs two inputs at once

 private:
  ThreadPool& pool_;
  const KernelTable& table_;
  std::vector<AlignedBuffer<std::byte>> worker_scratch_;
};

}  // namespace latent8
