#pragma once
// The machine's limits: multiply-adds on registers only, and a plain read of memory. Every benchmark states
// its result as a share of these.

#include <cstdint>

namespace latent8 {
namespace {

template <class Isa>
std::int64_t peak_s8(std::int64_t n, std::int32_t* sink) {
  constexpr int kTile = Isa::kRegisters == 32 ? 4 : 2;  // enough independent sums to hide the latency
  typename Isa::I acc[kTile][kTile], w[kTile], x[kTile];
  for (int r = 0; r < kTile; ++r) {
    w[r] = x[r] = Isa::iset1(*sink + r);
    for (int c = 0; c < kTile; ++c) acc[r][c] = Isa::izero();
  }
  for (std::int64_t i = 0; i < n; ++i)
    for (int r = 0; r < kTile; ++r) {
      Isa::keep(x[r]);
      for (int c = 0; c < kTile; ++c) acc[r][c] = Isa::dot(acc[r][c], w[c], x[r]);
    }
  for (int r = 0; r < kTile; ++r)
    for (int c = 0; c < kTile; ++c) Isa::keep(acc[r][c]);
  *sink = Isa::reduce_iadd(acc[0][0]);
  return n * kTile * kTile * Isa::kLanes * 4;
}

template <class Isa>
std::int64_t peak_f32(std::int64_t n, float* sink) {
  constexpr int kTile = Isa::kRegisters == 32 ? 4 : 3;
  typename Isa::F acc[kTile][kTile], w[kTile], x[kTile];
  for (int r = 0; r < kTile; ++r) {
    w[r] = x[r] = Isa::set1(*sink);
    for (int c = 0; c < kTile; ++c) acc[r][c] = Isa::zero();
  }
  for (std::int64_t i = 0; i < n; ++i)
    for (int r = 0; r < kTile; ++r) {
      Isa::keep(x[r]);
      for (int c = 0; c < kTile; ++c) acc[r][c] = Isa::fma(x[r], w[c], acc[r][c]);
    }
  for (int r = 0; r < kTile; ++r)
    for (int c = 0; c < kTile; ++c) Isa::keep(acc[r][c]);
  *sink = Isa::reduce_add(acc[0][0]);
  return n * kTile * kTile * Isa::kLanes;
}

template <class Isa>
std::int64_t peak_bf16(std::int64_t n, float* sink) {
  constexpr int kTile = 4;
  typename Isa::F acc[kTile][kTile];
  typename Isa::I w = Isa::iset1(0), x[kTile];
  for (int r = 0; r < kTile; ++r) {
    x[r] = Isa::iset1(0);
    for (int c = 0; c < kTile; ++c) acc[r][c] = Isa::set1(*sink);
  }
  for (std::int64_t i = 0; i < n; ++i)
    for (int r = 0; r < kTile; ++r) {
      Isa::keep(x[r]);
      for (int c = 0; c < kTile; ++c) acc[r][c] = Isa::dot_bf16(acc[r][c], w, x[r]);
    }
  for (int r = 0; r < kTile; ++r)
    for (int c = 0; c < kTile; ++c) Isa::keep(acc[r][c]);
  *sink = Isa::reduce_add(acc[0][0]);
  return n * kTile * kTile * Isa::kLanes * 2;
}

// Sums the data as int32 lanes, so that no load can be left out; what does not fill a block is not read.
template <class Isa>
std::int64_t read_memory(const void* data, std::int64_t n) {
  constexpr std::int64_t kBytes = Isa::kLanes * 4;
  constexpr int kUnroll = 8;
  const auto* p = static_cast<const char*>(data);
  typename Isa::I sum[kUnroll];
  for (int v = 0; v < kUnroll; ++v) sum[v] = Isa::izero();
  for (std::int64_t at = 0; at + kUnroll * kBytes <= n; at += kUnroll * kBytes)
    for (int v = 0; v < kUnroll; ++v) {
      __builtin_prefetch(p + at + v * kBytes + 4096);
      sum[v] = Isa::iadd(sum[v], Isa::iload(p + at + v * kBytes));
    }
  for (int v = 1; v < kUnroll; ++v) sum[0] = Isa::iadd(sum[0], sum[v]);
  return Isa::reduce_iadd(sum[0]);
}

}  // namespace
}  // namespace latent8
