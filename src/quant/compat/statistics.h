#pragma once
// What the reference's calibration remembers. All values are of the model's type.
// Source: docs/format.md, "The reference's calibration" and "The reference's windows".

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "base/dtype.h"

namespace latent8::compat {

struct Range {
  float low = 0.0F, high = 0.0F;
  float amax() const { return std::max(std::fabs(low), std::fabs(high)); }
};
Range range_of(std::span<const float> values);  // REQUIRES: not empty
Range joined(Range a, Range b);

// A static input: code = clamp(rint(x / scale + offset), -128, 127).
struct StaticInput {
  float scale = 1.0F;
  float offset = 0.0F;  // an integer
};

// The range of one linear's input: the mean over the calls' smallest and largest values. Calls weigh the same
// whatever their number of tokens.
class MeanRange {
 public:
  void add(Range call);
  std::int64_t calls() const { return calls_; }
  // Asymmetric codes of the mean range over the calls so far, widened to hold 0. REQUIRES: a call
  StaticInput input(DType type) const;

 private:
  double low_sum_ = 0.0, high_sum_ = 0.0;  // exact: few values with short mantissas
  std::int64_t calls_ = 0;
};

// The linears of attention that read the same input: they are smoothed together.
enum class Group : std::uint8_t {
  kHidden,  // q_a_proj, kv_a_proj_with_mqa; shifted
  kCQ,      // q_b_proj; shifted
  kO        // o_proj; not shifted
};
inline constexpr std::size_t kGroups = 3;

// m6's scale is A^alpha / W^beta.
struct Exponents {
  float alpha = 1.0F, beta = 0.0F;
};

// The input of a group over all prompts, per channel.
struct GroupStatistics {
  std::vector<Range> channels;
  Exponents exponents;  // chosen by m6's search; not read by m4
};

// The union of the calls' windows of the absorbed query and the latent.
struct FaRanges {
  std::vector<Range> q;  // [heads]; rows of the reference's view, which mixes batch and heads
  Range k, v;
};
void join(std::optional<FaRanges>& all, const FaRanges& call);

struct LayerStatistics {
  std::array<GroupStatistics, kGroups> groups;  // by Group; of the unquantised model over the anti prompts
  std::array<MeanRange, kGroups> inputs;        // by Group; of the smoothed, fake-quantised model
  std::optional<FaRanges> fa;                   // as `inputs`
};

}  // namespace latent8::compat
