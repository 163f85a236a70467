#include "eval/logits.h"

#include <gtest/gtest.h>

#include <fmt/format.h>
#include <cmath>
#include <cstring>

#include "formats/safetensors.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

const std::filesystem::path kModel = std::filesystem::path(LATENT8_SOURCE_DIR) / "models/tiny-r1";
const std::filesystem::path kGolden =
    std::filesystem::path(LATENT8_SOURCE_DIR) / "tests/data/golden/logits.safetensors";

template <class T>
std::vector<T> values(const TensorView& tensor) {
  std::vector<T> out(static_cast<std::size_t>(tensor.elements()));
  std::memcpy(out.data(), tensor.bytes.data(), tensor.bytes.size());
  return out;
}

class EvalLogits : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    model_ = new DeepseekModel(load_weights(std::make_shared<const Checkpoint>(Checkpoint::open(kModel))));
  }
  static void TearDownTestSuite() { delete model_; }

  static std::vector<std::int32_t> golden_ids(const SafetensorsFile& golden, int n) {
    const auto wide = values<std::int64_t>(golden.tensors().at(fmt::format("{}.ids", n)));
    return {wide.begin(), wide.end()};
  }

  // Logits of `sequences` written and read back.
  SafetensorsFile logits_of(const std::vector<std::vector<std::int32_t>>& sequences, std::int64_t last,
                            EvalOptions options = {}) {
    write_logits(*model_, ctx_, sequences, last, options, dir_ / "out.safetensors");
    return SafetensorsFile(dir_ / "out.safetensors");
  }

  static float largest_difference(const TensorView& a, const TensorView& b) {
    EXPECT_EQ(a.shape, b.shape);
    const auto x = values<float>(a), y = values<float>(b);
    float most = 0.0F;
    for (std::size_t i = 0; i < x.size(); ++i) most = std::fmax(most, std::fabs(x[i] - y[i]));
    return most;
  }

  static DeepseekModel* model_;
  TempDir dir_;
  ThreadPool pool_{2};
  OpContext ctx_{pool_};
};
DeepseekModel* EvalLogits::model_ = nullptr;

TEST_F(EvalLogits, EqualTheFloatReferenceInPrefillAndTheMtpLayerToo) {
  const SafetensorsFile golden(kGolden);
  for (const int n : {0, 3, 4, 5}) {
    const TensorView& logits = golden.tensors().at(fmt::format("{}.logits", n));

    const SafetensorsFile out = logits_of({golden_ids(golden, n)}, logits.shape[0]);

    EXPECT_LT(largest_difference(out.tensors().at("0.logits"), logits), 1e-3F) << n;
    EXPECT_LT(largest_difference(out.tensors().at("0.mtp"), golden.tensors().at(fmt::format("{}.mtp", n))),
              1e-3F)
        << n;
  }
}

TEST_F(EvalLogits, AreTheSameBitsTokenByTokenAndBesideOtherSequences) {
  const SafetensorsFile golden(kGolden);
  const auto a = golden_ids(golden, 0), b = golden_ids(golden, 3);
  EvalOptions decode;
  decode.path = EvalPath::kDecode;

  const SafetensorsFile alone = logits_of({b}, 0);
  const SafetensorsFile together = logits_of({a, b}, 0, decode);

  EXPECT_EQ(largest_difference(together.tensors().at("1.logits"), alone.tensors().at("0.logits")), 0.0F);
  EXPECT_EQ(largest_difference(together.tensors().at("1.mtp"), alone.tensors().at("0.mtp")), 0.0F);
}

TEST_F(EvalLogits, AreTheSameBitsWhereASequenceIsCutIntoSteps) {
  const SafetensorsFile golden(kGolden);
  const auto ids = golden_ids(golden, 4);
  EvalOptions small;
  small.max_tokens = 33;

  const SafetensorsFile whole = logits_of({ids}, 8);
  const SafetensorsFile cut = logits_of({ids}, 8, small);

  EXPECT_EQ(largest_difference(cut.tensors().at("0.logits"), whole.tensors().at("0.logits")), 0.0F);
}

TEST_F(EvalLogits, OfOneTokenHaveNoMtpRows) {
  const SafetensorsFile out = logits_of({{5}}, 0);

  EXPECT_EQ(out.tensors().count("0.logits"), 1U);
  EXPECT_EQ(out.tensors().count("0.mtp"), 0U);
}

TEST_F(EvalLogits, KeepTheLastPositionsOnly) {
  const SafetensorsFile out = logits_of({{5, 6, 7, 8}, {9}}, 3);

  EXPECT_EQ(out.tensors().at("0.logits").shape, (std::vector<std::int64_t>{3, 4096}));
  EXPECT_EQ(out.tensors().at("0.mtp").shape, (std::vector<std::int64_t>{2, 4096}));
  EXPECT_EQ(out.tensors().at("1.logits").shape, (std::vector<std::int64_t>{1, 4096}));
}

TEST_F(EvalLogits, RefuseASequenceLongerThanTheContext) {
  const std::vector<std::int32_t> ids(8193, 5);

  const std::string message = error_of(ErrorCode::kInvalidArgument, [&] { logits_of({{5}, ids}, 1); });

  EXPECT_THAT(message, testing::HasSubstr("sequence 1: 8193 tokens"));
  EXPECT_FALSE(std::filesystem::exists(dir_ / "out.safetensors"));
}

TEST_F(EvalLogits, RefuseAnIdOutsideTheVocabulary) {
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { logits_of({{5, 4096}}, 1); }),
              testing::HasSubstr("got 4096"));
}

}  // namespace
}  // namespace latent8
