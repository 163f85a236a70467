#pragma once
// fp8 checkpoints.

#include <cstdint>

namespace latent8 {

// Weights, both ways, that share one scale: config.json's weight_block_size, of which no other is read.
inline constexpr std::int64_t kFp8Block = 128;

}  // namespace latent8
