#pragma once
// How large a chunk of a prompt may be so that answers under way do not stall.

#include <cstdint>

namespace latent8 {

// A step takes a + b * (prompt tokens); a is what it takes to read the weights, b the arithmetic. Both are
// fitted to the steps that were run, late ones first. A chunk is as large as the gap between two tokens of a
// stream allows, but never so small that reading the weights is more than half of the step's time.
// Thread-safety: none; the engine thread's.
class ChunkBudget {
 public:
  // gap_s: how long a step that decodes may take; 0: any time. most: tokens of one step.
  ChunkBudget(double gap_s, std::int64_t most) : gap_s_(gap_s), most_(most) {}

  // Prompt tokens of the next step that decodes as well; 16 to `most`.
  std::int64_t tokens() const;
  // A step with `tokens` >= 1 prompt tokens took time_s.
  void observe(std::int64_t tokens, double time_s);

 private:
  double gap_s_;
  std::int64_t most_;
  // Sums over the steps, each weighed less the older it is: 1, n, t, n^2, n t.
  double count_ = 0.0, n_ = 0.0, t_ = 0.0, nn_ = 0.0, nt_ = 0.0;
};

}  // namespace latent8
