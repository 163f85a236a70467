#pragma once
// Stored weights to fp32 and to int8 codes, row by row. Everything works in units of four vectors (64 bytes
// of codes with AVX-512); a unit lies in one fp8 block.

#include <cstdint>
#include <cstring>

#include "kernels/algo/weights.inl.h"
#include "kernels/weight_rows.h"

namespace latent8 {
namespace {

template <class Isa, WeightType kType>
struct WeightUnit {
  using F = typename Isa::F;
  using I = typename Isa::I;
  static constexpr std::int64_t kSize = 4 * Isa::kLanes;
  static constexpr std::int64_t kBytes = Weights<Isa, kType>::element_bytes();
  static_assert(kFp8Block % kSize == 0);

  // fp8: numbers only, which saves the look for NaN; `scale` is 2^8 times the block's. Others ignore it.
  static void load(const char* p, F scale, F (&x)[4]) {
    if constexpr (kType == WeightType::kF8E4M3) {
      Isa::load_fp8_256ths(p, x);
      for (F& v : x) v = Isa::mul(v, scale);
    } else {
      for (int i = 0; i < 4; ++i) x[i] = Weights<Isa, kType>::load(p, i * Isa::kLanes, scale);
    }
  }

  // Calls body(unit's bytes, column, count) for the row's units; the last one, if it is not full, is padded
  // with zeros.
  template <class Body>
  static void for_each(const char* row, std::int64_t begin, std::int64_t end, const Body& body) {
    std::int64_t at = begin;
    for (; at + kSize <= end; at += kSize) body(row + at * kBytes, at, kSize);
    if (at == end) return;
    alignas(64) char padded[kSize * kBytes] = {};
    std::memcpy(padded, row + at * kBytes, static_cast<std::size_t>((end - at) * kBytes));
    body(padded, at, end - at);
  }
};

// Calls body(begin, end, scale) for the columns of row i that share a block scale; once if there are none.
template <WeightType kType, class Body>
inline void for_each_scale(const WeightRows& p, std::int64_t i, const Body& body) {
  if constexpr (kType == WeightType::kF8E4M3) {
    const float* scale = p.block_scale + (p.row0 + i) / kFp8Block * p.block_scale_stride;
    for (std::int64_t at = 0; at < p.k; at += kFp8Block)
      body(at, at + kFp8Block < p.k ? at + kFp8Block : p.k, scale[at / kFp8Block]);
  } else {
    body(0, p.k, 1.0F);
  }
}

template <WeightType kType>
inline const char* row_of(const WeightRows& p, std::int64_t i) {
  constexpr std::int64_t kBytes = kType == WeightType::kF32 ? 4 : kType == WeightType::kF8E4M3 ? 1 : 2;
  return static_cast<const char*>(p.w) + i * p.k * kBytes;
}

template <class Isa, WeightType kType>
void widen_row(const WidenWeightArgs& p, std::int64_t i) {
  const char* row = row_of<kType>(p.rows, i);
  float* out = p.out + i * p.rows.k;
  const float* col_scale = p.rows.col_scale;
  const auto row_scale = Isa::set1(p.rows.row_scale == nullptr ? 1.0F : p.rows.row_scale[i]);
  for_each_scale<kType>(p.rows, i, [&](std::int64_t begin, std::int64_t end, float block_scale) {
    const auto block = Isa::set1(block_scale);
    std::int64_t at = begin;
    for (; at + Isa::kLanes <= end; at += Isa::kLanes) {
      const auto x = Isa::mul(Weights<Isa, kType>::load(row, at, block), row_scale);
      Isa::store(out + at, col_scale == nullptr ? x : Isa::mul(x, Isa::load(col_scale + at)));
    }
    if (at == end) return;
    const int rest = static_cast<int>(end - at);
    const auto x = Isa::mul(Weights<Isa, kType>::load_n(row, at, block, rest), row_scale);
    Isa::store_n(out + at, col_scale == nullptr ? x : Isa::mul(x, Isa::load_n(col_scale + at, rest)), rest);
  });
}

template <class Isa, WeightType kType>
float float_row_amax(const WeightRows& p, std::int64_t i) {
  using Unit = WeightUnit<Isa, kType>;
  typename Isa::F amax[4], poison[4];  // poison stays 0 until it meets something that is not finite
  for (int v = 0; v < 4; ++v) amax[v] = poison[v] = Isa::zero();
  Unit::for_each(row_of<kType>(p, i), 0, p.k, [&](const char* unit, std::int64_t, std::int64_t) {
    typename Isa::F x[4];
    Unit::load(unit, Isa::zero(), x);
    for (int v = 0; v < 4; ++v) {
      amax[v] = Isa::max(Isa::abs(x[v]), amax[v]);
      poison[v] = Isa::fma(x[v], Isa::zero(), poison[v]);
    }
  });
  const auto all = Isa::max(Isa::max(amax[0], amax[1]), Isa::max(amax[2], amax[3]));
  const auto any = Isa::add(Isa::add(poison[0], poison[1]), Isa::add(poison[2], poison[3]));
  return Isa::reduce_max(all) + Isa::reduce_add(any);
}

// The magnitudes of fp8 numbers have the order of their codes, so the maximum of a block is one of bytes.
template <class Isa>
float fp8_row_amax(const WeightRows& p, std::int64_t i) {
  using Unit = WeightUnit<Isa, WeightType::kF8E4M3>;
  auto amax = Isa::zero();
  auto largest = Isa::izero();  // code of the row
  for_each_scale<WeightType::kF8E4M3>(p, i, [&](std::int64_t begin, std::int64_t end, float block_scale) {
    auto codes = Isa::izero();
    Unit::for_each(row_of<WeightType::kF8E4M3>(p, i), begin, end,
                   [&](const char* unit, std::int64_t, std::int64_t) {
                     codes = Isa::max_magnitude(codes, Isa::iload(unit));
                   });
    largest = Isa::max_magnitude(largest, codes);
    const auto block = Isa::abs(Isa::set1(block_scale * 256.0F));
    amax = Isa::max(Isa::mul(Isa::fp8_maxima_256ths(codes), block), amax);
  });
  unsigned char bytes[Unit::kSize];
  Isa::istore(bytes, largest);
  for (const unsigned char code : bytes)
    if (code == 0x7f) return __builtin_nanf("");
  return Isa::reduce_max(amax);
}

// x / by near enough to IEEE division that it rounds to the same integer in [-127, 127], given reciprocal = 1
// / by rounded; a division takes five times as long. x * reciprocal is within 1.5 ulp. After Markstein's step
// what is rounded to fp32 is within 2^-46 of x / by, relatively. The integer can then differ only if x / by
// is that near to one of the two midpoints around a tie; there are 2,848 such pairs of mantissas, and a test
// runs them all (WeightRowsTest.RoundsLikeADivisionWhereverOneStepCouldDiffer). Source: P. Markstein,
// "Computation of elementary functions on the IBM RISC System/6000 processor", 1990.
template <class Isa>
inline typename Isa::F quotient(typename Isa::F x, typename Isa::F by, typename Isa::F reciprocal) {
  if constexpr (!Isa::kFusedFma) return Isa::div(x, by);
  const auto q = Isa::mul(x, reciprocal);
  return Isa::fma(Isa::fma(q, Isa::sub(Isa::zero(), by), x), reciprocal, q);
}

struct Fp8Magnitudes {
  float value[128];  // of fp8 codes without a sign; that of NaN goes on from the others
};
constexpr Fp8Magnitudes fp8_magnitudes() {
  Fp8Magnitudes m{};
  for (int code = 0; code < 16; ++code) m.value[code] = static_cast<float>(code) * 0x1p-9F;
  for (int code = 16; code < 128; ++code) m.value[code] = 2.0F * m.value[code - 8];
  return m;
}
inline constexpr Fp8Magnitudes kFp8 = fp8_magnitudes();

// A row of int8 codes.
template <class Isa>
class RowCodes {
 public:
  using F = typename Isa::F;
  using I = typename Isa::I;
  RowCodes(float scale, std::int8_t* q)
      : scale_(scale),
        by_(Isa::set1(scale)),
        reciprocal_(Isa::set1(1.0F / scale)),
        sum_(Isa::izero()),
        q_(q) {}

  I codes(F (&x)[4]) const {
    for (F& v : x) v = quotient<Isa>(v, by_, reciprocal_);
    return Isa::pack_codes(x);
  }
  // Codes of the fp8 magnitudes of a block, for Isa::look_up(): one table serves 128 weights.
  void make_table(float block_scale, I (&table)[2]) const {
    constexpr int kSmall = 48;  // magnitudes below 1/2; as a rule their codes are 0
    const F block = Isa::set1(block_scale);
    F x[4];
    for (int v = 0; v < 4; ++v) x[v] = Isa::mul(Isa::load(kFp8.value + 64 + 16 * v), block);
    table[1] = codes(x);
    x[3] = Isa::mul(Isa::load(kFp8.value + kSmall), block);
    if (__builtin_fabsf(block_scale) * kFp8.value[kSmall - 1] < 0.49F * scale_) {
      const F zero = Isa::zero();
      table[0] = Isa::pack_codes({zero, zero, zero, quotient<Isa>(x[3], by_, reciprocal_)});
    } else {
      for (int v = 0; v < 3; ++v) x[v] = Isa::mul(Isa::load(kFp8.value + 16 * v), block);
      table[0] = codes(x);
    }
  }
  // Codes of the row's columns [at, at + count); those beyond `count` are zero.
  void store(I codes, std::int64_t at, std::int64_t count) {
    sum_ = Isa::dot(sum_, Isa::iset1(0x01010101), codes);
    if (count == 4 * Isa::kLanes) return Isa::istore(q_ + at, codes);
    char bytes[4 * Isa::kLanes];
    Isa::istore(bytes, codes);
    std::memcpy(q_ + at, bytes, static_cast<std::size_t>(count));
  }
  std::int32_t sum() const { return Isa::reduce_iadd(sum_); }

 private:
  float scale_;
  F by_, reciprocal_;
  I sum_;
  std::int8_t* q_;
};

template <class Isa, WeightType kType>
std::int32_t row_codes(const WeightRows& p, std::int64_t i, float scale, std::int8_t* q) {
  using Unit = WeightUnit<Isa, kType>;
  const char* row = row_of<kType>(p, i);
  RowCodes<Isa> out(scale, q);
  for_each_scale<kType>(p, i, [&](std::int64_t begin, std::int64_t end, float block_scale) {
    if constexpr (kType == WeightType::kF8E4M3 && Isa::kByteTables) {
      typename Isa::I table[2];
      out.make_table(block_scale, table);
      Unit::for_each(row, begin, end, [&](const char* unit, std::int64_t at, std::int64_t count) {
        out.store(Isa::look_up(table, Isa::iload(unit)), at, count);
      });
    } else {
      const auto block = Isa::set1(block_scale * 256.0F);
      Unit::for_each(row, begin, end, [&](const char* unit, std::int64_t at, std::int64_t count) {
        typename Isa::F x[4];
        Unit::load(unit, block, x);
        out.store(out.codes(x), at, count);
      });
    }
  });
  return out.sum();
}

template <class Isa, WeightType kType>
void typed_codes(const WeightCodesArgs& p) {
  for (std::int64_t i = 0; i < p.rows.m; ++i)
    p.sum[i] = row_codes<Isa, kType>(p.rows, i, p.scale[i], p.q + i * p.rows.k);
}

template <class Isa>
void weight_codes(const WeightCodesArgs& p) {
  switch (p.rows.type) {
    case WeightType::kF32:
      return typed_codes<Isa, WeightType::kF32>(p);
    case WeightType::kBf16:
      return typed_codes<Isa, WeightType::kBf16>(p);
    case WeightType::kF16:
      return typed_codes<Isa, WeightType::kF16>(p);
    case WeightType::kF8E4M3:
      return typed_codes<Isa, WeightType::kF8E4M3>(p);
  }
}

template <class Isa>
void weight_amax(const WeightAmaxArgs& p) {
  for (std::int64_t i = 0; i < p.rows.m; ++i) switch (p.rows.type) {
      case WeightType::kF32:
        p.amax[i] = float_row_amax<Isa, WeightType::kF32>(p.rows, i);
        break;
      case WeightType::kBf16:
        p.amax[i] = float_row_amax<Isa, WeightType::kBf16>(p.rows, i);
        break;
      case WeightType::kF16:
        p.amax[i] = float_row_amax<Isa, WeightType::kF16>(p.rows, i);
        break;
      case WeightType::kF8E4M3:
        p.amax[i] = fp8_row_amax<Isa>(p.rows, i);
        break;
    }
}

template <class Isa>
void widen_weight(const WidenWeightArgs& p) {
  for (std::int64_t i = 0; i < p.rows.m; ++i) switch (p.rows.type) {
      case WeightType::kF32:
        widen_row<Isa, WeightType::kF32>(p, i);
        break;
      case WeightType::kBf16:
        widen_row<Isa, WeightType::kBf16>(p, i);
        break;
      case WeightType::kF16:
        widen_row<Isa, WeightType::kF16>(p, i);
        break;
      case WeightType::kF8E4M3:
        widen_row<Isa, WeightType::kF8E4M3>(p, i);
        break;
    }
}

}  // namespace
}  // namespace latent8
