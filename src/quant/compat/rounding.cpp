#include "quant/compat/rounding.h"

#include <algorithm>
#include <array>

#include "base/check.h"

namespace latent8::compat {
namespace {

constexpr float kMaxCode = 127.0F;

}  // namespace

float rounded(DType type, float x) {
  LATENT8_DCHECK(type == DType::kBf16 || type == DType::kF16);
  return type == DType::kF16 ? to_float(to_fp16(x)) : to_float(to_bf16(x));
}

void round_in_place(DType type, std::span<float> values) {
  std::array<std::uint16_t, 256> stored;
  while (!values.empty()) {
    const std::size_t count = std::min(values.size(), stored.size());
    narrow(values.data(), type, static_cast<std::int64_t>(count), stored.data());
    widen(stored.data(), type, static_cast<std::int64_t>(count), values.data());
    values = values.subspan(count);
  }
}

float symmetric_scale(DType type, float amax) {
  return std::max(rounded(type, amax / kMaxCode), kSmallestScale);
}

}  // namespace latent8::compat
