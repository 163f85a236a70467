#include "latent8/verify.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "base/rng.h"
#include "support/errors.h"
#include "verify/damage.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string kLayer = "model.layers.2.";
const std::string kQa = kLayer + "self_attn.q_a_proj", kKvA = kLayer + "self_attn.kv_a_proj_with_mqa",
                  kQb = kLayer + "self_attn.q_b_proj", kExpert = kLayer + "mlp.experts.5.down_proj";
constexpr const char* kDescription = "description_w8a8_dynamic.json";
constexpr const char* kIndex = ".index.json";

// The reference's checkpoint, which every test damages in one way.
class Verify : public testing::Test {
 protected:
  VerifyResult result(const fs::path& source = {}) { return verify({checkpoint_.path(), source, 1, {}}); }
  std::vector<std::string> problems(const fs::path& source = {}) { return texts_of(result(source).problems); }
  template <class T>
  void set(const std::string& name, std::size_t i, T value) {
    checkpoint_.tensor(name, [&](OwnedTensor& t) { t.set(i, value); });
  }
  DamagedCheckpoint checkpoint_{kReference};
};

TEST_F(Verify, FindsNoProblemInACheckpointOfTheReference) {
  const VerifyResult r = result();
  EXPECT_THAT(problems(), IsEmpty());
  EXPECT_EQ(r.dialect, "mindie");
  EXPECT_EQ(r.layers, 5);
  EXPECT_EQ(r.fa_layers, 5);
  EXPECT_EQ(r.mtp, "none");
  EXPECT_EQ(r.tensors, 905);
}

TEST_F(Verify, CountsBytesAsTheIndexDoes) { EXPECT_EQ(result().bytes, 12621738); }

TEST_F(Verify, NamesTheFirstScaleThatIsNotANumber) {
  set<std::uint16_t>(kExpert + ".weight_scale", 7, 0x7fc0);
  EXPECT_THAT(problems(), Contains(AllOf(HasSubstr(kExpert + ".weight_scale"), HasSubstr("nan at 7"))));
}

TEST_F(Verify, RefusesAScaleOfZero) {
  set<std::uint16_t>(kExpert + ".weight_scale", 0, 0);
  EXPECT_THAT(problems(), Contains(HasSubstr("above 0")));
}

TEST_F(Verify, RefusesAScaleThatNoWeightNeeds) {
  set<std::uint16_t>(kExpert + ".weight_scale", 3, to_bf16(1e6F).bits);
  EXPECT_THAT(problems(), Contains(AllOf(HasSubstr("weight_scale"), HasSubstr("at 3"))));
}

TEST_F(Verify, RefusesTheCodeMinus128) {
  set<std::int8_t>(kExpert + ".weight", 64 * 9 + 1, -128);
  EXPECT_THAT(problems(),
              testing::ElementsAre(kExpert + ".weight: codes in [-127, 127] expected, got -128 in row 9"));
}

TEST_F(Verify, RefusesAWeightOffset) {
  set<std::uint16_t>(kExpert + ".weight_offset", 2, to_bf16(1.0F).bits);
  EXPECT_THAT(problems(), Contains(AllOf(HasSubstr("weight_offset"), HasSubstr("zeros"))));
}

TEST_F(Verify, RefusesAnInputOffsetOutsideTheCodes) {
  set<std::uint16_t>(kQa + ".input_offset", 0, to_bf16(130.0F).bits);
  EXPECT_THAT(problems(), Contains(AllOf(HasSubstr(kQa + ".input_offset"), HasSubstr("[-128, 127]"))));
}

TEST_F(Verify, RefusesAnInputOffsetThatIsNoInteger) {
  set<std::uint16_t>(kQa + ".input_offset", 0, to_bf16(0.5F).bits);
  EXPECT_THAT(problems(), Contains(HasSubstr("an integer")));
}

TEST_F(Verify, RecomputesDeqScale) {
  checkpoint_.tensor(kQa + ".deq_scale", [](OwnedTensor& t) { t.set(5, t.get<float>(5) * 1.1F); });
  EXPECT_THAT(problems(), Contains(AllOf(HasSubstr(kQa + ".deq_scale"), HasSubstr("at 5"))));
}

TEST_F(Verify, RecomputesQuantBias) {
  checkpoint_.tensor(kQa + ".quant_bias", [](OwnedTensor& t) { t.set(11, t.get<std::int32_t>(11) + 1000); });
  EXPECT_THAT(problems(), Contains(AllOf(HasSubstr(kQa + ".quant_bias"), HasSubstr("at 11"))));
}

TEST_F(Verify, NoticesChangedCodesBecauseQuantBiasDoesNotFit) {
  checkpoint_.tensor(kQb + ".weight", [](OwnedTensor& t) {
    for (std::size_t c = 0; c < 128; ++c) t.set<std::int8_t>(128 * 3 + c, 100);
  });
  EXPECT_THAT(problems(), Contains(AllOf(HasSubstr(kQb + ".quant_bias"), HasSubstr("at 3"))));
}

TEST_F(Verify, WantsABiasThatTakesTheShiftOfTheNormBack) {
  checkpoint_.tensor(kLayer + "input_layernorm.bias", [](OwnedTensor& t) {
    for (std::size_t c = 0; c < 256; ++c) t.set(c, 1.0F);
  });
  EXPECT_THAT(problems(), Contains(AllOf(HasSubstr(kQa + ".bias"), HasSubstr("input_layernorm.bias"))));
}

TEST_F(Verify, ComparesTheDoublesOfNorms) {
  set<std::uint16_t>("model.norm.module.weight", 0, to_bf16(3.0F).bits);
  EXPECT_THAT(problems(), Contains(HasSubstr("the bytes of model.norm.weight")));
}

TEST_F(Verify, NamesAFloatTensorWithInfinity) {
  set<std::uint16_t>("model.embed_tokens.weight", 300, 0x7f80);
  EXPECT_THAT(problems(),
              testing::ElementsAre("model.embed_tokens.weight: finite values expected, got inf at 300"));
}

TEST_F(Verify, RefusesLayersWhoseFaScalesAreAllOne) {
  checkpoint_.tensors([](DamagedCheckpoint::Tensors& all) {
    for (const char* which : {"q", "k"}) {
      OwnedTensor& t = all.at(kLayer + "self_attn.fa_" + which + ".scale");
      t.set_values(std::vector<float>(t.bytes.size() / 2, 1.0F));
    }
  });
  EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("fa_k.scale: calibrated scales expected")));
}

TEST_F(Verify, RefusesAnOffsetOfTheCache) {
  set<std::int8_t>(kLayer + "self_attn.fa_q.offset", 1, 3);
  EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("fa_q.offset: zeros expected, got 3 at 1")));
}

TEST_F(Verify, NamesAMissingFaTensor) {
  checkpoint_.tensors([](auto& all) { all.erase(kLayer + "self_attn.fa_v.scale"); });
  EXPECT_THAT(problems(), Contains(HasSubstr("fa_v.scale: a tensor, as the description lists it, expected")));
}

TEST_F(Verify, NamesATensorThatNoFileHas) {
  checkpoint_.tensors([](auto& all) { all.erase(kExpert + ".weight"); });
  const auto found = problems();
  EXPECT_THAT(found,
              Contains(HasSubstr(kExpert + ".weight: a tensor, as the description lists it, expected")));
  EXPECT_THAT(found, Contains(HasSubstr("got in no file")));
  EXPECT_THAT(found, Contains(HasSubstr("total_size")));
}

TEST_F(Verify, NamesATensorThatNobodyListed) {
  checkpoint_.tensors(
      [](auto& all) { all["model.layers.2.self_attn.rotary.inv_freq"] = all.at("model.norm.weight"); });
  const auto found = problems();
  EXPECT_THAT(found, Contains(AllOf(HasSubstr("inv_freq"), HasSubstr("description"), HasSubstr("lists"))));
  EXPECT_THAT(found, Contains(AllOf(HasSubstr("inv_freq"), HasSubstr("index.json"))));
}

TEST_F(Verify, RefusesADescriptionThatCallsCodesFloat) {
  checkpoint_.json(kDescription, [](auto& d) { d[kExpert + ".weight"] = "FLOAT"; });
  const auto found = problems();
  EXPECT_THAT(found, Contains(AllOf(HasSubstr(kExpert + ".weight"), HasSubstr("got I8"))));
  EXPECT_THAT(found, Contains(AllOf(HasSubstr(kExpert + ".weight_scale"), HasSubstr("no such tensor"))));
}

TEST_F(Verify, RefusesAnotherTypeOfAScaleThanOfItsWeight) {
  checkpoint_.json(kDescription, [](auto& d) { d[kExpert + ".weight_scale"] = "W8A8"; });
  EXPECT_THAT(problems(), testing::ElementsAre(AllOf(HasSubstr(kExpert + ".weight_scale: 'W8A8_DYNAMIC'"),
                                                     HasSubstr("got 'W8A8'"))));
}

TEST_F(Verify, RefusesADynamicLinearCalledStatic) {
  checkpoint_.json(kDescription, [](auto& d) {
    for (const char* part : {".weight", ".weight_scale", ".weight_offset"}) d[kExpert + part] = "W8A8";
  });
  EXPECT_THAT(problems(), Contains(HasSubstr(kExpert + ".input_scale: a tensor expected, got none")));
}

TEST_F(Verify, RefusesAnEntryOfNoModule) {
  checkpoint_.json(kDescription,
                   [](auto& d) { d["model.layers.2.mlp.experts.99.up_proj.weight"] = "FLOAT"; });
  EXPECT_THAT(problems(), Contains(HasSubstr("experts.99.up_proj.weight: a tensor of the model")));
}

TEST_F(Verify, RefusesAnotherShapeThanTheConfigHas) {
  checkpoint_.tensor(kQa + ".weight", [](OwnedTensor& t) { t.shape = {256, 128}; });
  EXPECT_THAT(problems(), Contains(HasSubstr("shape [128, 256] expected, got [256, 128]")));
}

TEST_F(Verify, RefusesAnotherElementType) {
  checkpoint_.tensor(kQa + ".quant_bias", [](OwnedTensor& t) { t.dtype = DType::kF32; });
  EXPECT_THAT(problems(), testing::ElementsAre(kQa + ".quant_bias: I32 expected, got F32"));
}

TEST_F(Verify, RefusesADescriptionThatIsNoJson) {
  checkpoint_.text(kDescription, "{\"model_quant_type\": ");
  EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("quant_model_description_w8a8_dynamic.json")));
}

TEST_F(Verify, RefusesAFolderWithoutADescription) {
  fs::remove(checkpoint_.file(kDescription));
  EXPECT_THAT(problems(), Contains(HasSubstr("quant_model_description")));
}

TEST_F(Verify, RefusesADescriptionThatDiffersFromItsTwin) {
  fs::copy_file(checkpoint_.file(kDescription), checkpoint_.path() / "quant_model_description.json");
  checkpoint_.json(kDescription, [](auto& d) { d.erase("lm_head.weight"); });
  EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("entries that are not the same")));
}

TEST_F(Verify, WantsTheConfigsMarks) {
  checkpoint_.json("config.json", [](auto& c) {
    c.erase("mla_quantize");
    c["quantization_config"]["fa_quant_type"] = nullptr;
  });
  EXPECT_THAT(problems(),
              testing::UnorderedElementsAre(HasSubstr("'mla_quantize'"), HasSubstr("fa_quant_type")));
}

TEST_F(Verify, RefusesAConfigThatLatent8CannotRead) {
  checkpoint_.json("config.json", [](auto& c) { c["hidden_size"] = -1; });
  EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("'hidden_size'")));
}

TEST_F(Verify, SaysThatAWholeLayerIsMissingOnce) {
  checkpoint_.json("config.json",
                   [](auto& c) { c["num_nextn_predict_layers"] = 0, c["num_hidden_layers"] = 6; });
  EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("model.layers.5: a layer")));
}

TEST_F(Verify, SurvivesATruncatedShard) {
  const fs::path shard = checkpoint_.file(".safetensors");
  for (const std::uintmax_t size :
       {std::uintmax_t{12'000'000}, std::uintmax_t{100}, std::uintmax_t{3}, std::uintmax_t{0}}) {
    fs::resize_file(shard, size);
    EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr(shard.filename().string()))) << size;
  }
}

TEST_F(Verify, SurvivesAHeaderOfNoise) {
  const fs::path shard = checkpoint_.file(".safetensors");
  std::string content = read_file(shard);
  for (std::size_t i = 8; i < 4000; ++i) content[i] = static_cast<char>(i * 37);
  checkpoint_.text(".safetensors", content);
  EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr(shard.filename().string())));
}

TEST_F(Verify, SurvivesChangedBytesOfEveryFile) {
  Rng rng(7);
  for (const char* ending : {".safetensors", kIndex, kDescription, "config.json"}) {
    const std::string content = read_file(checkpoint_.file(ending));
    for (int i = 0; i < 12; ++i) {
      std::string changed = content;
      const auto header = static_cast<std::int64_t>(std::min<std::size_t>(content.size(), 100'000));
      for (int n = 0; n < 3; ++n)
        changed[static_cast<std::size_t>(rng.below(header))] = static_cast<char>(rng.below(128));
      checkpoint_.text(ending, changed);
      EXPECT_NO_THROW(result(kSource)) << ending << i;
    }
    checkpoint_.text(ending, content);
  }
}

TEST_F(Verify, NamesAFileThatTheIndexWantsInVain) {
  checkpoint_.json(kIndex, [](auto& i) { i["weight_map"][kExpert + ".weight"] = "elsewhere.safetensors"; });
  const auto found = problems();
  EXPECT_THAT(found, Contains("elsewhere.safetensors: a file with 1 tensors expected, got no such file"));
}

TEST_F(Verify, NamesATensorThatLiesInAnotherFileThanTheIndexSays) {
  const fs::path shard = checkpoint_.file(".safetensors");
  {
    const std::vector<std::byte> bytes(4);
    SafetensorsWriter writer(checkpoint_.path() / "other.safetensors", {{"mine", DType::kF32, {1}}});
    writer.append("mine", bytes);
    writer.finish();
  }
  checkpoint_.json(kIndex, [](auto& i) { i["weight_map"][kExpert + ".weight"] = "other.safetensors"; });
  const auto found = problems();
  EXPECT_THAT(found, Contains(AllOf(HasSubstr(kExpert + ".weight: in 'other.safetensors'"),
                                    HasSubstr(shard.filename().string()))));
  EXPECT_THAT(found, Contains(AllOf(HasSubstr("mine"), HasSubstr("no entry"))));
}

TEST_F(Verify, RefusesAWrongTotalSize) {
  checkpoint_.json(kIndex, [](auto& i) { i["metadata"]["total_size"] = 1; });
  EXPECT_THAT(problems(), testing::ElementsAre(HasSubstr("total_size 12621738 expected, got 1")));
}

TEST_F(Verify, RefusesSeveralFilesWithoutAnIndex) {
  fs::copy_file(checkpoint_.file(".safetensors"), checkpoint_.path() / "copy.safetensors");
  fs::remove(checkpoint_.file(kIndex));
  const auto found = problems();
  EXPECT_THAT(found, Contains(HasSubstr("index.json beside several files")));
  EXPECT_THAT(found, Contains(AllOf(HasSubstr("one file with this tensor"), HasSubstr("copy.safetensors"))));
}

TEST_F(Verify, NotesRowsThatUseLittleOfTheRange) {
  checkpoint_.tensor(kExpert + ".weight", [](OwnedTensor& t) {
    for (std::size_t c = 0; c < 64; ++c)
      t.set<std::int8_t>(c, static_cast<std::int8_t>(t.get<std::int8_t>(c) / 8));
  });
  const VerifyResult r = result();
  EXPECT_THAT(r.problems, IsEmpty());
  ASSERT_FALSE(r.notes.empty());
  EXPECT_THAT(to_string(r.notes.back()), AllOf(HasSubstr(kExpert), HasSubstr("1 rows")));
}

TEST_F(Verify, StopsWhereProgressThrows) {
  VerifyOptions options{checkpoint_.path(), {}, 1, [](const VerifyProgress&) { throw 3; }};
  EXPECT_THROW(verify(options), int);
}

TEST(VerifyFolder, RefusesAFolderThatDoesNotExist) {
  error_of(ErrorCode::kNotFound, [] { verify({"/no/such/folder", {}, 1, {}}); });
}

}  // namespace
}  // namespace latent8
