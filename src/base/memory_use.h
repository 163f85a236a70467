#pragma once
// What AlignedBuffers take.

#include <cstdint>

namespace latent8 {

std::int64_t aligned_size(std::int64_t bytes);  // of one allocation of `bytes`
std::int64_t aligned_bytes_in_use();            // of all that the process has

}  // namespace latent8
