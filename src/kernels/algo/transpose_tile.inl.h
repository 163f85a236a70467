#pragma once
// A tile of keys as values: what QK reads with 16 keys in a register, PV reads with 16 dimensions in one.
//
//   keys    group g: int8 [rank / 4][16 keys][4 dims]    float [rank][16 keys]
//   values  a strip of kStrip dims (the last may be narrower, w dims):
//           int8 [tile / 4][w dims][4 keys]              float [tile][w dims]
//
// A strip is what one block of rows multiplies, so it stays in the L1 cache while the rows pass by. The int8
// kernel transposes a strip when its turn comes, the float one the whole tile, strip after strip.

#include <cstdint>

#include "kernels/algo/attend_tile.inl.h"
#include "kernels/latent_layout.h"

namespace latent8 {
namespace {

// Vectors of keys (QK) or of dimensions (PV) in a register block, and rows: 6 x 4 accumulators leave room for
// 4 loaded vectors and a broadcast in 32 registers.
template <class Isa>
inline constexpr int kBlockVectors = Isa::kRegisters >= 32 ? 4 : 2;
template <class Isa>
inline constexpr int kBlockRows = Isa::kRegisters >= 32 ? 6 : 3;

template <class Isa>
inline constexpr std::int64_t kBlockKeys = kBlockVectors<Isa> * Isa::kLanes;
template <class Isa>
inline constexpr std::int64_t kStrip = kBlockKeys<Isa> > 16 ? kBlockKeys<Isa> : 16;

inline constexpr std::int64_t kTileGroups = kTileKeys / kGroupKeys;

// The strip that holds dimension d.
template <class Isa>
struct Strip {
  std::int64_t begin, width;  // dims
  Strip(std::int64_t d, std::int64_t rank)
      : begin(d / kStrip<Isa> * kStrip<Isa>),
        width(rank - begin < kStrip<Isa> ? rank - begin : kStrip<Isa>) {}
};

// Dimensions [0, width) of a group's keys into int8 values [16 / 4][width][4 keys].
template <class Isa>
void transpose_s8_strip(const void* group, std::int64_t width, std::int8_t* values) {
  for (std::int64_t d = 0; d < width; d += 16)
    Isa::transpose_s8_16x16(static_cast<const char*>(group) + d * kGroupKeys, values + d * 4, width * 4);
}

// Group `g` of a tile into the tile's float values; keys from `keys` on become 0.
template <class Isa, class Keys>
void transpose_float_group(const void* group, std::int64_t g, std::int64_t rank, std::int64_t keys,
                           float* values) {
  for (std::int64_t d = 0; d < rank; d += 16) {
    const Strip<Isa> strip(d, rank);
    float* to = values + strip.begin * kTileKeys + g * kGroupKeys * strip.width + d - strip.begin;
    Keys::template transpose_16x16<Isa>(static_cast<const char*>(group) + d * kGroupKeys * Keys::kBytes, to,
                                        strip.width);
    for (std::int64_t key = keys; key < kGroupKeys; ++key)
      for (std::int64_t i = 0; i < 16; ++i) to[key * strip.width + i] = 0.0F;
  }
}

// k_pe fp16 [rope][16 keys] of one group into f32 [tile / kBlockKeys][rope][kBlockKeys].
template <class Isa>
void widen_k_pe(const void* k_pe, std::int64_t g, std::int64_t rope, float* out) {
  for (std::int64_t key = 0; key < kGroupKeys; key += Isa::kLanes) {
    const std::int64_t at = g * kGroupKeys + key;
    float* to = out + at / kBlockKeys<Isa> * kBlockKeys<Isa> * rope + at % kBlockKeys<Isa>;
    for (std::int64_t r = 0; r < rope; ++r)
      Isa::store(to + r * kBlockKeys<Isa>,
                 Isa::load_fp16(static_cast<const char*>(k_pe) + (r * kGroupKeys + key) * 2));
  }
}

// Walks the bytes of the next tile, a stretch of lines per register block, so that memory works while the
// arithmetic does.
class TilePrefetch {
 public:
  TilePrefetch(const void* const* groups, std::int64_t n_groups, std::int64_t group_bytes, const void* idle)
      : groups_(groups), left_(n_groups), bytes_(group_bytes), idle_(static_cast<const char*>(idle)) {}

  // A block of `steps` steps touches at + i * step at its step i. Groups that lie one behind the other, as in
  // a page, are one stretch.
  void take(std::int64_t steps) {
    for (; left_ > 0 && offset_ >= bytes_; ++groups_, --left_) {
      const bool adjacent = left_ > 1 && groups_[1] == static_cast<const char*>(groups_[0]) + bytes_;
      offset_ = adjacent ? offset_ - bytes_ : 0;
    }
    step = left_ > 0 ? 64 : 0;
    at = left_ > 0 ? static_cast<const char*>(*groups_) + offset_ : idle_;
    offset_ += steps * 64;
  }
  const char* at = nullptr;
  std::int64_t step = 0;

 private:
  const void* const* groups_;
  std::int64_t left_, bytes_, offset_ = 0;
  const char* idle_;
};

}  // namespace
}  // namespace latent8
