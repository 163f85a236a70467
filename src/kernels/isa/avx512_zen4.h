#pragma once
// AVX-512 of Zen 4 and later, and of Sapphire Rapids: the VNNI trait plus VBMI byte permutes and bf16 dot
// products.

#include "kernels/isa/avx512_vnni.h"

namespace latent8 {
namespace {

struct Avx512Zen4 : Avx512Vnni {
  // acc + a . b, 32 bf16 values per operand, two per lane. Not exact: subnormals count as zero.
  static F dot_bf16(F acc, I a, I b) { return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b); }
};

}  // namespace
}  // namespace latent8
