#include "quant/compat/statistics.h"

#include <algorithm>
#include <cmath>

#include "base/check.h"
#include "quant/weights/rounding.h"

namespace latent8::compat {
namespace {

constexpr float kCodes = 255.0F;
constexpr float kFirstCode = 128.0F;

}  // namespace

Range range_of(std::span<const float> values) {
  const auto [low, high] = std::minmax_element(values.begin(), values.end());
  return {*low, *high};
}

Range joined(Range a, Range b) { return {std::min(a.low, b.low), std::max(a.high, b.high)}; }

void MeanRange::add(Range call) {
  low_sum_ += call.low;
  high_sum_ += call.high;
  ++calls_;
}

StaticInput MeanRange::input(DType type) const {
  LATENT8_CHECK(calls_ > 0);
  const auto calls = static_cast<double>(calls_);
  const float low = std::min(round_to(type, static_cast<float>(low_sum_ / calls)), 0.0F);
  const float high = std::max(round_to(type, static_cast<float>(high_sum_ / calls)), 0.0F);
  StaticInput out;
  out.scale = std::max(round_to(type, round_to(type, high - low) / kCodes), kSmallestScale);
  out.offset = std::nearbyint(round_to(type, -low / out.scale)) - kFirstCode;
  return out;
}

void join(std::optional<FaRanges>& all, const FaRanges& call) {
  if (!all) {
    all = call;
    return;
  }
  LATENT8_CHECK_EQ(all->q.size(), call.q.size());
  for (std::size_t h = 0; h < call.q.size(); ++h) all->q[h] = joined(all->q[h], call.q[h]);
  all->k = joined(all->k, call.k);
  all->v = joined(all->v, call.v);
}

}  // namespace latent8::compat
