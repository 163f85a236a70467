#include <gmock/gmock.h>

#include <cstring>

#include "quant/quantize_fixture.h"
#include "quant/support.h"
#include "support/errors.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class QuantizeRefusals : public QuantizeTest {
 protected:
  // The message, after checking that nothing was left behind.
  std::string refusal(const QuantizeOptions& o, ErrorCode code = ErrorCode::kInvalidArgument) {
    const std::string message = error_of(code, [&] { quantize(o); });
    EXPECT_FALSE(fs::exists(o.out.string() + ".partial"));
    return message;
  }
};

TEST_F(QuantizeRefusals, RefusesAQuantisedSource) {
  EXPECT_THAT(refusal(options(kGolden / "a_mindie_m4_static")), HasSubstr("quantised already"));
}

TEST_F(QuantizeRefusals, RefusesAFolderWithFilesOfSomebodyElse) {
  QuantizeOptions o = options();
  fs::create_directory(o.out);
  dir_.write("out/letter.txt", "precious");
  EXPECT_THAT(refusal(o), HasSubstr("empty or absent folder expected"));
  o.overwrite = true;
  EXPECT_THAT(refusal(o), HasSubstr("only a quantised checkpoint is overwritten"));
  EXPECT_EQ(read_file(dir_ / "out/letter.txt"), "precious");
}

TEST_F(QuantizeRefusals, NeverRemovesAPartialFolderOfSomebodyElse) {
  const QuantizeOptions o = options();
  fs::create_directory(dir_ / "out.partial");
  dir_.write("out.partial/letter.txt", "precious");

  const std::string message = error_of(ErrorCode::kInvalidArgument, [&] { quantize(o); });

  EXPECT_THAT(message, HasSubstr("out.partial"));
  EXPECT_EQ(read_file(dir_ / "out.partial/letter.txt"), "precious");
}

TEST_F(QuantizeRefusals, NeverWritesIntoTheSource) {
  QuantizeOptions o = options();
  o.out = kTinyR1 / "quantised";
  EXPECT_THAT(refusal(o), HasSubstr("outside the source"));
}

TEST_F(QuantizeRefusals, RefusesFloatWeightsWithoutScalesOfTheCache) {
  QuantizeOptions o = options();
  o.weights = QuantizeOptions::Weights::kFloat;
  o.fa_quant = false;
  EXPECT_THAT(refusal(o), HasSubstr("ask for those scales or for w8a8 weights"));
}

TEST_F(QuantizeRefusals, NamesTheEntryThatIsNoPrompt) {
  QuantizeOptions o = options();
  o.calib = dir_.write("calib.json", R"(["text", 7])");
  EXPECT_THAT(refusal(o), HasSubstr("entry 1"));
  o.calib = dir_.write("calib.json", "[]");
  EXPECT_THAT(refusal(o), HasSubstr("empty"));
}

TEST_F(QuantizeRefusals, NamesAPromptLongerThanTheContext) {
  QuantizeOptions o = options();
  std::string text;
  for (int i = 0; i < 9000; ++i) text += "a, ";
  o.calib = dir_.write("calib.json", nlohmann::json{"short", text}.dump());
  EXPECT_THAT(refusal(o), HasSubstr("prompt 1: at most 8192 tokens"));
}

TEST_F(QuantizeRefusals, NamesAWeightThatIsNotFinite) {
  TempDir source;
  source.copy_from(kTinyR1);
  const std::string name = "model.layers.2.self_attn.kv_a_layernorm.weight";
  change_tensor(source / "model.safetensors", name, [](std::span<char> bytes) {
    const std::uint16_t nan = 0x7fc0;
    std::memcpy(bytes.data() + 8, &nan, sizeof(nan));
  });
  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { quantize(options(source.path())); }), HasSubstr(name));
}

}  // namespace
}  // namespace latent8
