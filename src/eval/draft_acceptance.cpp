#include "eval/draft_acceptance.h"

#include <fmt/format.h>
#include <algorithm>

#include "base/check.h"

namespace latent8 {
namespace {

using ToLogits = void (DeepseekModel::*)(OpContext&, ConstMat<float>, Mat<float>) const;

// The likeliest token of each row.
std::vector<std::int32_t> likeliest(OpContext& ctx, const DeepseekModel& model, ToLogits to_logits,
                                    ConstMat<float> hidden) {
  constexpr std::int64_t kRows = 64;
  Matrix<float> logits(std::min(kRows, hidden.rows), model.config().vocab_size);
  std::vector<std::int32_t> ids;
  for (std::int64_t begin = 0; begin < hidden.rows; begin += kRows) {
    const std::int64_t end = std::min(begin + kRows, hidden.rows);
    const Mat<float> rows = logits.view().row_range(0, end - begin);
    (model.*to_logits)(ctx, hidden.row_range(begin, end), rows);
    for (std::int64_t r = 0; r < rows.rows; ++r) {
      const auto row = rows.row_span(r);
      ids.push_back(static_cast<std::int32_t>(std::max_element(row.begin(), row.end()) - row.begin()));
    }
  }
  return ids;
}

}  // namespace

DraftAcceptance measure_draft_acceptance(OpContext& ctx, const EvalModel& model,
                                         std::span<const std::vector<std::int32_t>> windows,
                                         const EvalProgress& progress) {
  LATENT8_CHECK(model.model.has_mtp());
  // The token at place p is predicted by row p - 1 of the model and row p - 2 of the MTP layer.
  constexpr std::int64_t kFirst = kWindowUnscored, kCount = kWindowTokens - kFirst;
  std::int64_t accepted = 0, text = 0, model_text = 0;
  for (std::size_t w = 0; w < windows.size(); ++w) {
    check_sequence(model.model.config(), windows[w], fmt::format("window {}", w));
    const auto runs = run_sequences(model.model, ctx, windows.subspan(w, 1), model.options, true);
    const SequenceHidden& hidden = runs.front();
    const auto says = likeliest(ctx, model.model, &DeepseekModel::logits,
                                hidden.main.view().row_range(kFirst - 1, kWindowTokens - 1));
    const auto guesses = likeliest(ctx, model.model, &DeepseekModel::mtp_logits,
                                   hidden.mtp.view().row_range(kFirst - 2, kWindowTokens - 2));
    for (std::size_t i = 0; i < says.size(); ++i) {
      const std::int32_t token = windows[w][static_cast<std::size_t>(kFirst) + i];
      accepted += guesses[i] == says[i] ? 1 : 0;
      text += guesses[i] == token ? 1 : 0;
      model_text += says[i] == token ? 1 : 0;
    }
    if (progress) progress(static_cast<std::int64_t>(w) + 1, std::ssize(windows));
  }
  const std::int64_t predictions = std::ssize(windows) * kCount;
  const auto share = [&](std::int64_t count) {
    return static_cast<double>(count) / static_cast<double>(predictions);
  };
  return {share(accepted), share(text), share(model_text), std::ssize(windows), predictions};
}

}  // namespace latent8
