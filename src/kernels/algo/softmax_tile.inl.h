#pragma once
// The softmax of one tile of keys, and the running state that combines tiles (flash-attention rescaling).

#include <cstdint>

#include "kernels/algo/exp.inl.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

// Where the running state of rows meets one tile: out = out * alpha + product * beta.
struct TileState {
  float* tile_max;  // [kAttendMaxRows] max of S over the tile's visible keys
  float* tile_sum;  // [kAttendMaxRows] sum of exp(S - tile_max)
  float* alpha;     // [kAttendMaxRows]
  float* beta;      // [kAttendMaxRows]
};

constexpr float kNegativeInfinity = -__builtin_inff();

// One row of a tile: s [kTileKeys] holds S of keys [0, visible), visible >= 1, and anything behind them.
// Writes P = exp(S - max) back into s and, if p8 is not null, rint(255 P) into p8; zeros for keys
// [visible, padded), padded being a multiple of 16.
template <class Isa, bool kQuantise>
void softmax_row(float* s, std::uint8_t* p8, std::int64_t visible, std::int64_t padded, float* max,
                 float* sum) {
  constexpr std::int64_t kLanes = Isa::kLanes;
  for (std::int64_t key = visible; key < padded; ++key) s[key] = kNegativeInfinity;
  auto top = Isa::load(s);
  for (std::int64_t key = kLanes; key < padded; key += kLanes) top = Isa::max(top, Isa::load(s + key));
  const float row_max = Isa::reduce_max(top);
  const auto offset = Isa::set1(row_max), steps = Isa::set1(255.0F);
  auto total = Isa::zero();
  for (std::int64_t key = 0; key < padded; key += kLanes) {
    const auto p = exp_ps<Isa>(Isa::sub(Isa::load(s + key), offset));
    total = Isa::add(total, p);
    if constexpr (kQuantise)
      Isa::store_u8(p8 + key, Isa::round(Isa::mul(p, steps)));
    else
      Isa::store(s + key, p);
  }
  *max = row_max;
  *sum = Isa::reduce_add(total);
}

// A tile of which the row sees nothing: it must leave the row's state as it is, bit for bit.
inline void softmax_unseen_row(float* s, std::uint8_t* p8, std::int64_t padded, float* max, float* sum) {
  if (p8 != nullptr)
    for (std::int64_t key = 0; key < padded; ++key) p8[key] = 0;
  else
    for (std::int64_t key = 0; key < padded; ++key) s[key] = 0.0F;
  *max = kNegativeInfinity;
  *sum = 0.0F;
}

// Takes the tile into max and sum [rows], and leaves alpha and beta = beta_scale * exp(tile max - max).
template <class Isa>
void combine_tile(const TileState& tile, std::int64_t rows, float beta_scale, float* max, float* sum) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const float old = max[row], seen = tile.tile_max[row];
    const float top = old > seen ? old : seen;
    tile.alpha[row] = old == kNegativeInfinity ? 0.0F : old - top;  // out and sum are 0 before the first key
    tile.beta[row] = seen == kNegativeInfinity ? 0.0F : seen - top;
    max[row] = top;
  }
  for (std::int64_t row = 0; row < rows; row += Isa::kLanes) {  // scratch rows are padded to a vector
    Isa::store(tile.alpha + row, exp_ps<Isa>(Isa::load(tile.alpha + row)));
    Isa::store(tile.beta + row, exp_ps<Isa>(Isa::load(tile.beta + row)));
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    sum[row] = sum[row] * tile.alpha[row] + tile.tile_sum[row] * tile.beta[row];
    // x + 0 * -0 is x for every x, -0 too.
    tile.beta[row] = tile.tile_max[row] == kNegativeInfinity ? -0.0F : tile.beta[row] * beta_scale;
  }
}

}  // namespace
}  // namespace latent8
