// Logits against other implementations: transformers for the trained model, our numpy reference for random
// small ones.

#include <gtest/gtest.h>

#include <cstring>

#include "base/dtype.h"
#include "formats/safetensors.h"
#include "support/model_runner.h"
#include "support/small_model.h"

namespace latent8 {
namespace {

std::vector<std::int32_t> ids_of(const TensorView& view) {
  std::vector<std::int32_t> ids;
  for (std::int64_t i = 0; i < view.elements(); ++i) {
    std::int64_t id;
    std::memcpy(&id, view.bytes.data() + i * 8, 8);
    ids.push_back(static_cast<std::int32_t>(id));
  }
  return ids;
}

Matrix<float> matrix_of(const TensorView& view) {
  Matrix<float> out(view.shape[0], view.shape[1]);
  if (view.elements() > 0) widen(view.bytes.data(), view.dtype, view.elements(), out.row(0));
  return out;
}

// Largest difference over all prompts of a golden file; main and MTP logits.
struct Differences {
  double main = 0, mtp = 0;
  int prompts = 0;
};

Differences compare(const std::filesystem::path& model_dir, const char* golden_file,
                    const RunOptions& options) {
  const auto model = load_model(model_dir);
  const SafetensorsFile golden(source_path(golden_file));
  Differences out;
  for (int n = 0; golden.tensors().count(fmt::format("{}.ids", n)) != 0; ++n, ++out.prompts) {
    const auto ids = ids_of(golden.tensors().find(fmt::format("{}.ids", n))->second);
    const Matrix<float> expected = matrix_of(golden.tensors().find(fmt::format("{}.logits", n))->second);
    const Matrix<float> got = std::move(run_logits(*model, {ids}, options)[0]);
    const auto last = [](const Matrix<float>& m, std::int64_t k) {
      return m.view().row_range(m.rows() - k, m.rows());
    };
    out.main = std::max(out.main, largest_difference(last(got, expected.rows()), expected.view()));
    const auto mtp = golden.tensors().find(fmt::format("{}.mtp", n));
    if (mtp == golden.tensors().end() || mtp->second.elements() == 0) continue;
    const Matrix<float> expected_mtp = matrix_of(mtp->second);
    const Matrix<float> got_mtp = run_mtp_logits(*model, ids, options);
    out.mtp = std::max(out.mtp, largest_difference(last(got_mtp, expected_mtp.rows()), expected_mtp.view()));
  }
  return out;
}

class GoldenLogits : public testing::TestWithParam<Prefill> {};

TEST_P(GoldenLogits, TrainedModelEqualsTransformers) {
  const Differences d = compare(source_path("models/tiny-r1"), "tests/data/golden/logits.safetensors",
                                {.attention = {.prefill = GetParam()}});

  EXPECT_GE(d.prompts, 5);
  EXPECT_LT(d.main, 1e-3);
  EXPECT_LT(d.mtp, 1e-3);
}

TEST_P(GoldenLogits, SmallModelsOfEveryKindEqualTheNumpyReference) {
  for (const std::string& name : all_small_models()) {
    const std::string golden = "tests/data/golden/" + name + ".golden.safetensors";

    const Differences d = compare(small_model(name), golden.c_str(), {.attention = {.prefill = GetParam()}});

    EXPECT_GE(d.prompts, 2) << name;
    EXPECT_LT(d.main, 1e-4) << name;
    EXPECT_LT(d.mtp, 1e-4) << name;
  }
}

// Both forms of attention: absorbed on the cached latent, expanded on the values just computed.
INSTANTIATE_TEST_SUITE_P(Forms, GoldenLogits, testing::Values(Prefill::kCached, Prefill::kFloat),
                         [](const testing::TestParamInfo<Prefill>& info) {
                           return info.param == Prefill::kCached ? "absorbed" : "expanded";
                         });

}  // namespace
}  // namespace latent8
