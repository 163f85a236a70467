#pragma once
// The reference's smoothing of attention inputs, which moves a scale per channel from a norm (or from the V
// rows of kv_b_proj) into the linears that read it. Source: docs/format.md, "The reference's smoothing".

#include <array>
#include <vector>

#include "formats/model_config.h"
#include "latent8/quantize.h"
#include "quant/compat/layer_tensors.h"
#include "quant/compat/statistics.h"

namespace latent8::compat {

// The linears of a group, the first one first.
std::vector<LinearTensors*> linears_of(Group group, AttentionTensors& attention);

// The largest magnitude of each column over all the linears, [in].
std::vector<float> column_amax(const std::vector<LinearTensors*>& linears);

// m4: max(r(r(sqrt A) / r(sqrt W)), r(1e-5)) per channel, A the largest input, W the largest weight of the
// group's linears, at least 1e-5.
std::vector<float> m4_scale(DType type, const GroupStatistics& statistics,
                            const std::vector<LinearTensors*>& linears);
// m6: r(r(A^alpha) / r(W^beta)), exponents of the model's type, A and W as above.
std::vector<float> m6_scale(DType type, const GroupStatistics& statistics,
                            const std::vector<LinearTensors*>& linears, Exponents exponents);
// r(r(max + min) / 2) per channel.
std::vector<float> m4_shift(DType type, const GroupStatistics& statistics);

// m4: every norm gets a bias, and the shifted groups' linears do. m6: plain scales, by
// GroupStatistics::exponents. kNone: nothing happens.
void smooth(const ModelConfig& config, QuantizeOptions::Anti anti, DType type,
            const std::array<GroupStatistics, kGroups>& groups, AttentionTensors& attention);

// Divides the source of a group's input by `scale` and multiplies its linears' columns; every product is
// rounded.
void apply_scale(const ModelConfig& config, DType type, Group group, const std::vector<float>& scale,
                 AttentionTensors& attention);

}  // namespace latent8::compat
