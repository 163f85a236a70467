#pragma once
// int8 linear layer, c = a * b^T with exact sums. Three ways, which give the same integers:
//   one row       read the weights once, straight from where they lie, at the speed of memory
//   few rows      the same with several rows of a against each weight register
//   many rows     pack kLanes rows of b x kDepth into L1, then a register tile of tokens against it
// "Row" of b is an output channel n; the packed panel interleaves groups of kGroupBytes of kLanes rows, so
// that one broadcast of a group of activations meets kLanes * 4 / kGroupBytes rows per register.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "kernels/algo/code_rows.inl.h"
#include "kernels/algo/with_size.inl.h"
#include "kernels/gemm_args.h"

namespace latent8 {
namespace {

// GemmS8Args with the rows of a where they lie.
struct RowGemmS8 {
  const std::int8_t* a;       // [m, k] dense
  const std::int32_t* a_sum;  // [m] sum over k of a
  const std::int8_t* b;       // [n, k] dense
  float* c;                   // [m, n], rows c_stride apart
  std::int64_t m, n, k, c_stride;
  const float* a_scale;      // [m], nullptr means 1
  const float* b_scale;      // [n]
  const std::int32_t* bias;  // [n], nullptr means 0
  void* scratch;
};

template <class Isa>
struct GemmS8 {
  using I = typename Isa::I;
  static constexpr int kBytes = Isa::kLanes * 4;               // bytes of a register
  static constexpr int kGroups = kBytes / Isa::kGroupBytes;    // rows of b in a packed register
  static constexpr int kVectors = Isa::kVectors;               // registers that hold kLanes rows
  static constexpr std::int64_t kDepth = 2048;                 // k of a panel: kLanes * kDepth bytes fit L1
  static constexpr std::int64_t kRows = 512;                   // rows of a per pass: kRows * kDepth fit L2
  static constexpr int kTile = Isa::kRegisters == 32 ? 6 : 2;  // rows of a against a panel
  static constexpr int kLaneTile = Isa::kRegisters == 32 ? 5 : 2;  // and straight from b; 6 spill
  static constexpr int kManyRows = 12;             // from here packing pays (Emerald Rapids, k 2048, 2026-11)
  static constexpr std::int64_t kPrefetch = 4096;  // bytes ahead in each of the kVectors rows

  static float finish(const RowGemmS8& p, std::int64_t i, std::int64_t j, std::int32_t sum) {
    const std::int32_t exact = sum - 128 * p.a_sum[i] + (p.bias != nullptr ? p.bias[j] : 0);
    return static_cast<float>(exact) * ((p.a_scale != nullptr ? p.a_scale[i] : 1.0F) * p.b_scale[j]);
  }

  // kVectors rows of b from row j against M rows of a from row i; `rows` of them exist.
  template <int M>
  static void lane_block(const RowGemmS8& p, std::int64_t i, std::int64_t j) {
    const std::int64_t k = p.k, full = k / kBytes * kBytes;
    const int rest = static_cast<int>(k - full);
    const int rows = p.n - j < kVectors ? static_cast<int>(p.n - j) : kVectors;
    const std::int8_t* b[kVectors];
    for (int r = 0; r < kVectors; ++r) b[r] = p.b + (j + (r < rows ? r : 0)) * k;
    const std::int8_t* a = p.a + i * k;
    I acc[M][kVectors];
    for (int t = 0; t < M; ++t)
      for (int r = 0; r < kVectors; ++r) acc[t][r] = Isa::izero();
    for (std::int64_t at = 0; at < full; at += kBytes) {
      I w[kVectors];
      for (int r = 0; r < kVectors; ++r) {
        __builtin_prefetch(b[r] + at + kPrefetch);
        w[r] = Isa::flip_sign_bits(Isa::iload(b[r] + at));
      }
      for (int t = 0; t < M; ++t) {
        const I x = Isa::iload(a + t * k + at);
        for (int r = 0; r < kVectors; ++r) acc[t][r] = Isa::dot(acc[t][r], w[r], x);
      }
    }
    if (rest > 0)
      for (int r = 0; r < kVectors; ++r) {
        const I w = Isa::flip_sign_bits(Isa::iload_n(b[r] + full, rest));
        for (int t = 0; t < M; ++t) acc[t][r] = Isa::dot(acc[t][r], w, Isa::iload_n(a + t * k + full, rest));
      }
    for (int t = 0; t < M; ++t) {
      std::int32_t sums[kVectors];
      Isa::fold_groups(Isa::add_groups(acc[t]), sums);
      for (int r = 0; r < rows; ++r) p.c[(i + t) * p.c_stride + j + r] = finish(p, i + t, j + r, sums[r]);
    }
  }

  // All rows of a meet a block of b before the next one, so that b is read from memory once.
  static void few_rows(const RowGemmS8& p) {
    for (std::int64_t j = 0; j < p.n; j += kVectors)
      for (std::int64_t i = 0; i < p.m;) {
        const std::int64_t tiles = (p.m - i + kLaneTile - 1) / kLaneTile,
                           size = (p.m - i + tiles - 1) / tiles;
        with_size<kLaneTile>(static_cast<int>(size), [&](auto rows) { lane_block<rows.value>(p, i, j); });
        i += size;
      }
  }

  static I load_weights(const RowGemmS8& p, std::int64_t j, std::int64_t at, std::int64_t end) {
    if (j >= p.n) return Isa::izero();
    const std::int8_t* b = p.b + j * p.k + at;
    return Isa::flip_sign_bits(end - at >= kBytes ? Isa::iload(b)
                                                  : Isa::iload_n(b, static_cast<int>(end - at)));
  }

  // kLanes rows of b from row j, columns [begin, end), as u8: panel [group of columns][kVectors][kBytes].
  // Register v of a group holds rows v, v + kVectors, ... so that add_groups() puts rows in order.
  static void pack(const RowGemmS8& p, std::int64_t j, std::int64_t begin, std::int64_t end, char* panel) {
    for (std::int64_t at = begin; at < end; at += kBytes, panel += kGroups * kVectors * kBytes)
      for (int v = 0; v < kVectors; ++v) {
        I w[kGroups];
        for (int g = 0; g < kGroups; ++g) w[g] = load_weights(p, j + g * kVectors + v, at, end);
        Isa::interleave(w);
        for (int g = 0; g < kGroups; ++g) Isa::istore(panel + (g * kVectors + v) * kBytes, w[g]);
      }
  }

  struct Panel {
    std::int64_t j, begin, end;  // rows [j, j + kLanes) of b, columns [begin, end)
    const char* packed;
  };
  // The part of the next panel's weights that a tile fetches while it computes.
  struct Prefetch {
    const std::int8_t* weights;  // rows k apart
    std::int64_t rows;
  };

  // M rows of a from row i against a panel. Partial sums of earlier panels wait in c as int32.
  template <int M>
  static void tile(const RowGemmS8& p, std::int64_t i, const Panel& panel, const Prefetch& next) {
    const std::int8_t* a = p.a + i * p.k + panel.begin;
    const std::int64_t full = (panel.end - panel.begin) / Isa::kGroupBytes;
    const auto rest = static_cast<std::size_t>((panel.end - panel.begin) % Isa::kGroupBytes);
    const char* packed = panel.packed;
    I acc[M][kVectors];
    for (int t = 0; t < M; ++t)
      for (int v = 0; v < kVectors; ++v) acc[t][v] = Isa::izero();
    for (std::int64_t g = 0; g < full; ++g, packed += kVectors * kBytes) {
      if (g % kGroups == 0)
        for (std::int64_t r = 0; r < next.rows; ++r)
          __builtin_prefetch(next.weights + r * p.k + g * Isa::kGroupBytes, 0, 2);
      I w[kVectors];
      for (int v = 0; v < kVectors; ++v) w[v] = Isa::iload(packed + v * kBytes);
      for (int t = 0; t < M; ++t) {
        const I x = Isa::ibroadcast_group(a + t * p.k + g * Isa::kGroupBytes);
        for (int v = 0; v < kVectors; ++v) acc[t][v] = Isa::dot(acc[t][v], w[v], x);
      }
    }
    if (rest > 0)
      for (int t = 0; t < M; ++t) {
        char last[Isa::kGroupBytes] = {};
        std::memcpy(last, a + t * p.k + full * Isa::kGroupBytes, rest);
        const I x = Isa::ibroadcast_group(last);
        for (int v = 0; v < kVectors; ++v)
          acc[t][v] = Isa::dot(acc[t][v], Isa::iload(packed + v * kBytes), x);
      }
    for (int t = 0; t < M; ++t) write_row(p, i + t, panel.j, panel.begin, panel.end, Isa::add_groups(acc[t]));
  }

  static void write_row(const RowGemmS8& p, std::int64_t i, std::int64_t j, std::int64_t begin,
                        std::int64_t end, I sum) {
    float* c = p.c + i * p.c_stride + j;
    const int cols = p.n - j < Isa::kLanes ? static_cast<int>(p.n - j) : Isa::kLanes;
    if (begin > 0) sum = Isa::iadd(sum, Isa::iload_n(c, cols * 4));
    if (end < p.k) {
      store_sums(c, sum, cols);
      return;
    }
    sum = Isa::isub(sum, Isa::iset1(128 * p.a_sum[i]));
    if (p.bias != nullptr) sum = Isa::iadd(sum, Isa::iload_n(p.bias + j, cols * 4));
    const auto a_scale = Isa::set1(p.a_scale != nullptr ? p.a_scale[i] : 1.0F);
    const auto scale = Isa::mul(a_scale, Isa::load_n(p.b_scale + j, cols));
    Isa::store_n(c, Isa::mul(Isa::to_float(sum), scale), cols);
  }

  static void store_sums(float* c, I sum, int cols) {
    if (cols == Isa::kLanes) {
      Isa::istore(c, sum);
      return;
    }
    std::int32_t sums[Isa::kLanes];
    Isa::istore(sums, sum);
    std::memcpy(c, sums, static_cast<std::size_t>(cols) * 4);
  }

  static void many_rows(const RowGemmS8& p, std::int64_t row_begin, std::int64_t row_end) {
    auto* packed = static_cast<char*>(p.scratch);
    for (std::int64_t begin = 0; begin < p.k; begin += kDepth) {
      const std::int64_t end = p.k - begin < kDepth ? p.k : begin + kDepth;
      for (std::int64_t j = 0; j < p.n; j += Isa::kLanes) {
        pack(p, j, begin, end, packed);
        run_tiles(p, row_begin, row_end, {j, begin, end, packed});
      }
    }
  }

  // Tiles of equal size: a small last tile could not hide the latency of dot().
  static void run_tiles(const RowGemmS8& p, std::int64_t row_begin, std::int64_t row_end,
                        const Panel& panel) {
    const std::int64_t next = panel.j + Isa::kLanes, next_end = min(next + Isa::kLanes, p.n);
    std::int64_t tiles = (row_end - row_begin + kTile - 1) / kTile;
    const std::int64_t share = (Isa::kLanes + tiles - 1) / tiles;
    std::int64_t fetched = next;
    for (std::int64_t i = row_begin; i < row_end; --tiles) {
      const std::int64_t size = (row_end - i + tiles - 1) / tiles;
      const std::int64_t rows = fetched < next_end ? min(share, next_end - fetched) : 0;
      const Prefetch prefetch{p.b + (rows > 0 ? fetched : 0) * p.k + panel.begin, rows};
      with_size<kTile>(static_cast<int>(size), [&](auto count) { tile<count.value>(p, i, panel, prefetch); });
      i += size;
      fetched += rows;
    }
  }

  static std::int64_t min(std::int64_t a, std::int64_t b) { return a < b ? a : b; }

  static void run(const RowGemmS8& p) {
    if (p.k == 0 || p.m < kManyRows) return few_rows(p);
    for (std::int64_t i = 0; i < p.m; i += kRows) many_rows(p, i, min(i + kRows, p.m));
  }
};

// A packed panel, whatever the product's size is.
template <class Isa>
std::int64_t gemm_s8_scratch_bytes(std::int64_t, std::int64_t, std::int64_t) {
  return Isa::kLanes * GemmS8<Isa>::kDepth;
}

template <class Isa>
void gemm_s8(const GemmS8Args& p) {
  GemmS8<Isa>::run({codes_of_row(p.a, p.row_begin), sum_of_row(p.a, p.row_begin), p.b, p.c, p.m, p.n, p.a.k,
                    p.c_stride, p.a.scale == nullptr ? nullptr : p.a.scale + p.row_begin, p.b_scale, p.bias,
                    p.scratch});
}

}  // namespace
}  // namespace latent8
