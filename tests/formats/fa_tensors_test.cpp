#include "formats/fa_tensors.h"

#include <cmath>
#include <limits>

#include "formats/atomic_file.h"
#include "formats/safetensors_writer.h"
#include "support/errors.h"
#include "support/seed_form.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr std::int64_t kHeads = 2;
constexpr const char* kOneLayer = R"({"model_type": "deepseek_v3", "vocab_size": 8, "hidden_size": 8,
  "intermediate_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "n_routed_experts": 0})";

struct Tensor {
  std::string name;
  DType dtype;
  std::vector<std::int64_t> shape;
  std::vector<float> values;
};

const std::string kPrefix = "model.layers.1.self_attn.";

// The form of the reference: q [H, 1], k [1, 1], offsets of 0.
std::vector<Tensor> reference_form() {
  return {{"fa_q.scale", DType::kBf16, {2, 1}, {0.5F, 0.25F}},
          {"fa_k.scale", DType::kBf16, {1, 1}, {0.125F}},
          {"fa_v.scale", DType::kBf16, {1, 1}, {NAN}},
          {"fa_q.offset", DType::kI8, {2, 1}, {0, 0}},
          {"fa_k.offset", DType::kI8, {1, 1}, {0}}};
}

// A checkpoint of these tensors; the description lists them and `listed_too`.
Checkpoint checkpoint_of(const TempDir& dir, const std::vector<Tensor>& tensors,
                         const std::vector<std::string>& listed_too = {}) {
  QuantDescription description;
  description.model_quant_type = "W8A8_DYNAMIC";
  std::vector<TensorToWrite> headers;
  for (const Tensor& tensor : tensors) {
    headers.push_back({kPrefix + tensor.name, tensor.dtype, tensor.shape});
    description.add(kPrefix + tensor.name, QuantType::kFAQuant);
  }
  for (const std::string& name : listed_too) description.add(kPrefix + name, QuantType::kFAQuant);
  SafetensorsWriter writer(dir / "m.safetensors", headers);
  for (const Tensor& tensor : tensors) {
    std::vector<std::byte> bytes(tensor.values.size() * static_cast<std::size_t>(size_of(tensor.dtype)));
    if (tensor.dtype == DType::kI8)
      for (std::size_t i = 0; i < bytes.size(); ++i)
        bytes[i] = static_cast<std::byte>(static_cast<std::int8_t>(tensor.values[i]));
    else if (tensor.dtype != DType::kI64)
      narrow(tensor.values.data(), tensor.dtype, static_cast<std::int64_t>(tensor.values.size()),
             bytes.data());
    writer.append(kPrefix + tensor.name, bytes);
  }
  writer.finish();
  dir.write("config.json", kOneLayer);
  dir.write("quant_model_description.json", description.to_json());
  return Checkpoint::open(dir.path());
}

std::vector<Tensor> with_tensor(Tensor replacement) {
  std::vector<Tensor> tensors = reference_form();
  for (Tensor& tensor : tensors)
    if (tensor.name == replacement.name) tensor = replacement;
  return tensors;
}

std::string refusal(const std::vector<Tensor>& tensors, const std::vector<std::string>& listed_too = {}) {
  const TempDir dir;
  const Checkpoint checkpoint = checkpoint_of(dir, tensors, listed_too);
  return error_of(ErrorCode::kCorrupt, [&] { read_fa_scales(checkpoint, 1, kHeads); });
}

TEST(FaTensors, ReadsTheFormOfTheReference) {
  const TempDir dir;
  const auto scales = read_fa_scales(checkpoint_of(dir, reference_form()), 1, kHeads);

  ASSERT_TRUE(scales);
  EXPECT_THAT(scales->q, ElementsAre(0.5F, 0.25F));
  EXPECT_EQ(scales->k, 0.125F);
}

TEST(FaTensors, ReadsEveryShapeAndType) {
  const std::vector<Tensor> q_forms = {{"fa_q.scale", DType::kF16, {2, 3}, {.5F, .5F, .5F, .25F, .25F, .25F}},
                                       {"fa_q.scale", DType::kF32, {2}, {.5F, .25F}}};
  const std::vector<Tensor> k_forms = {{"fa_k.scale", DType::kF16, {1, 3}, {.125F, .125F, .125F}},
                                       {"fa_k.scale", DType::kF32, {1}, {.125F}},
                                       {"fa_k.scale", DType::kBf16, {2, 1}, {.125F, .125F}},
                                       {"fa_k.scale", DType::kF16, {2, 2}, {.125F, .125F, .125F, .125F}}};
  for (const Tensor& q : q_forms)
    for (const Tensor& k : k_forms) {
      const TempDir dir;
      const auto scales = read_fa_scales(checkpoint_of(dir, {q, k}), 1, kHeads);

      ASSERT_TRUE(scales);
      EXPECT_THAT(scales->q, ElementsAre(0.5F, 0.25F));
      EXPECT_EQ(scales->k, 0.125F);
    }
}

TEST(FaTensors, ALayerThatTheDescriptionDoesNotListIsFloat) {
  const TempDir dir;

  EXPECT_FALSE(read_fa_scales(checkpoint_of(dir, reference_form()), 0, kHeads));
}

TEST(FaTensors, AFloatCheckpointHasNone) {
  const Checkpoint checkpoint = Checkpoint::open(LATENT8_SOURCE_DIR "/models/tiny-r1");

  EXPECT_FALSE(read_fa_scales(checkpoint, 0, 4));
}

TEST(FaTensors, AListedTensorThatIsMissingIsNamed) {
  EXPECT_THAT(refusal({reference_form()[0]}, {"fa_k.scale"}), HasSubstr(kPrefix + "fa_k.scale"));
  EXPECT_THAT(refusal({reference_form()[1]}, {"fa_q.scale"}), HasSubstr(kPrefix + "fa_q.scale"));
  EXPECT_THAT(refusal({reference_form()[0], reference_form()[1]}, {"fa_k.offset"}),
              HasSubstr(kPrefix + "fa_k.offset"));
}

TEST(FaTensors, AnyListedTensorMakesTheLayerInt8) {
  EXPECT_THAT(refusal({}, {"fa_v.offset"}), HasSubstr(kPrefix + "fa_q.scale"));
}

TEST(FaTensors, ValuesThatAreNotFiniteAndPositiveAreRefused) {
  for (const float bad : {NAN, INFINITY, -INFINITY, 0.0F, -0.0F, -0.5F}) {
    EXPECT_THAT(refusal(with_tensor({"fa_q.scale", DType::kBf16, {2, 1}, {0.5F, bad}})),
                HasSubstr("fa_q.scale"))
        << bad;
    EXPECT_THAT(refusal(with_tensor({"fa_k.scale", DType::kF32, {1, 1}, {bad}})), HasSubstr("fa_k.scale"))
        << bad;
  }
}

TEST(FaTensors, RowsThatAreNotConstantAreRefused) {
  EXPECT_THAT(refusal(with_tensor({"fa_q.scale", DType::kF16, {2, 2}, {.5F, .5F, .5F, .25F}})),
              HasSubstr("one value per row expected, got 0.5 and 0.25 in row 1"));
  EXPECT_THAT(refusal(with_tensor({"fa_k.scale", DType::kF16, {2, 1}, {.5F, .25F}})),
              HasSubstr("one value for the layer expected, got 0.5 and 0.25"));
}

TEST(FaTensors, OtherShapesAndTypesAreRefused) {
  EXPECT_THAT(refusal(with_tensor({"fa_q.scale", DType::kF32, {3}, {1, 2, 3}})),
              HasSubstr("2 rows (num_attention_heads)"));
  EXPECT_THAT(refusal(with_tensor({"fa_q.scale", DType::kF32, {1, 2}, {1, 1}})), HasSubstr("got 1"));
  EXPECT_THAT(refusal(with_tensor({"fa_k.scale", DType::kF32, {3}, {1, 1, 1}})),
              HasSubstr("1 or 2 rows expected, got 3"));
  EXPECT_THAT(refusal(with_tensor({"fa_k.scale", DType::kF32, {}, {1}})), HasSubstr("got []"));
  EXPECT_THAT(refusal(with_tensor({"fa_k.scale", DType::kF32, {1, 1, 1}, {1}})), HasSubstr("got [1, 1, 1]"));
  EXPECT_THAT(refusal(with_tensor({"fa_k.scale", DType::kF32, {0}, {}})), HasSubstr("got [0]"));
  EXPECT_THAT(refusal(with_tensor({"fa_k.scale", DType::kI8, {1, 1}, {1}})),
              HasSubstr("BF16, F16 or F32 expected, got I8"));
}

TEST(FaTensors, AnOffsetThatIsNotZeroIsRefused) {
  EXPECT_THAT(refusal(with_tensor({"fa_q.offset", DType::kI8, {2, 1}, {0, 3}})), HasSubstr("0 expected"));
  EXPECT_THAT(refusal(with_tensor({"fa_k.offset", DType::kF16, {1, 1}, {-1}})), HasSubstr("fa_k.offset"));
  EXPECT_THAT(refusal(with_tensor({"fa_k.offset", DType::kI64, {1}, {0}})),
              HasSubstr("I8 expected, got I64"));
}

TEST(FaTensors, ScalesThatAreAllOneAreRefusedUnlessAccepted) {
  const TempDir dir;
  const Checkpoint checkpoint = checkpoint_of(
      dir, {{"fa_q.scale", DType::kBf16, {2, 1}, {1, 1}}, {"fa_k.scale", DType::kBf16, {1, 1}, {1}}});

  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { read_fa_scales(checkpoint, 1, kHeads); }),
              HasSubstr("--accept-unit-scales"));
  EXPECT_EQ(read_fa_scales(checkpoint, 1, kHeads, {.accept_unit_scales = true})->k, 1.0F);
}

TEST(FaTensors, OneUnitScaleAmongOthersIsFine) {
  const TempDir dir;
  const auto scales =
      read_fa_scales(checkpoint_of(dir, with_tensor({"fa_k.scale", DType::kF32, {1, 1}, {1}})), 1, kHeads);

  EXPECT_EQ(scales->k, 1.0F);
}

TEST(FaTensors, ReadsTheScalesOfTheReference) {
  const Checkpoint checkpoint =
      Checkpoint::open(LATENT8_SOURCE_DIR "/tests/data/golden/msmodelslim/a_mindie_m4_static");

  for (std::int64_t layer = 0; layer < checkpoint.config().num_hidden_layers; ++layer) {
    const auto scales = read_fa_scales(checkpoint, layer, checkpoint.config().num_attention_heads);
    ASSERT_TRUE(scales) << layer;
    EXPECT_EQ(scales->q.size(), 4U);
    EXPECT_LT(scales->k, 1.0F);
  }
}

TEST(FaTensors, TheFormOfTheSeedHoldsTheSameScalesAndTensors) {
  const std::string golden = LATENT8_SOURCE_DIR "/tests/data/golden/msmodelslim/a_mindie_m4_static";
  const TempDir dir;
  rewrite_in_seed_form(golden, dir.path());

  const Checkpoint seed = Checkpoint::open(dir.path()), reference = Checkpoint::open(golden);

  EXPECT_EQ(seed.get(kPrefix + "fa_q.scale").shape_text(), "[4, 512]");
  EXPECT_EQ(seed.quant()->fa_quant_type, "FAKQuant");
  EXPECT_EQ(seed.tensors().size(), reference.tensors().size());
  for (std::int64_t layer = 0; layer < reference.config().num_hidden_layers; ++layer) {
    const auto a = read_fa_scales(seed, layer, 4), b = read_fa_scales(reference, layer, 4);
    ASSERT_TRUE(a && b);
    EXPECT_EQ(a->q, b->q);
    EXPECT_EQ(a->k, b->k);
  }
}

}  // namespace
}  // namespace latent8
