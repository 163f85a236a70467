#pragma once
// What quantising weights needs of AVX-512 with VBMI: tables of 128 bytes.

#include "kernels/isa/avx512_weights.h"

namespace latent8 {
namespace {

struct Avx512VbmiWeights : Avx512Weights {
  static constexpr bool kByteTables = true;
  // Bytewise table[magnitude], negated where the byte has its sign bit.
  static I look_up(const I (&table)[2], I bytes) {
    const I magnitude = _mm512_permutex2var_epi8(table[0], bytes, table[1]);  // takes the low seven bits
    return _mm512_mask_sub_epi8(magnitude, _mm512_movepi8_mask(bytes), _mm512_setzero_si512(), magnitude);
  }
};

}  // namespace
}  // namespace latent8
