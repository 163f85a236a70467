#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "formats/checkpoint.h"
#include "latent8/verify.h"
#include "quant/latent/latent_fold.h"
#include "support/small_model.h"
#include "verify/damage.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr std::size_t kRank = 512, kHidden = 256;
const std::string kAttention = "model.layers.2.self_attn.";
const std::string kKvB = kAttention + "kv_b_proj.weight",
                  kKvAWeight = kAttention + "kv_a_proj_with_mqa.weight",
                  kGamma = kAttention + "kv_a_layernorm.weight";

VerifyResult compare(const DamagedCheckpoint& checkpoint) {
  return verify({checkpoint.path(), kSource, 1, {}});
}

std::vector<std::string> problems(const DamagedCheckpoint& checkpoint) {
  return texts_of(compare(checkpoint).problems);
}

VerifyKind kind(const VerifyResult& result, const std::string& name) {
  const auto it =
      std::find_if(result.kinds.begin(), result.kinds.end(), [&](const auto& k) { return k.kind == name; });
  return it == result.kinds.end() ? VerifyKind{} : *it;
}

// A float checkpoint as one whose weights stayed float.
class FloatCheckpoint : public DamagedCheckpoint {
 public:
  explicit FloatCheckpoint(const fs::path& original = kSource) : DamagedCheckpoint(original) {
    QuantDescription description;
    description.model_quant_type = "FLOAT";
    const Checkpoint source = Checkpoint::open(original);
    for (const auto& [name, view] : source.tensors()) description.add(name, QuantType::kFloat);
    write("quant_model_description.json", description.to_json());
    json("config.json", [](auto& c) { c["quantize"] = "float"; });
  }
  // Changes the latent's weights of one layer, as float32 [rows, cols].
  template <class Change>
  void latent(const Change& change) {
    tensors([&](Tensors& all) {
      std::vector<float> kv_a = all.at(kKvAWeight).values(), gamma = all.at(kGamma).values(),
                         kv_b = all.at(kKvB).values();
      change(kv_a, gamma, kv_b);
      all.at(kKvAWeight).set_values(kv_a);
      all.at(kGamma).set_values(gamma);
      all.at(kKvB).set_values(kv_b);
    });
  }
};

TEST(VerifySource, TakesTheReferencesSmoothingOut) {
  const VerifyResult r = compare(DamagedCheckpoint(kReference));
  EXPECT_THAT(r.problems, IsEmpty());
  EXPECT_EQ(r.folds.size(), 5U);
  for (const VerifyKind& k : r.kinds)
    EXPECT_LT(k.worst_error, 0.012) << k.kind;  // 0.29 steps of rows of this kind
  EXPECT_EQ(kind(r, "experts.down_proj").tensors, 64);
  EXPECT_EQ(kind(r, "lm_head").error, 0.0);
}

TEST(VerifySource, ReportsTheErrorOfRoundingInSteps) {
  const VerifyResult r = compare(DamagedCheckpoint(kReference));
  EXPECT_NEAR(kind(r, "q_a_proj").worst_steps, 1.0 / std::sqrt(12.0), 0.05);
}

TEST(VerifySource, NoticesTwoExpertsInEachOthersPlace) {
  DamagedCheckpoint checkpoint(kReference);
  checkpoint.tensors([](auto& all) {
    for (const char* part : {".weight", ".weight_scale"})
      std::swap(all.at("model.layers.3.mlp.experts.4.up_proj" + std::string(part)),
                all.at("model.layers.3.mlp.experts.5.up_proj" + std::string(part)));
  });
  EXPECT_THAT(problems(checkpoint),
              testing::ElementsAre(HasSubstr("experts.4.up_proj.weight: the source's weights"),
                                   HasSubstr("experts.5.up_proj.weight: the source's weights")));
}

TEST(VerifySource, NoticesOneScaleThatIsTwiceAsLarge) {
  DamagedCheckpoint checkpoint(kReference);
  checkpoint.tensor("model.layers.3.mlp.experts.4.up_proj.weight_scale", [](OwnedTensor& t) {
    std::vector<float> values = t.values();
    values[17] *= 2.0F;
    t.set_values(values);
  });
  EXPECT_THAT(problems(checkpoint), testing::ElementsAre(HasSubstr("in row 17")));
}

TEST(VerifySource, NoticesANormThatDoesNotFitItsLinears) {
  DamagedCheckpoint checkpoint(kReference);
  checkpoint.tensor("model.layers.3.input_layernorm.weight", [](OwnedTensor& t) {
    std::vector<float> values = t.values();
    values[200] *= 2.0F;
    t.set_values(values);
  });
  EXPECT_THAT(problems(checkpoint),
              Contains(AllOf(HasSubstr("layers.3.self_attn.q_a_proj"), HasSubstr("column 200"))));
}

TEST(VerifySource, NoticesAChangedRowOfAFloatTensor) {
  DamagedCheckpoint checkpoint(kReference);
  checkpoint.tensor("lm_head.weight", [](OwnedTensor& t) {
    std::vector<float> values = t.values();
    for (std::size_t c = 0; c < kHidden; ++c) values[9 * kHidden + c] *= 1.1F;
    t.set_values(values);
  });
  EXPECT_THAT(problems(checkpoint), testing::ElementsAre(AllOf(HasSubstr("lm_head"), HasSubstr("in row 9"))));
}

TEST(VerifySource, RefusesTheSourceOfAnotherModel) {
  DamagedCheckpoint checkpoint(kReference);
  const fs::path other = small_model("v3-fp8-small");
  const VerifyResult r = verify({checkpoint.path(), other, 1, {}});
  ASSERT_FALSE(r.problems.empty());
  EXPECT_THAT(to_string(r.problems.front()), HasSubstr("as the source has"));
  EXPECT_THAT(r.kinds, IsEmpty());
}

TEST(VerifySource, FindsFloatWeightsEqual) {
  const VerifyResult r = compare(FloatCheckpoint());
  EXPECT_THAT(r.problems, IsEmpty());
  EXPECT_EQ(r.mtp, "float");
  for (const VerifyKind& k : r.kinds) EXPECT_EQ(k.error, 0.0) << k.kind;
}

TEST(VerifySource, FindsFp8WeightsEqual) {
  const fs::path source = small_model("v3-fp8-small");
  const FloatCheckpoint checkpoint(source);
  const VerifyResult r = verify({checkpoint.path(), source, 1, {}});
  EXPECT_THAT(r.problems, IsEmpty());
  EXPECT_EQ(kind(r, "experts.up_proj").error, 0.0);
}

TEST(VerifySource, NoticesAChangedFp8Weight) {
  const fs::path source = small_model("v3-fp8-small");
  FloatCheckpoint checkpoint(source);
  const std::string name = "model.layers.1.mlp.experts.1.up_proj.weight";
  checkpoint.tensor(name, [](OwnedTensor& t) { t.set<std::uint8_t>(5, t.get<std::uint8_t>(5) ^ 0x80); });
  const VerifyResult r = verify({checkpoint.path(), source, 1, {}});
  ASSERT_EQ(r.problems.size(), 1U);
  EXPECT_EQ(to_string(r.problems[0]), name + ": the bytes of the source expected, got others");
}

TEST(VerifySource, TakesAScaleOfTheLatentOut) {
  FloatCheckpoint checkpoint;
  checkpoint.latent([](auto&, auto& gamma, auto& kv_b) {
    for (std::size_t c = 0; c < kRank; c += 3) {
      gamma[c] /= 8.0F;
      for (std::size_t r = 0; r < kv_b.size() / kRank; ++r) kv_b[r * kRank + c] *= 8.0F;
    }
  });
  const VerifyResult r = compare(checkpoint);
  EXPECT_THAT(r.problems, IsEmpty());
  ASSERT_EQ(r.folds.size(), 1U);
  EXPECT_EQ(to_string(r.folds[0]), "model.layers.2 scales of kv_a_layernorm");
  EXPECT_LT(kind(r, "kv_b_proj").worst_error, 0.004);
}

TEST(VerifySource, TakesLatent8sRotationOut) {
  FloatCheckpoint checkpoint;
  checkpoint.latent([](auto& kv_a, auto& gamma, auto& kv_b) {
    ThreadPool pool(1);
    const auto rows = [](std::vector<float>& x, std::size_t cols) {
      return Mat<float>{x.data(), static_cast<std::int64_t>(x.size() / cols),
                        static_cast<std::int64_t>(cols)};
    };
    LatentFold fold{true, std::vector<float>(kRank, 0.5F)};
    apply_fold(pool, fold, {rows(kv_a, kHidden), gamma, rows(kv_b, kRank)});
  });
  const VerifyResult r = compare(checkpoint);
  EXPECT_THAT(r.problems, IsEmpty());
  ASSERT_EQ(r.folds.size(), 1U);
  EXPECT_THAT(to_string(r.folds[0]), HasSubstr("rotated latent"));
  EXPECT_LT(kind(r, "kv_b_proj").worst_error, 0.004);
  EXPECT_LT(kind(r, "kv_a_proj_with_mqa").worst_error, 0.004);
  EXPECT_EQ(kind(r, "kv_b_proj").by_product, 0);
}

// The order of channels turned round is a rotation, too.
void reverse_latent(std::vector<float>& kv_a, std::vector<float>& gamma, std::vector<float>& kv_b) {
  std::reverse(gamma.begin(), gamma.end());
  for (std::size_t r = 0; r < kRank / 2; ++r)
    std::swap_ranges(kv_a.begin() + static_cast<std::ptrdiff_t>(r * kHidden),
                     kv_a.begin() + static_cast<std::ptrdiff_t>((r + 1) * kHidden),
                     kv_a.begin() + static_cast<std::ptrdiff_t>((kRank - 1 - r) * kHidden));
  for (auto row = kv_b.begin(); row != kv_b.end(); row += kRank) std::reverse(row, row + kRank);
}

TEST(VerifySource, ComparesAnotherRotationThroughTheProduct) {
  FloatCheckpoint checkpoint;
  checkpoint.latent(reverse_latent);
  const VerifyResult r = compare(checkpoint);
  EXPECT_THAT(r.problems, IsEmpty());
  EXPECT_EQ(kind(r, "kv_b_proj").by_product, 1);
  EXPECT_LT(kind(r, "kv_b_proj").worst_error, 1e-5);
}

TEST(VerifySource, RefusesARotationOfOneSideOnly) {
  FloatCheckpoint checkpoint;
  checkpoint.latent([](auto& kv_a, auto& gamma, auto& kv_b) {
    const std::vector<float> before = kv_a;
    reverse_latent(kv_a, gamma, kv_b);
    kv_a = before;
  });
  EXPECT_THAT(problems(checkpoint), Contains(AllOf(HasSubstr(kKvB), HasSubstr("rotated"))));
}

TEST(VerifySource, RefusesARotationThatTheConfigDoesNotRecord) {
  FloatCheckpoint checkpoint;
  checkpoint.latent(reverse_latent);
  checkpoint.json("config.json",
                  [](auto& c) { c["latent8"]["layers"] = {{{"layer", 2}, {"fold", "none"}}}; });
  EXPECT_THAT(problems(checkpoint),
              testing::ElementsAre(HasSubstr("a record of the rotated latent of layer 2")));
}

TEST(VerifySource, AcceptsARotationThatTheConfigRecords) {
  FloatCheckpoint checkpoint;
  checkpoint.latent(reverse_latent);
  checkpoint.json("config.json",
                  [](auto& c) { c["latent8"]["layers"] = {{{"layer", 2}, {"fold", "both"}}, "?"}; });
  EXPECT_THAT(problems(checkpoint), IsEmpty());
}

}  // namespace
}  // namespace latent8
