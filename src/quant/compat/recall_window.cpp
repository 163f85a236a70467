#include "quant/compat/recall_window.h"

#include <algorithm>

#include "base/check.h"

namespace latent8::compat {

Range recall_window(std::span<float> values, double ratio) {
  const auto count = static_cast<std::size_t>(ratio * static_cast<double>(values.size()));
  LATENT8_CHECK(count >= 1 && count <= values.size());
  // Only the ends of the sorted order are windows' borders.
  const std::size_t windows = values.size() - count + 1;
  const auto begin = values.begin(), end = values.end();
  const auto from_end = static_cast<std::ptrdiff_t>(windows);
  if (2 * windows >= values.size()) {
    std::sort(begin, end);
  } else {
    std::nth_element(begin, begin + from_end, end);
    std::sort(begin, begin + from_end);
    std::nth_element(begin + from_end, end - from_end, end);
    std::sort(end - from_end, end);
  }
  Range best{values[0], values[count - 1]};
  for (std::size_t i = 1; i < windows; ++i)
    if (values[i + count - 1] - values[i] < best.high - best.low) best = {values[i], values[i + count - 1]};
  return best;
}

}  // namespace latent8::compat
