#pragma once
// Options of a run as text.

#include <string>
#include <utility>
#include <vector>

#include "latent8/quantize.h"

namespace latent8 {

// Name and value of every option that decides what is written, in the words of the command line.
std::vector<std::pair<std::string, std::string>> option_texts(const QuantizeOptions& options);

}  // namespace latent8
