#pragma once
// Anonymous memory for data that every thread of the machine reads: huge pages, in turns on all NUMA nodes.

#include <cstddef>
#include <cstdint>

namespace latent8 {

// Zero-filled pages that appear when they are first written, node by node in turns. On a machine of one node,
// or where the system refuses the policy, they are ordinary huge pages.
class InterleavedMemory {
 public:
  // Throws: Error{kUnavailable} with `purpose` and the sizes if the system does not give that much.
  InterleavedMemory(std::int64_t bytes, const char* purpose);
  ~InterleavedMemory();
  InterleavedMemory(const InterleavedMemory&) = delete;
  InterleavedMemory& operator=(const InterleavedMemory&) = delete;

  std::byte* data() const { return data_; }  // aligned to 2 MiB
  std::int64_t bytes() const { return bytes_; }
  int nodes() const { return nodes_; }  // that the pages alternate between; 1: no policy

 private:
  std::byte* data_ = nullptr;
  std::int64_t bytes_ = 0;
  int nodes_ = 1;
};

}  // namespace latent8
