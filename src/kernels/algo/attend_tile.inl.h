#pragma once
// The sizes of attention over vectors: tiles of keys, blocks of query rows.

#include <cstdint>

namespace latent8 {
namespace {

inline constexpr std::int64_t kTileKeys = 64;         // P's scale; the group order lets a strip of V stay in L1
inline constexpr std::int64_t kAttendMaxRows = 128;  // of a call: they share a tile's transposes

// One tile of widened k_pe, of V in PV order (fp32 for a float cache), of S and of P8, the sums of all rows,
// and five row vectors.
inline std::int64_t attend_tile_scratch_bytes(std::int64_t rank, std::int64_t rope) {
  return kTileKeys * rope * 4 + kTileKeys * rank * 4 + kAttendMaxRows * rank * 4 +
         kAttendMaxRows * kTileKeys * 5 + 8 * kAttendMaxRows * 4;
}

}  // namespace
}  // namespace latent8
