#pragma once
// The scales of the int8 latent cache (fa_q, fa_k) of a layer, in every form that is in use.

#include <cstdint>
#include <optional>
#include <vector>

#include "formats/checkpoint.h"

namespace latent8 {

struct FaScales {
  std::vector<float> q;  // [num_heads], of the absorbed query before the softmax scale; value = int8 * scale
  float k = 0.0F;        // of the normalised latent, which is key and value
};

struct FaScaleOptions {
  bool accept_unit_scales = false;  // do not refuse a layer whose scales are all 1
};

// The scales of `layer`, or none if the description lists no fa_* tensor of it (its cache is float then).
// Shapes: fa_q [H, 1], [H] or [H, D] with equal elements in each row; fa_k [1, 1], [1], [1, D] or [H, D] with
// all elements equal; element types BF16, F16, F32. fa_v is not used. Source: docs/format.md, "Scales of the
// int8 cache".
// Throws: Error naming the tensor if it is missing, has another shape or type, is not constant, has a value
// that is NaN, infinite or not above 0, if an offset is not 0, or if all scales of the layer are 1.
std::optional<FaScales> read_fa_scales(const Checkpoint& checkpoint, std::int64_t layer,
                                       std::int64_t num_heads, FaScaleOptions options = {});

}  // namespace latent8
