#pragma once
// The rotation that a stored latent may have been turned by.

#include <cstddef>
#include <span>
#include <vector>

namespace latent8 {

// x := R x for the rotation R of `rank` channels: the signs of a fixed pseudo-random sequence, then a
// Hadamard transform of the largest power of two that divides rank, in blocks, scaled to be orthogonal.
// Thread-safety: const.
class LatentRotation {
 public:
  explicit LatentRotation(std::size_t rank);
  void turn(std::span<float> x) const;  // x [rank], in place

 private:
  std::vector<float> signs_;  // [rank] 1 or -1
};

}  // namespace latent8
