#include "quant/compat/fake_quant.h"

#include <algorithm>
#include <cmath>

#include "quant/weights/rounding.h"

namespace latent8::compat {

Range round_and_observe(DType type, Mat<float> x) {
  Range range;
  for (std::int64_t r = 0; r < x.rows; ++r) {
    round_in_place(type, x.row_span(r));
    const Range row = range_of(x.row_span(r));
    range = r == 0 ? row : joined(range, row);
  }
  return range;
}

void fake_quantize(DType type, const StaticInput& input, Mat<float> x) {
  for (std::int64_t r = 0; r < x.rows; ++r) {
    const std::span<float> row = x.row_span(r);
    for (float& value : row) value /= input.scale;
    round_in_place(type, row);
    for (float& value : row) value += input.offset;
    round_in_place(type, row);
    for (float& value : row)
      value = (std::clamp(std::nearbyint(value), -128.0F, 127.0F) - input.offset) * input.scale;
    round_in_place(type, row);
  }
}

void observe_and_fake_quantize(DType type, MeanRange& range, Mat<float> x) {
  range.add(round_and_observe(type, x));
  fake_quantize(type, range.input(type), x);
}

}  // namespace latent8::compat
