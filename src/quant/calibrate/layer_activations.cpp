#include "quant/calibrate/layer_activations.h"

#include <algorithm>
#include <cmath>

namespace latent8 {
namespace {

// Tokens of one expert that run together.
constexpr std::int64_t kExpertRows = 512;

bool all_finite(ConstMat<float> x) {
  for (std::int64_t r = 0; r < x.rows; ++r)
    for (const float value : x.row_span(r))
      if (!std::isfinite(value)) return false;
  return true;
}

Mat<float> rows(Matrix<float>& m, std::int64_t tokens) { return m.view().row_range(0, tokens); }

// The slots of Routing that chose an expert, in rising order of tokens.
std::vector<std::int64_t> slots_of(const Routing& routing, std::int64_t expert) {
  std::vector<std::int64_t> slots;
  for (std::size_t i = 0; i < routing.expert.size(); ++i)
    if (routing.expert[i] == expert) slots.push_back(static_cast<std::int64_t>(i));
  return slots;
}

}  // namespace

AttentionActivations::AttentionActivations(CalibrationRun& run, bool mtp, MemoryBudget& budget,
                                           const std::filesystem::path& spill)
    : run_(run), mtp_(mtp) {
  Scratch& s = run.scratch();
  for (Matrix<float> Scratch::* buffer : {&Scratch::h, &Scratch::c_q, &Scratch::kv, &Scratch::q, &Scratch::o})
    kept_.push_back({buffer, ActivationStore::temporary(budget, spill, run.tokens(), (s.*buffer).cols())});
}

void AttentionActivations::keep(const CalibrationStep& step) {
  for (Kept& kept : kept_) kept.store.write(step.begin, rows(run_.scratch().*kept.buffer, step.tokens()));
}

void AttentionActivations::load(const CalibrationStep& step) const {
  for (const Kept& kept : kept_)
    kept.store.read(step.begin, rows(run_.scratch().*kept.buffer, step.tokens()));
}

void AttentionActivations::for_first_steps(std::int64_t end, const Visit& visit) const {
  for (const CalibrationStep& step : run_.steps()) {
    if (step.begin >= end) return;
    load(step);
    visit(run_.scratch(), step, counts_of(step).statistics);
  }
}

void AttentionActivations::update_each_step(const Visit& visit) {
  for_each_step([&](Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t> counts) {
    visit(s, step, counts);
    keep(step);
  });
}

void absorb_queries(CalibrationRun& run, const AttentionWeights& weights, std::int64_t tokens) {
  Scratch& s = run.scratch();
  per_head_linear_transposed(run.ctx(), weights.w_uk, rows(s.q, tokens), run.config().qk_head_dim(),
                             rows(s.q_absorbed, tokens));
}

bool run_attention(CalibrationRun& run, const LayerWeights& weights, const ActivationStore& x,
                   ActivationStore& next, AttentionActivations& kept) {
  const DecoderLayer layer(run.config(), weights, run.rope());
  const AttentionOptions options{Numerics::kNative, Prefill::kFloat};
  Scratch& s = run.scratch();
  for (const CalibrationStep& step : run.steps()) {
    const Mat<float> stream = rows(s.x, step.tokens());
    x.read(step.begin, stream);
    layer.attention_block(run.ctx(), step.batch, options, run.pages(), s, stream);
    if (!all_finite(ConstMat<float>(stream))) return false;
    kept.keep(step);
    next.write(step.begin, stream);
  }
  return true;
}

void run_common_mlp(CalibrationRun& run, const LayerWeights& weights, ActivationStore& next,
                    MlpActivations& out, const VisitMlp& visit) {
  const DecoderLayer layer(run.config(), weights, run.rope());
  Scratch& s = run.scratch();
  out.routing.top_k = run.config().num_experts_per_tok;
  for (const CalibrationStep& step : run.steps()) {
    const Mat<float> stream = rows(s.x, step.tokens()), h = rows(s.h, step.tokens());
    next.read(step.begin, stream);
    layer.mlp_input(run.ctx(), stream, h);
    out.h.write(step.begin, h);
    if (weights.moe) {
      layer.choose_experts(run.ctx(), s, h);
      out.routing.expert.insert(out.routing.expert.end(), s.routing.expert.begin(), s.routing.expert.end());
      out.routing.weight.insert(out.routing.weight.end(), s.routing.weight.begin(), s.routing.weight.end());
    }
    if (!layer.has_common_mlp()) continue;
    layer.common_mlp(run.ctx(), s, h, rows(s.delta, step.tokens()));
    visit(step, h, s.mlp.gate.view());  // gated_mlp() leaves it there
    layer.add_to_stream(run.ctx(), stream, rows(s.delta, step.tokens()));
    next.write(step.begin, stream);
  }
}

std::int64_t run_expert(CalibrationRun& run, const GatedMlp& weights, std::int64_t expert,
                        const MlpActivations& input, ActivationStore& next) {
  const std::vector<std::int64_t> slots = slots_of(input.routing, expert);
  Scratch& s = run.scratch();
  const std::int64_t capacity = std::min(kExpertRows, s.max_tokens);
  const auto residual_scale = static_cast<float>(run.config().residual_scale());
  for (std::size_t begin = 0; begin < slots.size(); begin += static_cast<std::size_t>(capacity)) {
    const auto count = std::min(static_cast<std::int64_t>(slots.size() - begin), capacity);
    const auto slot = [&](std::int64_t i) { return slots[begin + static_cast<std::size_t>(i)]; };
    const auto token = [&](std::int64_t i) { return slot(i) / input.routing.top_k; };
    const Mat<float> h = rows(s.h, count), delta = rows(s.delta, count), stream = rows(s.x, count);
    for (std::int64_t i = 0; i < count; ++i) input.h.read_row(token(i), h.row(i));
    gated_mlp(run.ctx(), weights, h, s.mlp, delta);
    for (std::int64_t i = 0; i < count; ++i) {
      const float weight = residual_scale * input.routing.weight[static_cast<std::size_t>(slot(i))];
      next.read_row(token(i), stream.row(i));
      for (std::int64_t c = 0; c < stream.cols; ++c) stream.row(i)[c] += weight * delta.row(i)[c];
      next.write_row(token(i), stream.row(i));
    }
  }
  return static_cast<std::int64_t>(slots.size());
}

bool all_finite(CalibrationRun& run, const ActivationStore& x) {
  for (const CalibrationStep& step : run.steps()) {
    const Mat<float> stream = rows(run.scratch().x, step.tokens());
    x.read(step.begin, stream);
    if (!all_finite(ConstMat<float>(stream))) return false;
  }
  return true;
}

}  // namespace latent8
