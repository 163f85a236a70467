#pragma once
// The softmax of one tile of keys, and the running state that combines tiles (flash-attention rescaling).

#include <cstdint>

#include "kernels/algo/attend_tile.inl.h"
#include "kernels/algo/exp.inl.h"

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

// The maximum of S over keys [0, visible), visible >= 1; s [padded] behind them becomes -inf.
template <class Isa>
float max_of_row(float* s, std::int64_t visible, std::int64_t padded) {
  for (std::int64_t key = visible; key < padded; ++key) s[key] = kNegativeInfinity;
  auto top = Isa::load(s);
  for (std::int64_t key = Isa::kLanes; key < padded; key += Isa::kLanes)
    top = Isa::max(top, Isa::load(s + key));
  return Isa::reduce_max(top);
}

// Writes P = exp(S - max) back into s, or rint(255 P) into p8 if that is not null. Returns the sum of P.
template <class Isa, bool kQuantise>
float exp_of_row(float* s, std::uint8_t* p8, std::int64_t padded, float max) {
  const auto offset = Isa::set1(max), steps = Isa::set1(255.0F);
  auto total = Isa::zero();
  for (std::int64_t key = 0; key < padded; key += Isa::kLanes) {
    const auto p = exp_not_positive<Isa>(Isa::sub(Isa::load(s + key), offset));
    total = Isa::add(total, p);
    if constexpr (kQuantise)
      Isa::store_u8(p8 + key, Isa::mul(p, steps));
    else
      Isa::store(s + key, p);
  }
  return Isa::reduce_add(total);
}

// A tile of which the row sees nothing: it must leave the row's state as it is, bit for bit.
template <bool kQuantise>
void clear_row(float* s, std::uint8_t* p8, std::int64_t padded) {
  for (std::int64_t key = 0; key < padded; ++key)
    if constexpr (kQuantise)
      p8[key] = 0;
    else
      s[key] = 0.0F;
}

// Softmax of a tile whose first key is `tile_begin`: s [rows, kTileKeys] holds S of its first `keys` keys, of
// which a row sees those below visible[row]; padded is `keys` rounded up to 16. The maxima of all rows come
// first: then no row's exponentials wait for a reduction.
template <class Isa, bool kQuantise>
void softmax_tile(const TileState& tile, const std::int32_t* visible, std::int64_t rows,
                  std::int64_t tile_begin, std::int64_t keys, std::int64_t padded, float* s,
                  std::uint8_t* p8) {
  for (std::int64_t row = 0; row < rows; ++row) {
    const std::int64_t seen = visible[row] - tile_begin;
    tile.tile_max[row] = seen > 0 ? max_of_row<Isa>(s + row * kTileKeys, seen < keys ? seen : keys, padded)
                                  : kNegativeInfinity;
  }
  for (std::int64_t row = 0; row < rows; ++row) {
    float* s_row = s + row * kTileKeys;
    std::uint8_t* p8_row = kQuantise ? p8 + row * kTileKeys : nullptr;
    tile.tile_sum[row] = 0.0F;
    if (visible[row] > tile_begin)
      tile.tile_sum[row] = exp_of_row<Isa, kQuantise>(s_row, p8_row, padded, tile.tile_max[row]);
    else
      clear_row<kQuantise>(s_row, p8_row, padded);
  }
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
