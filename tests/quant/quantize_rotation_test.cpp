// Quantising the rotated model.
#include <gmock/gmock.h>

#include "latent8/verify.h"
#include "quant/peak_memory.h"
#include "quant/quantize_fixture.h"
#include "quant/random_model.h"
#include "quant/support.h"
#include "source/rotated_source.h"
#include "source/source_reader.h"
#include "support/errors.h"
#include "support/small_model.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class QuantizeRotation : public QuantizeTest {
 protected:
  QuantizeOptions rotated(const fs::path& model = kTinyR1) {
    QuantizeOptions o = options(model);
    o.rotate_model = true;
    return o;
  }
  // The rotated model as a checkpoint of its own.
  static void write_rotated(const TempDir& dir, const fs::path& model) {
    for (const char* name :
         {"config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"})
      if (fs::exists(model / name)) fs::copy_file(model / name, dir / name);
    const Checkpoint stored = Checkpoint::open(model);
    const SourceReader reader(stored);
    const RotatedSource source(reader);
    std::vector<TensorToWrite> tensors;
    for (const auto& [name, view] : source.checkpoint().tensors())
      tensors.push_back({name, view.dtype, view.shape});
    SafetensorsWriter writer(dir / "model.safetensors", tensors);
    for (const TensorToWrite& tensor : tensors) {
      std::vector<std::byte> bytes(static_cast<std::size_t>(tensor.bytes()));
      source.read(tensor.name, 0, bytes);
      writer.append(tensor.name, bytes);
    }
    writer.finish();
  }
  void expect_the_tensors_of_the_rotated_checkpoint(QuantizeOptions o) {
    TempDir dir;
    write_rotated(dir, o.model);
    const Checkpoint got = quantized(o);
    o.rotate_model = false;
    o.model = dir.path();
    o.out = dir_ / "plain";
    const Checkpoint want = quantized(o);
    ASSERT_EQ(got.tensors().size(), want.tensors().size());
    for (const auto& [name, view] : want.tensors())
      EXPECT_TRUE(std::ranges::equal(got.get(name).bytes, view.bytes)) << name;
  }
  VerifyResult verified(const QuantizeOptions& o) {
    VerifyOptions v;
    v.checkpoint = o.out;
    v.source = o.model;
    return verify(v);
  }
};

TEST_F(QuantizeRotation, QuantisesWhatTheRotatedCheckpointHas) {
  expect_the_tensors_of_the_rotated_checkpoint(rotated());
}

TEST_F(QuantizeRotation, StreamsWhatTheRotatedCheckpointHas) {
  QuantizeOptions o = rotated(small_model("v3-fp8-small"));
  o.fa_quant = false;
  o.dynamic = true;
  o.mtp = QuantizeOptions::Mtp::kNone;  // its MTP layer has no head of its own
  o.threads = 3;
  expect_the_tensors_of_the_rotated_checkpoint(o);
}

TEST_F(QuantizeRotation, IsVerifiedValueByValue) {
  for (const bool dynamic : {false, true}) {
    QuantizeOptions o = rotated();
    o.dynamic = dynamic;
    o.overwrite = true;
    o.anti = dynamic ? QuantizeOptions::Anti::kM6 : QuantizeOptions::Anti::kM4;
    quantize(o);
    const VerifyResult result = verified(o);
    EXPECT_TRUE(result.problems.empty()) << to_string(result.problems[0]);
    EXPECT_TRUE(result.not_comparable.empty());
    for (const VerifyKind& kind : result.kinds) {
      EXPECT_EQ(kind.by_norm, 0) << kind.kind;
      EXPECT_LT(kind.error, 0.02) << kind.kind;
    }
  }
}

TEST_F(QuantizeRotation, VerifyFindsAWeightThatIsNotTheRotatedOne) {
  const QuantizeOptions o = rotated();
  quantize(o);
  const std::string name = "model.layers.2.mlp.shared_experts.up_proj.weight";
  change_tensor(o.out / "quant_model_weight_w8a8_dynamic-00001-of-00001.safetensors", name,
                [](std::span<char> bytes) { std::rotate(bytes.begin(), bytes.begin() + 256, bytes.end()); });
  const VerifyResult result = verified(o);
  ASSERT_EQ(result.problems.size(), 2U);  // the file's checksum, too
  EXPECT_EQ(result.problems[1].where, name);
}

TEST_F(QuantizeRotation, GoesOnWhereItStopped) {
  QuantizeOptions o = rotated();
  quantize(o);
  QuantizeOptions stopped = o;
  stopped.out = dir_ / "stopped";
  stopped.progress = [](const QuantizeProgress& p) {
    if (p.layer == 3) throw Error(ErrorCode::kInternal, "stopped");
  };
  error_of(ErrorCode::kInternal, [&] { quantize(stopped); });
  stopped.progress = nullptr;
  QuantizeOptions plain = stopped;
  plain.rotate_model = false;
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { quantize(plain); }),
              HasSubstr("rotations of the model"));
  EXPECT_EQ(quantize(stopped).resumed_layers, 3);
  for (const auto& entry : fs::directory_iterator(o.out))
    EXPECT_EQ(read_file(entry.path()), read_file(stopped.out / entry.path().filename())) << entry.path();
}

TEST_F(QuantizeRotation, StaysBelowTheCap) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need memory of their own";
  TempDir source;
  const RandomModel model(source, {.layers = 3, .hidden = 512, .intermediate = 512, .experts = 64});
  for (const bool calibrated : {true, false}) {
    QuantizeOptions o = rotated(source.path());
    o.calib = dir_.write("calib.json", many_prompts());
    o.fa_quant = calibrated;
    o.dynamic = !calibrated;
    o.overwrite = true;
    o.threads = 2;
    o.max_memory = std::int64_t{128} << 20;
    EXPECT_LE(peak_of(o, dir_), o.max_memory);
  }
}

TEST_F(QuantizeRotation, RefusesWhatItCannotRotate) {
  QuantizeOptions o = rotated();
  o.mtp = QuantizeOptions::Mtp::kFloat;
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { quantize(o); }),
              HasSubstr("would read what is rotated"));
  o = rotated();
  o.weights = QuantizeOptions::Weights::kFloat;
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { quantize(o); }), HasSubstr("need w8a8 weights"));
  o = rotated();
  o.compat = QuantizeOptions::Compat::kMsmodelslim;
  o.mtp = QuantizeOptions::Mtp::kNone;
  EXPECT_THAT(error_of(ErrorCode::kUnsupported, [&] { quantize(o); }),
              HasSubstr("not reproduced by the msmodelslim"));
}

TEST_F(QuantizeRotation, NeedsAHeadOfTheMtpLayerOrNoMtpLayer) {
  TempDir source;
  source.copy_from(kTinyR1);
  const Checkpoint model = Checkpoint::open(kTinyR1);
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, view] : model.tensors())
    if (name != "model.layers.5.shared_head.head.weight") tensors.push_back({name, view.dtype, view.shape});
  SafetensorsWriter writer(source / "model.safetensors", tensors);
  for (const TensorToWrite& tensor : tensors) writer.append(tensor.name, model.get(tensor.name).bytes);
  writer.finish();
  QuantizeOptions o = rotated(source.path());
  EXPECT_THAT(error_of(ErrorCode::kUnsupported, [&] { quantize(o); }),
              HasSubstr("model.layers.5.shared_head.head.weight"));
  o.mtp = QuantizeOptions::Mtp::kNone;
  EXPECT_EQ(quantize(o).layers, 5);
}

}  // namespace
}  // namespace latent8
