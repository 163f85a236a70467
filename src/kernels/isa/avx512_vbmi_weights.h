#pragma once
// What quantising weights needs of AVX-512 with VBMI: tables of 128 bytes.

#include "kernels/isa/avx512_weights.h"

namespace latent8 {
namespace {

struct Avx512VbmiWeights : Avx512Weights {
  static constexpr bool kByteTables = true;
  // Bytewise table[magnitude], negated where the byte has its sign bit.
  static __m512i look_up(const __m512i (&table)[2], __m512i bytes) {
    const __m512i magnitude =
        _mm512_permutex2var_epi8(table[0], bytes, table[1]);  // takes the low seven bits
    return _mm512_mask_sub_epi8(magnitude, _mm512_movepi8_mask(bytes), _mm512_setzero_si512(), magnitude);
  }
};

}  // namespace
}  // namespace latent8
