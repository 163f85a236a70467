#include "quant/latent/latent_choice.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "formats/layer_schema.h"
#include "quant/weights/rounding.h"

namespace latent8 {
namespace {

// Tokens of the prompts' beginning that candidates are compared on.
constexpr std::int64_t kTokens = 2048;
// Ranges that are tried, as a share of the largest value: rare values are clipped where all others gain more.
constexpr std::array kClips{1.0F, 0.9F, 0.8F, 0.7F, 0.6F};
// A fold takes the place of the best one so far if its error is below this share of that one's: smaller gains
// may be chance.
constexpr double kGain = 0.98;
// Channels that hardly ever differ from 0 are scaled as if they had this share of the mean size.
constexpr double kSmallestShare = 1e-3;

struct Tensors {
  Matrix<float> kv_a, gamma, kv_b;
  LatentWeights view() { return {kv_a.view(), gamma.view().row_span(0), kv_b.view()}; }
};

struct Names {
  explicit Names(const LayerSchema& schema)
      : kv_a(schema.weight(TensorRole::kKvAProj)),
        gamma(schema.weight(TensorRole::kKvANorm)),
        kv_b(schema.weight(TensorRole::kKvBProj)) {}
  std::string kv_a, gamma, kv_b;
};

void round_rows(DType type, Matrix<float>& m) {
  for (std::int64_t r = 0; r < m.rows(); ++r) round_in_place(type, m.view().row_span(r));
}

Linear float_linear(const Matrix<float>& w, const float* bias) {
  Linear out;
  out.out_features = w.rows();
  out.in_features = w.cols();
  out.weight = w.row(0);
  out.bias = bias;
  return out;
}

// One layer's attention, of which fold() replaces what makes and what reads the latent.
class FoldedAttention {
 public:
  FoldedAttention(const WorkingLayer& working, std::int64_t layer, const LatentChoices& choices,
                  CalibrationRun& run)
      : working_(working),
        names_(layer_schema(run.config(), layer)),
        choices_(choices),
        run_(run),
        checkpoint_(working.checkpoint()) {
    load_attention_half(checkpoint_, layer, {}, storage_, weights_);
    kv_a_bias_ = weights_.attention.kv_a_proj_with_mqa.bias;
  }

  void fold(const LatentFold& fold) {
    tensors_ = {working_.values(names_.kv_a), working_.values(names_.gamma), working_.values(names_.kv_b)};
    apply_fold(run_.ctx().pool(), fold, tensors_.view());
    if (choices_.float_weights) round_rows(choices_.dtype, tensors_.kv_a);
    round_rows(choices_.dtype, tensors_.gamma);
    round_rows(choices_.dtype, tensors_.kv_b);
    AttentionWeights& w = weights_.attention;
    w.kv_a_proj_with_mqa = float_linear(tensors_.kv_a, kv_a_bias_);
    w.kv_a_layernorm.weight = tensors_.gamma.view().row_span(0);
    w.w_uk.tensor = w.w_uv.tensor = float_linear(tensors_.kv_b, nullptr);
  }

  // s.kv of the step from its s.h.
  void project_latent(Scratch& s, const CalibrationStep& step) const {
    attention().project_latent(run_.ctx(), step.batch, s, s.h.view().row_range(0, step.tokens()));
  }

  MlaAttention attention() const { return {run_.config(), weights_.attention, run_.rope()}; }
  const AttentionWeights& weights() const { return weights_.attention; }
  const Names& names() const { return names_; }
  const Tensors& tensors() const { return tensors_; }
  std::int64_t rank() const { return tensors_.gamma.cols(); }

 private:
  const WorkingLayer& working_;
  const Names names_;
  const LatentChoices& choices_;
  CalibrationRun& run_;
  const Checkpoint checkpoint_;
  WeightStorage storage_;
  LayerWeights weights_;
  const float* kv_a_bias_ = nullptr;
  Tensors tensors_;
};

// What the calibration prompts say of a fold.
class Trial {
 public:
  Trial(FoldedAttention& folded, const AttentionActivations& activations, const ActivationStore& stream)
      : folded_(folded), activations_(activations), stream_(stream), run_(activations.run()) {}

  // Everything below is of this fold.
  void set(const LatentFold& fold) {
    folded_.fold(fold);
    amax_ = 0.0F;
    squares_.assign(static_cast<std::size_t>(folded_.rank()), 0.0);
    activations_.for_each_step(
        [&](Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t> counts) {
          folded_.project_latent(s, step);
          for (std::int64_t t = 0; t < step.tokens(); ++t)
            if (counts[static_cast<std::size_t>(t)] != 0) observe(s.kv.view().row_span(t));
        });
  }

  float amax() const { return amax_; }
  const std::vector<double>& squares() const { return squares_; }  // [rank] of the latent's channels

  // The same of the absorbed queries, over all heads. Clobbers s.q_absorbed.
  std::vector<double> query_squares() {
    std::vector<double> out(squares_.size());
    const std::int64_t rank = folded_.rank();
    activations_.for_first_steps(
        kTokens, [&](Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t> counts) {
          absorb_queries(run_, folded_.weights(), step.tokens());
          for (std::int64_t t = 0; t < std::min(step.tokens(), kTokens - step.begin); ++t) {
            if (counts[static_cast<std::size_t>(t)] == 0) continue;
            const float* q = s.q_absorbed.row(t);
            for (std::int64_t i = 0; i < s.q_absorbed.cols(); ++i)
              out[static_cast<std::size_t>(i % rank)] += double{q[i]} * q[i];
          }
        });
    return out;
  }

  double error(float k_scale) {
    const MlaAttention attention = folded_.attention();
    LatentPages pages = run_.pages();  // float ones, which are larger
    pages.layout.type = CacheType::kInt8;
    pages.scale = k_scale;
    double sum = 0.0;
    std::int64_t count = 0;
    Matrix<float> expected;
    activations_.for_first_steps(
        kTokens, [&](Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t> counts) {
          const std::int64_t T = step.tokens();
          if (expected.rows() < T) expected = Matrix<float>(T, s.o.cols());
          std::copy_n(s.o.row(0), T * s.o.cols(), expected.row(0));
          folded_.project_latent(s, step);
          attention.attend_cached(run_.ctx(), step.batch, pages, s);
          for (std::int64_t t = 0; t < T; ++t)
            for (std::int64_t c = 0; c < s.o.cols(); ++c) s.o.row(t)[c] -= expected.row(t)[c];
          const Mat<float> delta = s.delta.view().row_range(0, T), x = s.x.view().row_range(0, T);
          linear(run_.ctx(), folded_.weights().o_proj, s.o.view().row_range(0, T), delta);
          stream_.read(step.begin, x);
          for (std::int64_t t = 0; t < std::min(T, kTokens - step.begin); ++t) {
            if (counts[static_cast<std::size_t>(t)] == 0) continue;
            sum += squares_of(delta.row_span(t)) / squares_of(x.row_span(t));
            ++count;
          }
        });
    return count == 0 ? 0.0 : run_.config().residual_scale() * std::sqrt(sum / static_cast<double>(count));
  }

 private:
  static double squares_of(std::span<const float> x) {
    double sum = 0.0;
    for (const float value : x) sum += double{value} * value;
    return std::max(sum, 1e-30);
  }

  void observe(std::span<const float> latent) {
    for (std::size_t i = 0; i < squares_.size(); ++i) {
      amax_ = std::max(amax_, std::fabs(latent[i]));
      squares_[i] += double{latent[i]} * latent[i];
    }
  }

  FoldedAttention& folded_;
  const AttentionActivations& activations_;
  const ActivationStore& stream_;
  CalibrationRun& run_;
  float amax_ = 0.0F;
  std::vector<double> squares_;
};

// Powers of two near (a[c] / b[c])^exponent for squares a and b, relative to the typical channel.
std::vector<float> scale_of(const std::vector<double>& a, const std::vector<double>& b, double exponent) {
  const auto rms = [](const std::vector<double>& squares) {
    double mean = 0.0;
    for (const double s : squares) mean += s / static_cast<double>(squares.size());
    std::vector<double> out;
    for (const double s : squares)
      out.push_back(0.5 * std::log(std::max(s, kSmallestShare * kSmallestShare * mean) + 1e-300));
    return out;
  };
  const std::vector<double> log_a = rms(a), log_b = b.empty() ? std::vector<double>(a.size()) : rms(b);
  std::vector<double> log_s;
  for (std::size_t c = 0; c < a.size(); ++c) log_s.push_back(exponent * (log_a[c] - log_b[c]));
  std::vector<double> sorted = log_s;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2),
                   sorted.end());
  const double typical = sorted[sorted.size() / 2];
  std::vector<float> scale;
  for (const double s : log_s) scale.push_back(static_cast<float>(std::exp(s - typical)));
  return to_powers_of_two(std::move(scale));
}

// The best of each name.
void add_candidate(std::vector<LayerReport::Candidate>& candidates, const std::string& name, double error) {
  for (LayerReport::Candidate& known : candidates)
    if (known.name == name) {
      known.error = std::min(known.error, error);
      return;
    }
  candidates.push_back({name, error});
}

bool changes_nothing(const std::vector<float>& scale) {
  return std::all_of(scale.begin(), scale.end(), [](float s) { return s == 1.0F; });
}

}  // namespace

LatentChoice choose_latent(const WorkingLayer& working, std::int64_t layer,
                           const AttentionActivations& activations, const ActivationStore& stream,
                           const LatentChoices& choices) {
  FoldedAttention folded(working, layer, choices, activations.run());
  Trial trial(folded, activations, stream);
  LatentChoice best;
  const auto try_fold = [&](const LatentFold& fold) {
    if (!fold.scale.empty() && changes_nothing(fold.scale)) return;
    trial.set(fold);
    double least = 0.0;
    float least_scale = 0.0F;
    for (const float clip : kClips) {  // as long as a smaller range helps
      const float k_scale = symmetric_scale(choices.dtype, clip * trial.amax());
      const double error = trial.error(k_scale);
      if (clip == kClips[0] && best.candidates.empty()) best.plain_error = error;
      if (clip != kClips[0] && error >= least) break;
      least = error;
      least_scale = k_scale;
    }
    const bool first = best.candidates.empty();
    add_candidate(best.candidates, fold.name(), least);
    if (!first && least >= kGain * best.error) return;
    best.fold = fold;
    best.k_scale = least_scale;
    best.error = least;
  };
  try_fold({});
  if (!choices.fold) return best;
  const std::vector<double> c = trial.squares(), q = trial.query_squares();
  try_fold({false, scale_of(c, q, 0.5)});
  try_fold({false, scale_of(c, {}, 1.0)});
  if (!choices.rotate) return best;
  try_fold({true, {}});
  const std::vector<double> rotated = trial.squares(), rotated_q = trial.query_squares();
  try_fold({true, scale_of(rotated, rotated_q, 0.5)});
  return best;
}

void take_fold(WorkingLayer& working, std::int64_t layer, const LatentFold& fold,
               const LatentChoices& choices, AttentionActivations& activations) {
  if (!fold.rotate && fold.scale.empty()) return;
  FoldedAttention folded(working, layer, choices, activations.run());
  folded.fold(fold);
  activations.update_each_step([&](Scratch& s, const CalibrationStep& step, std::span<const std::uint8_t>) {
    folded.project_latent(s, step);
  });
  const Tensors& t = folded.tensors();
  const auto all = [](const Matrix<float>& m) {
    return std::span(m.row(0), static_cast<std::size_t>(m.rows() * m.cols()));
  };
  working.replace(folded.names().kv_a, all(t.kv_a));
  working.replace(folded.names().gamma, all(t.gamma));
  working.replace(folded.names().kv_b, all(t.kv_b));
}

}  // namespace latent8
