#pragma once
// Values that went through int8 and back, as the reference calibrates with them.
// Source: docs/format.md, "The reference's calibration".

#include "base/views.h"
#include "quant/compat/statistics.h"

namespace latent8::compat {

// x rounded to `type`; the range of what comes out.
Range round_and_observe(DType type, Mat<float> x);

// r((clamp(rint(r(r(x / scale) + offset)), -128, 127) - offset) * scale). REQUIRES: x of `type`
void fake_quantize(DType type, const StaticInput& input, Mat<float> x);

// One call of a linear with a running mean range: rounds x, adds its range, and fake-quantises it with the
// mean so far.
void observe_and_fake_quantize(DType type, MeanRange& range, Mat<float> x);

}  // namespace latent8::compat
