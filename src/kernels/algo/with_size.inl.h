#pragma once
// A run-time tile size as a constant of the compiler.

namespace latent8 {
namespace {

template <int N>
struct Size {
  static constexpr int value = N;
};

// Calls action(Size<size>{}) for a size from 1 to kMax.
template <int kMax, class Action>
inline void with_size(int size, const Action& action) {
  if constexpr (kMax > 1)
    if (size < kMax) return with_size<kMax - 1>(size, action);
  action(Size<kMax>{});
}

}  // namespace
}  // namespace latent8
