#include "kernels/ascend_decode.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "base/dtype.h"

namespace latent8 {
namespace {

float round_to_fp16(float x) { return to_float(to_fp16(x)); }

// One query row while it walks over the tiles of keys.
struct RowState {
  const std::int8_t* q;
  const float* q_pe;
  float qk_descale, pv_descale;
  std::vector<float> out;  // [rank] not normalised
  float max = -std::numeric_limits<float>::infinity();
  float sum = 0;
};

float score(const AscendDecodeArgs& a, const RowState& row, std::int64_t key) {
  std::int32_t codes = 0;
  for (std::int64_t d = 0; d < a.rank; ++d)
    codes += static_cast<std::int32_t>(row.q[d]) * a.k[key * a.rank + d];
  float rope = 0;
  for (std::int64_t r = 0; r < a.rope; ++r) rope += row.q_pe[r] * a.k_pe[key * a.rope + r];
  return (static_cast<float>(codes) * row.qk_descale + rope) * a.softmax_scale;
}

// Keys [begin, end). P8 is taken against the tile's own maximum and exp(tile max - max) / 127 goes into the
// dequantisation: what the reference computes as P / rowmax(P) * 127, but without its 0 / 0 where a tile lies
// far below the running maximum.
void attend_tile(const AscendDecodeArgs& a, std::int64_t begin, std::int64_t end, RowState& row) {
  std::vector<float> s(static_cast<std::size_t>(end - begin));
  for (std::int64_t key = begin; key < end; ++key)
    s[static_cast<std::size_t>(key - begin)] = score(a, row, key);
  const float tile_max = *std::max_element(s.begin(), s.end());
  const float max = std::max(tile_max, row.max);
  float sum = 0;
  std::vector<std::int32_t> product(static_cast<std::size_t>(a.rank));
  for (std::int64_t key = begin; key < end; ++key) {
    const float x = s[static_cast<std::size_t>(key - begin)];
    sum += std::exp(x - max);
    const auto p8 = static_cast<std::int32_t>(std::nearbyint(round_to_fp16(127.0F * std::exp(x - tile_max))));
    for (std::int64_t d = 0; p8 != 0 && d < a.rank; ++d)
      product[static_cast<std::size_t>(d)] += p8 * a.k[key * a.rank + d];
  }
  const float alpha = std::exp(row.max - max), p_scale = std::exp(tile_max - max) / 127.0F;
  row.sum = row.sum * alpha + sum;
  for (std::size_t d = 0; d < product.size(); ++d)
    row.out[d] = row.out[d] * alpha + static_cast<float>(product[d]) * row.pv_descale * p_scale;
  row.max = max;
}

}  // namespace

void ascend_decode(const AscendDecodeArgs& a) {
  const std::int64_t tile = ascend_tile_keys(a.heads, a.tokens);
  for (std::int64_t t = 0; t < a.tokens; ++t) {
    const std::int64_t visible = a.context - (a.tokens - 1 - t);
    for (std::int64_t h = 0; h < a.heads; ++h) {
      const std::int64_t i = t * a.heads + h;
      RowState row{a.q + i * a.rank, a.q_pe + i * a.rope, a.qk_descale[h], a.pv_descale[h],
                   std::vector<float>(static_cast<std::size_t>(a.rank))};
      for (std::int64_t begin = 0; begin < visible; begin += tile)
        attend_tile(a, begin, std::min(begin + tile, visible), row);
      for (std::int64_t d = 0; d < a.rank; ++d)
        a.out[i * a.rank + d] = round_to_fp16(row.out[static_cast<std::size_t>(d)] / row.sum);
      a.lse[i] = std::log(row.sum) + row.max;
    }
  }
}

}  // namespace latent8
