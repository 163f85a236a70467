// What the written config.json says, so that every reader gets the model that was quantised.

#include <gmock/gmock.h>

#include <cmath>

#include "formats/files.h"
#include "formats/write_model_config.h"
#include "quant/character_tokenizer.h"
#include "quant/quantize_fixture.h"
#include "support/model_runner.h"
#include "support/small_model.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;
using Format = QuantizeOptions::Format;

// A config.json as somebody else writes it, of a model of the tests.
struct ConfigCase {
  const char* name;
  const char* model;
  void (*change)(Json&);
};

void leave_as_it_is(Json& /*config*/) {}

// transformers leaves out what its class assumes, and other tools what they do not know.
void leave_out_defaults(Json& config) {
  for (const char* key : {"scoring_func", "topk_method", "norm_topk_prob", "moe_layer_freq", "hidden_act",
                          "attention_bias", "num_key_value_heads", "rms_norm_eps", "tie_word_embeddings"})
    config.erase(key);
}

// Rotary parameters and the type as transformers 5 names them, and nowhere else.
void rename_as_transformers_5(Json& config) {
  Json parameters = Json::object();
  if (config.contains("rope_scaling") && config["rope_scaling"].is_object())
    parameters = config["rope_scaling"];
  if (parameters.contains("type")) parameters["rope_type"] = parameters["type"];
  parameters.erase("type");
  if (!parameters.contains("rope_type")) parameters["rope_type"] = "default";
  parameters["rope_theta"] = config.value("rope_theta", 10000.0);
  config.erase("rope_scaling");
  config.erase("rope_theta");
  config["rope_parameters"] = parameters;
  config["dtype"] = config.value("torch_dtype", "bfloat16");
  config.erase("torch_dtype");
}

constexpr ConfigCase kCases[] = {{"R1", "tiny-r1", leave_as_it_is},
                                 {"R1WithoutDefaults", "tiny-r1", leave_out_defaults},
                                 {"R1OfTransformers5", "tiny-r1", rename_as_transformers_5},
                                 {"V2Lite", "v2-lite-small", leave_as_it_is},
                                 {"V2LiteWithoutDefaults", "v2-lite-small", leave_out_defaults},
                                 {"V2LiteOfTransformers5", "v2-lite-small", rename_as_transformers_5},
                                 {"V2", "v2-small", leave_as_it_is},
                                 {"V2OfTransformers5", "v2-small", rename_as_transformers_5},
                                 {"V3Fp8", "v3-fp8-small", leave_as_it_is},
                                 {"V3Fp8WithoutDefaults", "v3-fp8-small", leave_out_defaults},
                                 {"KimiK2", "kimi-k2-small", leave_as_it_is},
                                 {"KimiK2WithoutDefaults", "kimi-k2-small", leave_out_defaults},
                                 {"MiniCpm3", "minicpm3-small", leave_as_it_is},
                                 {"MiniCpm3OfTransformers5", "minicpm3-small", rename_as_transformers_5},
                                 {"V32", "v32-small", leave_as_it_is},
                                 {"Glm5", "glm5-small", leave_as_it_is}};

class WrittenConfig : public QuantizeTest, public testing::WithParamInterface<ConfigCase> {
 protected:
  fs::path source() {
    const bool r1 = std::string_view(GetParam().model) == "tiny-r1";
    source_.copy_from(r1 ? kTinyR1 : small_model(GetParam().model));
    if (!r1) write_character_tokenizer(source_);
    Json config = Json::parse(read_file(source_ / "config.json"));
    GetParam().change(config);
    source_.write("config.json", config.dump());
    return source_.path();
  }
  QuantizeOptions float_weights(Format format) {
    QuantizeOptions o = options(source_.path());
    o.weights = QuantizeOptions::Weights::kFloat;
    o.format = format;
    o.overwrite = true;
    o.calib = dir_.write("calib.json", R"(["deep-learning:networks,of,layers", "mean=sum/count;mean>0"])");
    return o;
  }
  TempDir source_;
};

// rms of the difference over rms of `a`.
double relative_difference(const std::vector<Matrix<float>>& a, const std::vector<Matrix<float>>& b) {
  double difference = 0.0, size = 0.0;
  for (std::size_t s = 0; s < a.size(); ++s)
    for (std::int64_t r = 0; r < a[s].rows(); ++r)
      for (std::int64_t c = 0; c < a[s].cols(); ++c) {
        const double x = a[s].row(r)[c], y = b[s].row(r)[c];
        difference += (x - y) * (x - y);
        size += x * x;
      }
  return std::sqrt(difference / size);
}

// Only the cache is int8, which changes the logits of random models by up to 12 %; another gate or another
// rotation changes all of them.
TEST_P(WrittenConfig, GivesTheSourcesLogits) {
  const auto original = load_model(source());
  const std::vector<std::vector<std::int32_t>> ids{random_ids(40, original->config().vocab_size, 1)};
  const auto expected = run_logits(*original, ids);
  for (const Format format : {Format::kMindie, Format::kAscendV1}) {
    quantize(float_weights(format));
    const auto made = load_model(dir_ / "out");
    EXPECT_LT(relative_difference(expected, run_logits(*made, ids)), 0.15);
  }
}

TEST_P(WrittenConfig, SaysEverythingThatAReaderWouldHaveToAssume) {
  const ModelConfig a = Checkpoint::open(source()).config();
  for (const Format format : {Format::kMindie, Format::kAscendV1}) {
    quantize(float_weights(format));
    const auto written = json("config.json");
    for (const char* key :
         {"scoring_func", "topk_method", "norm_topk_prob", "routed_scaling_factor", "first_k_dense_replace",
          "moe_layer_freq", "rope_theta", "rope_scaling", "rope_parameters", "torch_dtype", "dtype",
          "max_position_embeddings", "rms_norm_eps", "q_lora_rank", "num_nextn_predict_layers",
          "tie_word_embeddings", "num_key_value_heads"})
      EXPECT_TRUE(written.contains(key)) << key;
    EXPECT_EQ(written.at("torch_dtype"), written.at("dtype"));
    EXPECT_EQ(written.at("rope_parameters").at("rope_theta"), written.at("rope_theta"));
    EXPECT_EQ(written.at("rope_scaling").is_object(), a.rope_scaling.has_value());

    const ModelConfig b = Checkpoint::open(dir_ / "out").config();
    const auto described = [](ModelConfig c) {  // without the marks of what was done
      c.model_type = c.quantize = c.fa_quant_type = "";
      c.weight_block_size.reset();
      return write_model_config(c);
    };
    EXPECT_EQ(described(a), described(b));
  }
}

INSTANTIATE_TEST_SUITE_P(Configs, WrittenConfig, testing::ValuesIn(kCases),
                         [](const auto& p) { return std::string(p.param.name); });

TEST_F(QuantizeTest, CopiesWhatBelongsToTheModelAndSaysWhatItLeavesOut) {
  TempDir source;
  source.copy_from(kTinyR1);
  fs::create_directories(source / "additional_chat_templates");
  fs::create_directories(source / "__pycache__");
  fs::create_directories(source / ".cache/huggingface");
  for (const char* name :
       {"tiktoken.model", "tokenizer.model", "merges.txt", "tokenization_kimi.py", "LICENSE",
        "additional_chat_templates/tool_use.jinja", "__pycache__/x.cpython-311.pyc",
        ".cache/huggingface/lock", ".gitattributes", "pytorch_model.bin", "pytorch_model.bin.index.json",
        "quant_model_description.json.old"})
    source.write(name, name);
  source.write("vocab.json", "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n");
  QuantizeOptions o = options(source.path());
  o.fa_quant = false;
  o.dynamic = true;

  const QuantizeResult result = quantize(o);

  EXPECT_THAT(result.copied,
              testing::IsSupersetOf(
                  {"tiktoken.model", "tokenizer.model", "merges.txt", "tokenization_kimi.py", "LICENSE",
                   "additional_chat_templates/tool_use.jinja", "tokenizer.json", "tokenizer_config.json"}));
  for (const std::string& name : result.copied) EXPECT_EQ(read_file(o.out / name), read_file(source / name));
  for (const char* name : {"__pycache__", ".cache", ".gitattributes", "pytorch_model.bin", "vocab.json",
                           "pytorch_model.bin.index.json"})
    EXPECT_FALSE(fs::exists(o.out / name)) << name;
  const std::string warnings = testing::PrintToString(result.warnings);
  for (const char* what : {"vocab.json (a Git LFS pointer", "__pycache__/x.cpython-311.pyc (a cache)",
                           ".cache (hidden)", ".gitattributes (hidden)"})
    EXPECT_THAT(warnings, testing::HasSubstr(what));
}

}  // namespace
}  // namespace latent8
