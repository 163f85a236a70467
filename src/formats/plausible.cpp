#include "formats/plausible.h"

#include <cstdlib>
#include <limits>

#include "base/error.h"

namespace latent8 {

void check_range(const std::string& name, std::span<const float> values, float low, float high) {
  for (std::size_t i = 0; i < values.size(); ++i)
    if (!(values[i] >= low && values[i] <= high))
      throw_error(
          ErrorCode::kCorrupt,
          "tensor '{}': values from {:g} to {:g} expected, element {} is {:g}; the file is damaged, or was "
          "written by a run that went wrong",
          name, low, high, i, values[i]);
}

// Most biases are far from the bound that holds for any weights; only where one is not, its row is read.
void check_quant_bias(const std::string& name, std::span<const std::int32_t> bias,
                      std::span<const std::byte> weight) {
  constexpr std::int64_t kLimit = std::numeric_limits<std::int32_t>::max(), kCode = 128;
  const std::size_t cols = bias.empty() ? 0 : weight.size() / bias.size();
  const auto of_any_weights = kCode * kCode * static_cast<std::int64_t>(cols);
  for (std::size_t row = 0; row < bias.size(); ++row) {
    const std::int64_t size = std::abs(std::int64_t{bias[row]});
    if (size + of_any_weights <= kLimit) continue;
    std::int64_t codes = 0;
    for (const std::byte code : weight.subspan(row * cols, cols))
      codes += std::abs(int{static_cast<std::int8_t>(std::to_integer<std::uint8_t>(code))});
    if (size + kCode * codes > kLimit)
      throw_error(
          ErrorCode::kCorrupt,
          "tensor '{}': element {} is {}, and with the row's weights a sum can leave int32; the file is "
          "damaged",
          name, row, bias[row]);
  }
}

}  // namespace latent8
