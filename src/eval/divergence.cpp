#include "eval/divergence.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "base/error.h"
#include "eval/logits.h"
#include "ops/each_row.h"

namespace latent8 {
namespace {

// Windows that run together. A decode step then has this many tokens; hidden states and cache of DeepSeek-R1
// are 4.5 GB.
constexpr std::size_t kWindowsTogether = 64;

double log_sum_exp(std::span<const float> logits) {
  const double top = *std::max_element(logits.begin(), logits.end());
  double sum = 0.0;
  for (const float x : logits) sum += std::exp(x - top);
  return top + std::log(sum);
}

float at(std::span<const float> logits, std::int32_t id) { return logits[static_cast<std::size_t>(id)]; }

// Calls score(row of logits of every model, row's target, index of the prediction) on the pool's threads for
// every scored token of a window, a block of rows at a time.
template <std::size_t kModels, class Score>
void for_each_prediction(OpContext& ctx, const std::array<const DeepseekModel*, kModels>& models,
                         const std::array<const SequenceHidden*, kModels>& hidden,
                         std::span<const std::int32_t> ids, const Score& score) {
  const std::int64_t first = kWindowUnscored - 1, end = static_cast<std::int64_t>(ids.size()) - 1;
  std::array<Matrix<float>, kModels> logits;
  for (auto& l : logits) l = Matrix<float>(kLogitRows, models[0]->config().vocab_size);
  for (std::int64_t begin = first; begin < end; begin += kLogitRows) {
    const std::int64_t rows = std::min(kLogitRows, end - begin);
    for (std::size_t m = 0; m < kModels; ++m)
      models[m]->logits(ctx, hidden[m]->main.view().row_range(begin, begin + rows),
                        logits[m].view().row_range(0, rows));
    for_each_row(ctx, rows, [&](std::int64_t r, int) {
      score(logits, r, ids[static_cast<std::size_t>(begin + r + 1)],
            static_cast<std::size_t>(begin + r - first));
    });
  }
}

constexpr auto kPredictionsPerWindow = static_cast<std::size_t>(kWindowTokens - kWindowUnscored);

// Progress of one model's run among several.
EvalProgress part_of(const EvalProgress& progress, std::int64_t before, std::int64_t total) {
  if (!progress) return {};
  return [=, &progress](std::int64_t done, std::int64_t) { progress(before + done, total); };
}

void check_windows(const ModelConfig& config, std::span<const std::vector<std::int32_t>> windows) {
  for (std::size_t w = 0; w < windows.size(); ++w) {
    LATENT8_CHECK_EQ(static_cast<std::int64_t>(windows[w].size()), kWindowTokens);
    check_sequence(config, windows[w], fmt::format("window {}", w));
  }
}

}  // namespace

double negative_log_likelihood(std::span<const float> logits, std::int32_t target) {
  return log_sum_exp(logits) - at(logits, target);
}

Prediction compare_predictions(std::span<const float> reference, std::span<const float> model,
                               std::int32_t target) {
  LATENT8_CHECK_EQ(reference.size(), model.size());
  const double lse_reference = log_sum_exp(reference), lse = log_sum_exp(model);
  Prediction out;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    const double log_p = reference[i] - lse_reference;
    out.kld += std::exp(log_p) * (log_p - (model[i] - lse));
  }
  out.nll = lse - at(model, target);
  out.nll_reference = lse_reference - at(reference, target);
  out.same_top1 = std::max_element(reference.begin(), reference.end()) - reference.begin() ==
                  std::max_element(model.begin(), model.end()) - model.begin();
  return out;
}

Divergence summarize(std::span<const Prediction> predictions, std::int64_t windows) {
  LATENT8_CHECK(!predictions.empty());
  Divergence d;
  std::vector<double> kld;
  double nll = 0.0, nll_reference = 0.0, same = 0.0;
  for (const Prediction& p : predictions) {
    kld.push_back(p.kld);
    d.kld_mean += p.kld;
    nll += p.nll;
    nll_reference += p.nll_reference;
    same += p.same_top1 ? 1.0 : 0.0;
  }
  const auto n = static_cast<double>(predictions.size());
  std::sort(kld.begin(), kld.end());
  d.kld_p99 = kld[(predictions.size() * 99 + 99) / 100 - 1];
  d.kld_max = kld.back();
  d.kld_mean /= n;
  d.top1 = same / n;
  d.ppl = std::exp(nll / n);
  d.ppl_reference = std::exp(nll_reference / n);
  d.windows = windows;
  d.predictions = static_cast<std::int64_t>(predictions.size());
  return d;
}

std::vector<std::vector<std::int32_t>> text_windows(std::span<const std::int32_t> ids,
                                                    std::int64_t max_windows, const std::string& where) {
  const auto size = static_cast<std::size_t>(kWindowTokens);
  std::size_t count = ids.size() / size;
  if (count == 0)
    throw_error(ErrorCode::kInvalidArgument, "{}: at least one window of {} tokens expected, got {} tokens",
                where, kWindowTokens, ids.size());
  if (max_windows > 0) count = std::min(count, static_cast<std::size_t>(max_windows));
  std::vector<std::vector<std::int32_t>> windows;
  for (std::size_t w = 0; w < count; ++w) {
    const auto window = ids.subspan(w * size, size);
    windows.emplace_back(window.begin(), window.end());
  }
  return windows;
}

Divergence measure_divergence(OpContext& ctx, const EvalModel& reference, const EvalModel& model,
                              std::span<const std::vector<std::int32_t>> windows,
                              const EvalProgress& progress) {
  const std::int64_t vocab_reference = reference.model.config().vocab_size,
                     vocab = model.model.config().vocab_size;
  if (vocab_reference != vocab)
    throw_error(ErrorCode::kInvalidArgument,
                "reference and model: the same vocabulary expected, got {} and {} tokens (vocab_size)",
                vocab_reference, vocab);
  check_windows(reference.model.config(), windows);
  check_windows(model.model.config(), windows);
  const auto total = 2 * static_cast<std::int64_t>(windows.size()) * kWindowTokens;
  std::int64_t done = 0;
  std::vector<Prediction> predictions(windows.size() * kPredictionsPerWindow);
  for (std::size_t first = 0; first < windows.size(); first += kWindowsTogether) {
    const auto group = windows.subspan(first, std::min(kWindowsTogether, windows.size() - first));
    const auto tokens = static_cast<std::int64_t>(group.size()) * kWindowTokens;
    const auto expected =
        run_sequences(reference.model, ctx, group, reference.options, false, part_of(progress, done, total));
    const auto got =
        run_sequences(model.model, ctx, group, model.options, false, part_of(progress, done + tokens, total));
    done += 2 * tokens;
    for (std::size_t w = 0; w < group.size(); ++w)
      for_each_prediction<2>(ctx, {&reference.model, &model.model}, {&expected[w], &got[w]}, group[w],
                             [&](auto& logits, std::int64_t r, std::int32_t target, std::size_t i) {
                               predictions[(first + w) * kPredictionsPerWindow + i] = compare_predictions(
                                   logits[0].view().row_span(r), logits[1].view().row_span(r), target);
                             });
  }
  return summarize(predictions, static_cast<std::int64_t>(windows.size()));
}

Perplexity measure_perplexity(OpContext& ctx, const EvalModel& model,
                              std::span<const std::vector<std::int32_t>> windows,
                              const EvalProgress& progress) {
  check_windows(model.model.config(), windows);
  const auto total = static_cast<std::int64_t>(windows.size()) * kWindowTokens;
  std::int64_t done = 0;
  std::vector<double> nll(windows.size() * kPredictionsPerWindow);
  for (std::size_t first = 0; first < windows.size(); first += kWindowsTogether) {
    const auto group = windows.subspan(first, std::min(kWindowsTogether, windows.size() - first));
    const auto hidden =
        run_sequences(model.model, ctx, group, model.options, false, part_of(progress, done, total));
    done += static_cast<std::int64_t>(group.size()) * kWindowTokens;
    for (std::size_t w = 0; w < group.size(); ++w)
      for_each_prediction<1>(ctx, {&model.model}, {&hidden[w]}, group[w],
                             [&](auto& logits, std::int64_t r, std::int32_t target, std::size_t i) {
                               nll[(first + w) * kPredictionsPerWindow + i] =
                                   negative_log_likelihood(logits[0].view().row_span(r), target);
                             });
  }
  double sum = 0.0;
  for (const double x : nll) sum += x;
  return {std::exp(sum / static_cast<double>(nll.size())), static_cast<std::int64_t>(windows.size()),
          static_cast<std::int64_t>(nll.size())};
}

}  // namespace latent8
