#include "quant/weights/rounding.h"

#include <algorithm>
#include <array>

namespace latent8 {

float round_to(DType type, float x) {
  round_in_place(type, {&x, 1});
  return x;
}

void round_in_place(DType type, std::span<float> values) {
  std::array<std::uint32_t, 256> stored;  // room for the widest type
  while (!values.empty()) {
    const std::size_t count = std::min(values.size(), stored.size());
    narrow(values.data(), type, static_cast<std::int64_t>(count), stored.data());
    widen(stored.data(), type, static_cast<std::int64_t>(count), values.data());
    values = values.subspan(count);
  }
}

float symmetric_scale(DType type, float amax) {
  return std::max(round_to(type, amax / kMaxCode), kSmallestScale);
}

}  // namespace latent8
