#pragma once
// The report's charts of all layers.

#include <cstdint>
#include <string>

#include "latent8/quantize.h"

namespace latent8 {

// Charts without values are left out.
std::string layer_charts(const QuantizeResult& result);

std::string bytes_text(std::int64_t bytes);  // "1.50 GiB"
std::string time_text(double seconds);       // "12.5 s", "3 h 20 min"

}  // namespace latent8
