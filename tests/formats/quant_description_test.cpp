#include "formats/quant_description.h"

#include <nlohmann/json.hpp>

#include "formats/json.h"
#include "formats/safetensors_index.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

using ::testing::HasSubstr;

const std::string kGoldenCheckpoints = LATENT8_SOURCE_DIR "/tests/data/golden/msmodelslim/";
constexpr const char* kFolders[] = {"a_mindie_m4_static", "b_ascendv1_m4_static", "c_ascendv1_dynamic_noanti",
                                    "e_ascendv1_m6_static", "f_ascendv1_m4_mtpfloat"};

QuantDescription parse_description(const std::string& text) {
  return parse_quant_description(text, "d.json");
}

TEST(QuantDescription, ReadsEntriesInOrder) {
  const QuantDescription d = parse_description(R"({"version": "1.0.0", "model_quant_type": "W8A8_DYNAMIC",
    "fa_quant_type": "FAKQuant", "group_size": 0, "metadata": {"a": [1]}, "optional": {},
    "z.weight": "FLOAT", "a.weight": "W8A8", "b.weight": "W8A8_DYNAMIC",
    "model.layers.61.self_attn.fa_k.scale": "FAQuant"})");

  EXPECT_EQ(d.version, "1.0.0");
  EXPECT_EQ(d.model_quant_type, "W8A8_DYNAMIC");
  EXPECT_EQ(d.fa_quant_type, "FAKQuant");
  ASSERT_EQ(d.entries().size(), 4U);
  EXPECT_EQ(d.entries()[0].first, "z.weight");
  EXPECT_EQ(d.type_of("a.weight"), QuantType::kW8A8);
  EXPECT_EQ(d.type_of("b.weight"), QuantType::kW8A8Dynamic);
  EXPECT_EQ(d.type_of("c.weight"), std::nullopt);
  EXPECT_TRUE(d.lists_fa_tensors(61));
  EXPECT_FALSE(d.lists_fa_tensors(6));
}

TEST(QuantDescription, WritesTheReferencesFilesByteForByte) {
  for (const char* name : kFolders) {
    const auto d = read_quant_description(kGoldenCheckpoints + name, "w8a8_dynamic");

    ASSERT_TRUE(d) << name;
    EXPECT_TRUE(d->to_json() == read_file(kGoldenCheckpoints + name + "/" + d->file_name)) << name;
  }
}

TEST(QuantDescription, TheDialectsDifferInVersionSpellingAndName) {
  const auto mindie = read_quant_description(kGoldenCheckpoints + "a_mindie_m4_static", "w8a8_dynamic");
  const auto ascendv1 = read_quant_description(kGoldenCheckpoints + "b_ascendv1_m4_static", "w8a8_dynamic");

  EXPECT_EQ(mindie->version, "");
  EXPECT_EQ(mindie->fa_quant_type, "FAQuant");
  EXPECT_EQ(mindie->file_name, "quant_model_description_w8a8_dynamic.json");
  EXPECT_EQ(ascendv1->version, "1.0.0");
  EXPECT_EQ(ascendv1->fa_quant_type, "FAKQuant");
  EXPECT_EQ(ascendv1->file_name, "quant_model_description.json");
}

TEST(QuantDescription, AnUnknownTypeIsRefusedWithItsTensor) {
  const std::string message = error_of(ErrorCode::kUnsupported, [] {
    parse_description(R"({"model_quant_type": "W4A8", "x.weight": "W4A8_DYNAMIC"})");
  });

  EXPECT_THAT(message,
              HasSubstr("d.json: 'x.weight': one of 'FLOAT', 'W8A8', 'W8A8_DYNAMIC', 'FAQuant' expected, "
                        "got 'W4A8_DYNAMIC'"));
}

TEST(QuantDescription, OtherCachesAreRefused) {
  for (const char* member :
       {R"("kv_quant_type": "C8")", R"("kv_cache_type": "C8")", R"("fa_quant_type": "FP8")",
        R"("model.layers.0.self_attn.quant_type": "FP8_DYNAMIC")", R"("version": 1)", R"("x.weight": 1)",
        R"("x.weight": ["FLOAT"])", R"("x.weight": null)"})
    EXPECT_THAT(
        error_of(ErrorCode::kUnsupported,
                 [&] { parse_description(std::string(R"({"model_quant_type": "W8A8", )") + member + "}"); }),
        HasSubstr("d.json: '"))
        << member;
}

TEST(QuantDescription, BrokenFilesAreRefused) {
  for (const char* text : {"", "[]", "7", "\"x\"", "{\"model_quant_type\": \"W8A8\"", "{}",
                           R"({"model_quant_type": "W8A8", "a": "FLOAT", "a": "FLOAT"})"})
    EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { parse_description(text); }), HasSubstr("d.json: "))
        << text;
  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [] { parse_description("{\"a\":" + std::string(100'000, '[')); }),
              HasSubstr("nesting"));
}

TEST(QuantDescription, TheFileWithoutSuffixIsPreferred) {
  const TempDir dir;
  dir.write("quant_model_description.json", R"({"model_quant_type": "W8A8"})");
  dir.write("quant_model_description_w8a8_dynamic.json", R"({"model_quant_type": "W8A8_DYNAMIC"})");
  dir.write("quant_model_description_x.json", "broken");

  EXPECT_EQ(read_quant_description(dir.path(), "w8a8_dynamic")->model_quant_type, "W8A8");
}

TEST(QuantDescription, TheSuffixThatTheConfigNamesIsChosen) {
  const TempDir dir;
  dir.write("quant_model_description_w8a8_dynamic.json", R"({"model_quant_type": "W8A8_DYNAMIC"})");
  dir.write("quant_model_description_w8a8.json", R"({"model_quant_type": "W8A8"})");

  EXPECT_EQ(read_quant_description(dir.path(), "w8a8")->model_quant_type, "W8A8");
}

TEST(QuantDescription, TheOnlyFileIsTakenWhateverItsSuffix) {
  const TempDir dir;
  dir.write("quant_model_description_w8a8.json", R"({"model_quant_type": "W8A8"})");

  EXPECT_EQ(read_quant_description(dir.path())->file_name, "quant_model_description_w8a8.json");
}

TEST(QuantDescription, SeveralFilesWithoutAChoiceAreRefusedByName) {
  const TempDir dir;
  dir.write("quant_model_description_a.json", "{}");
  dir.write("quant_model_description_b.json", "{}");

  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { read_quant_description(dir.path()); }),
              HasSubstr("quant_model_description_a.json, quant_model_description_b.json"));
}

TEST(QuantDescription, AFolderWithoutOneIsAFloatCheckpoint) {
  const TempDir dir;

  EXPECT_FALSE(read_quant_description(dir.path()));
}

TEST(SafetensorsIndex, WritesTheReferencesFilesByteForByte) {
  for (const char* name : {"a_mindie_m4_static", "f_ascendv1_m4_mtpfloat"}) {
    const std::string text =
        read_file(kGoldenCheckpoints + name + "/quant_model_weight_w8a8_dynamic.safetensors.index.json");
    const auto object = nlohmann::ordered_json::parse(text);
    std::vector<std::pair<std::string, std::string>> weight_map;
    for (const auto& [tensor, file] : object["weight_map"].items())
      weight_map.emplace_back(tensor, file.get<std::string>());
    const int indent = std::string(name).find("mtpfloat") == std::string::npos ? 2 : 4;

    EXPECT_TRUE(safetensors_index_json(object["metadata"]["total_size"].get<std::int64_t>(), weight_map,
                                       indent) == text)
        << name;
  }
}

TEST(SafetensorsIndex, ReadsWhatItWrites) {
  const SafetensorsIndex index = parse_safetensors_index(
      safetensors_index_json(12, {{"b", "2.safetensors"}, {"a", "1.safetensors"}}), "i.json");

  EXPECT_EQ(index.total_size, 12.0);
  ASSERT_EQ(index.weight_map.size(), 2U);
  EXPECT_EQ(index.weight_map[0], (std::pair<std::string, std::string>("a", "1.safetensors")));
  EXPECT_EQ(safetensors_index_json(0, {}),
            "{\n  \"metadata\": {\n    \"total_size\": 0\n  },\n  \"weight_map\": {}\n}");
}

TEST(SafetensorsIndex, AShardOutsideTheFolderIsRefused) {
  for (const char* file : {"\"../x\"", "\"/etc/passwd\"", "\"\"", "\"..\"", "7", "\"a\\u0000b\"", "null"}) {
    const std::string text = std::string(R"({"weight_map": {"t": )") + file + "}}";
    EXPECT_THROW(parse_safetensors_index(text, "i.json"), Error) << file;
  }
  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [] { parse_safetensors_index("{}", "i.json"); }),
              HasSubstr("i.json: 'weight_map'"));
}

TEST(Json, QuotesAsPythonDoes) {
  EXPECT_EQ(json_quote("a\"\\/\n\xc3\xa9\xf0\x9f\x98\x80\x7f"), R"("a\"\\/\n\u00e9\ud83d\ude00\u007f")");
}

}  // namespace
}  // namespace latent8
