#pragma once
// The checkpoint that the quantiser starts from.

#include <filesystem>

#include "base/dtype.h"
#include "formats/checkpoint.h"

namespace latent8 {

// Throws: Error{kInvalidArgument} for a checkpoint that is quantised already, and as Checkpoint::open().
Checkpoint open_float_checkpoint(const std::filesystem::path& model);

// The element type of the source's model: torch_dtype, or kBf16 for fp8 sources.
DType model_dtype(const Checkpoint& source);

}  // namespace latent8
