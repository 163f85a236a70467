#pragma once
// One decoder layer run in float over the calibration prompts, in pieces between which its weights are
// decided.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>

#include "model/decoder_layer.h"
#include "quant/calibrate/activation_store.h"
#include "quant/calibrate/calibration.h"
#include "quant/plan/memory_budget.h"

namespace latent8 {

// What attention computed for all tokens, so that statistics can be taken more than once, and after a change
// of weights that leaves most of it as it was. Names: model/step.h.
class AttentionActivations {
 public:
  // Each lies in memory if the budget has room, else in a file of the folder `spill`.
  // mtp: of the MTP layer, where other tokens count.
  AttentionActivations(CalibrationRun& run, bool mtp, MemoryBudget& budget,
                       const std::filesystem::path& spill);

  // What a visitor sees of one step: rows [0, T) of s.h (the input of q_a_proj or q_proj and of
  // kv_a_proj_with_mqa), s.c_q, s.kv (c_kv | k_pe), s.q (q_nope | q_pe per head), s.o (the input of o_proj);
  // counts [T].
  using Visit =
      std::function<void(Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t> counts)>;
  void for_each_step(const Visit& visit) const { for_first_steps(run_.tokens(), visit); }
  // Only the steps that begin before row `end`.
  void for_first_steps(std::int64_t end, const Visit& visit) const;
  // The same; what the visitor leaves in these buffers is kept.
  void update_each_step(const Visit& visit);

  // Puts the step's buffers where for_each_step() finds them.
  void keep(const CalibrationStep& step);

  CalibrationRun& run() const { return run_; }
  // What counts in one step: all that a visitor is given, and what smoothing looks at.
  const CalibrationStep::Counts& counts_of(const CalibrationStep& step) const {
    return mtp_ ? step.next_counts : step.counts;
  }

 private:
  struct Kept {
    Matrix<float> Scratch::* buffer;
    ActivationStore store;
  };
  void load(const CalibrationStep& step) const;

  CalibrationRun& run_;
  bool mtp_;
  std::vector<Kept> kept_;
};

// Fills s.q_absorbed, the absorbed query per head before the softmax scale, from s.q.
void absorb_queries(CalibrationRun& run, const AttentionWeights& weights, std::int64_t tokens);

// next = x + attention(x), [tokens, hidden_size] both. Returns false if values are not finite.
[[nodiscard]] bool run_attention(CalibrationRun& run, const LayerWeights& weights, const ActivationStore& x,
                                 ActivationStore& next, AttentionActivations& kept);

// What the experts of an MoE layer, or the MLP of a dense one, read.
struct MlpActivations {
  ActivationStore h;  // [tokens, hidden_size]
  Routing routing;    // of all tokens; empty for a dense layer
  // [tokens, hidden_size] what the experts add up to, where a norm stands before the residual stream
  std::optional<ActivationStore> sum;
};

// What the dense MLP or the shared experts read in one step: h [T, hidden_size] and the input of down_proj,
// [T, intermediate].
using VisitMlp =
    std::function<void(const CalibrationStep& step, ConstMat<float> h, ConstMat<float> down_input)>;

// Fills `out` and adds the dense MLP or the shared experts to `next`, or puts them into out.sum.
void run_common_mlp(CalibrationRun& run, const LayerWeights& weights, ActivationStore& next,
                    MlpActivations& out, const VisitMlp& visit);

// Adds one routed expert to `next` or input.sum, for the tokens that chose it; returns how many. Called in
// rising order of experts, the sums are the same however experts are grouped.
std::int64_t run_expert(CalibrationRun& run, const GatedMlp& weights, std::int64_t expert,
                        MlpActivations& input, ActivationStore& next);

// Adds the norm of `sum`, which is complete, to `next`.
void add_normed_sum(CalibrationRun& run, const LayerWeights& weights, const ActivationStore& sum,
                    ActivationStore& next);

// Whether all values are finite.
bool all_finite(CalibrationRun& run, const ActivationStore& x);

}  // namespace latent8
