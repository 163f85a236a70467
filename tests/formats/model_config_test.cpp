#include "formats/model_config.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "formats/published_configs.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(ModelConfig, ReadsR1) {
  const ModelConfig c = parse_config(r1());

  EXPECT_EQ(c.model_type, "deepseek_v3");
  EXPECT_THAT(c.architectures, ElementsAre("DeepseekV3ForCausalLM"));
  EXPECT_EQ(c.vocab_size, 129280);
  EXPECT_EQ(c.q_lora_rank, 1536);
  EXPECT_EQ(c.qk_head_dim(), 192);
  EXPECT_EQ(c.n_group, 8);
  EXPECT_EQ(c.topk_group, 4);
  EXPECT_EQ(c.rope_theta, 10000.0);
  ASSERT_TRUE(c.rope_scaling);
  EXPECT_EQ(c.rope_scaling->factor, 40.0);
  EXPECT_EQ(c.rope_scaling->original_max_position_embeddings, 4096);
  EXPECT_THAT(c.eos_token_ids, ElementsAre(1));
  EXPECT_EQ(c.weight_block_size, (std::array<std::int64_t, 2>{128, 128}));
  EXPECT_EQ(c.torch_dtype, DType::kBf16);
}

TEST(ModelConfig, KnowsWhichLayersHaveExperts) {
  const ModelConfig c = parse_config(r1());

  EXPECT_FALSE(c.is_moe_layer(2));
  EXPECT_TRUE(c.is_moe_layer(3));
  EXPECT_TRUE(c.is_moe_layer(61));
  EXPECT_FALSE(parse_config(with(r1(), "moe_layer_freq", 2)).is_moe_layer(5));
}

TEST(ModelConfig, ReadsV2Lite) {
  const ModelConfig c = parse_config(v2_lite());

  EXPECT_FALSE(c.q_lora_rank.has_value());
  EXPECT_EQ(c.scoring_func, "softmax");
  EXPECT_EQ(c.topk_method, "greedy");
  EXPECT_FALSE(c.norm_topk_prob);
  EXPECT_EQ(c.rope_scaling->mscale_all_dim, 0.707);
  EXPECT_EQ(c.num_nextn_predict_layers, 0);
}

TEST(ModelConfig, ReadsTheGroupsOfV2) {
  json v2 = v2_lite();
  v2.update({{"topk_method", "group_limited_greedy"},
             {"n_routed_experts", 160},
             {"n_group", 8},
             {"topk_group", 3}});

  const ModelConfig c = parse_config(v2);

  EXPECT_EQ(c.n_group, 8);
  EXPECT_EQ(c.topk_group, 3);
}

TEST(ModelConfig, AGreedyGateHasNoGroupsWhateverTheKeysSay) {
  json v2 = v2_lite();
  v2.update({{"n_group", 8}, {"topk_group", 3}});

  EXPECT_EQ(parse_config(v2).n_group, 1);
  EXPECT_EQ(parse_config(v2).topk_group, 1);
}

TEST(ModelConfig, ReadsKimiK2) {
  json kimi = r1();
  kimi.update({{"model_type", "kimi_k2"},
               {"num_attention_heads", 64},
               {"num_key_value_heads", 64},
               {"n_routed_experts", 384},
               {"n_group", 1},
               {"topk_group", 1},
               {"vocab_size", 163840},
               {"rope_theta", 50000.0},
               {"num_nextn_predict_layers", 0},
               {"eos_token_id", {163585, 163586}}});

  const ModelConfig c = parse_config(kimi);

  EXPECT_EQ(c.model_type, "kimi_k2");
  EXPECT_EQ(c.n_routed_experts, 384);
  EXPECT_THAT(c.eos_token_ids, ElementsAre(163585, 163586));
}

TEST(ModelConfig, TheReferencesModelTypeIsToldApartByItsGate) {
  EXPECT_EQ(parse_config(with(r1(), "model_type", "deepseekv2")).model_type, "deepseek_v3");
  EXPECT_EQ(parse_config(with(v2_lite(), "model_type", "deepseekv2")).model_type, "deepseek_v2");
  EXPECT_EQ(parse_config(with(without(r1(), "scoring_func"), "model_type", "deepseekv2")).scoring_func,
            "sigmoid");
}

TEST(ModelConfig, AbsentKeysTakeTheDefaultsOfHuggingFace) {
  json few = {{"model_type", "deepseek_v3"}, {"vocab_size", 10},       {"hidden_size", 8},
              {"intermediate_size", 8},      {"num_hidden_layers", 1}, {"num_attention_heads", 2}};

  const ModelConfig v3 = parse_config(few);
  const ModelConfig v2 = parse_config(with(few, "model_type", "deepseek_v2"));

  EXPECT_EQ(v3.scoring_func, "sigmoid");
  EXPECT_EQ(v3.n_routed_experts, 256);
  EXPECT_EQ(v3.n_group, 8);
  EXPECT_EQ(v3.routed_scaling_factor, 2.5);
  EXPECT_TRUE(v3.norm_topk_prob);
  EXPECT_EQ(v3.q_lora_rank, 1536);
  EXPECT_EQ(v3.max_position_embeddings, 4096);
  EXPECT_EQ(v2.scoring_func, "softmax");
  EXPECT_EQ(v2.topk_method, "greedy");
  EXPECT_EQ(v2.routed_scaling_factor, 1.0);
  EXPECT_FALSE(v2.norm_topk_prob);
  EXPECT_EQ(v2.first_k_dense_replace, 0);
  EXPECT_FALSE(v2.rope_scaling);
  EXPECT_FALSE(v2.bos_token_id);
}

TEST(ModelConfig, AModelWithoutExpertsIsDense) {
  const ModelConfig c = parse_config(with(r1(), "n_routed_experts", nullptr));

  EXPECT_EQ(c.n_routed_experts, 0);
  EXPECT_FALSE(c.is_moe_layer(10));
}

TEST(ModelConfig, ReadsTheReferencesMarks) {
  json config = without(r1(), "quantization_config");
  config["quantize"] = "w8a8_dynamic";
  config["quantization_config"] = {
      {"kv_quant_type", nullptr}, {"fa_quant_type", "FAKQuant"}, {"group_size", 0}};

  const ModelConfig c = parse_config(config);

  EXPECT_EQ(c.quantize, "w8a8_dynamic");
  EXPECT_EQ(c.fa_quant_type, "FAKQuant");
  EXPECT_FALSE(c.weight_block_size);
}

TEST(ModelConfig, EndTokensOfTheGenerationConfigComeFirst) {
  ModelConfig c = parse_config(r1());

  add_generation_config(c, R"({"eos_token_id": [7, 1, 9]})", "generation_config.json");

  EXPECT_THAT(c.eos_token_ids, ElementsAre(7, 1, 9));
  add_generation_config(c, R"({"eos_token_id": 5})", "generation_config.json");
  EXPECT_THAT(c.eos_token_ids, ElementsAre(5, 7, 1, 9));
}

TEST(ModelConfig, NamesKeyExpectationAndValue) {
  EXPECT_EQ(refusal_of_config(with(r1(), "scoring_func", "x")),
            "config.json: 'scoring_func': one of 'sigmoid', 'softmax' expected, got 'x'");
  EXPECT_EQ(refusal_of_config(with(r1(), "hidden_size", 0)),
            "config.json: 'hidden_size': an integer from 1 to 16777216 expected, got 0");
  EXPECT_EQ(refusal_of_config(without(r1(), "hidden_size"), ErrorCode::kCorrupt),
            "config.json: 'hidden_size': an integer from 1 to 16777216 expected, got nothing");
}

struct Refused {
  const char* key;
  const char* value;     // JSON
  const char* expected;  // part of the message
};

class RefusedValue : public ::testing::TestWithParam<Refused> {};

TEST_P(RefusedValue, IsNamed) {
  const std::string message = refusal_of_config(with(r1(), GetParam().key, json::parse(GetParam().value)));

  EXPECT_THAT(message, HasSubstr(GetParam().expected));
  EXPECT_THAT(message, HasSubstr("config.json"));
}

INSTANTIATE_TEST_SUITE_P(
    ModelConfig, RefusedValue,
    ::testing::Values(
        Refused{"model_type", "7", "'model_type'"},
        Refused{"hidden_act", "\"gelu\"", "'silu' expected, got 'gelu'"},
        Refused{"attention_bias", "true", "false expected, got true"},
        Refused{"num_key_value_heads", "8", "num_attention_heads (128) expected, got 8"},
        Refused{"num_hidden_layers", "-1", "got -1"}, Refused{"vocab_size", "1.5", "got 1.5"},
        Refused{"vocab_size", "18446744073709551615", "got 18446744073709551615"},
        Refused{"hidden_size", "\"7168\"", "got '7168'"}, Refused{"kv_lora_rank", "520", "a multiple of 16"},
        Refused{"qk_rope_head_dim", "63", "an even number"}, Refused{"q_lora_rank", "0", "'q_lora_rank'"},
        Refused{"n_group", "7", "a divisor of n_routed_experts (256)"},
        Refused{"n_group", "256", "groups of at least 2"}, Refused{"topk_group", "9", "at most n_group (8)"},
        Refused{"num_experts_per_tok", "257", "'num_experts_per_tok'"},
        Refused{"num_experts_per_tok", "129", "at most 128"},
        Refused{"moe_layer_freq", "0", "'moe_layer_freq'"},
        Refused{"moe_layer_freq", "[1, 1]", "'moe_layer_freq'"},
        Refused{"first_k_dense_replace", "-1", "'first_k_dense_replace'"},
        Refused{"topk_method", "\"greedy\"", "'noaux_tc' expected, got 'greedy'"},
        Refused{"scoring_func", "\"softmax\"", "got 'noaux_tc'"},
        Refused{"norm_topk_prob", "1", "true or false"}, Refused{"routed_scaling_factor", "0", "above 0"},
        Refused{"rms_norm_eps", "-1e-6", "above 0"}, Refused{"rope_theta", "\"x\"", "a finite number"},
        Refused{"bos_token_id", "129280", "'bos_token_id'"},
        Refused{"eos_token_id", "[1, 129280]", "'eos_token_id'"},
        Refused{"eos_token_id", "\"</s>\"", "'eos_token_id'"},
        Refused{"torch_dtype", "\"int8\"", "'bfloat16', 'float16', 'float32'"},
        Refused{"architectures", "[1]", "'architectures'"}, Refused{"quantize", "1", "'quantize'"},
        Refused{"quantization_config", R"({"quant_method": "awq"})", "'fp8' expected, got 'awq'"},
        Refused{"quantization_config",
                R"({"quant_method": "fp8", "fmt": "e5m2", "weight_block_size": [1, 1]})", "'e4m3' expected"},
        Refused{"quantization_config", R"({"quant_method": "fp8", "weight_block_size": [128, 0]})",
                "two positive integers expected, got [128,0]"},
        Refused{"quantization_config", R"({"kv_quant_type": "C8"})", "null expected, got 'C8'"},
        Refused{"quantization_config", R"({"fa_quant_type": "FP8"})", "'FAQuant', 'FAKQuant'"},
        Refused{"rope_scaling", R"({"type": "linear", "factor": 2})",
                "'yarn', 'longrope', 'default' expected, got 'linear'"},
        Refused{"rope_scaling", R"({"type": "yarn", "factor": 0.5})", "at least 1"},
        Refused{"rope_scaling", R"({"type": "yarn", "factor": 2, "attention_factor": 1.1})",
                "'attention_factor'"},
        Refused{"rope_scaling", R"({"type": "yarn", "factor": 2, "truncate": false})", "'truncate'"},
        Refused{"rope_scaling", R"({"type": "yarn", "factor": 2, "original_max_position_embeddings": 0})",
                "'original_max_position_embeddings'"},
        Refused{"rope_scaling", R"({"type": "yarn", "factor": 2, "beta_fast": 1, "beta_slow": 2})",
                "'beta_fast'"},
        Refused{"rope_scaling", R"({"type": "yarn", "factor": 2, "mscale": -1})", "'mscale'"}));

TEST(ModelConfig, ReadsGlm4MoeLiteAsTransformersWritesIt) {
  json glm = json::parse(R"({"model_type": "glm4_moe_lite", "vocab_size": 256, "hidden_size": 64,
    "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "moe_intermediate_size": 32,
    "mlp_layer_types": ["dense", "dense", "sparse"], "n_routed_experts": 16, "dtype": "float32",
    "rope_parameters": {"rope_theta": 1000000.0, "rope_type": "default"}})");
  const ModelConfig c = parse_config(glm);

  EXPECT_EQ(c.model_type, "glm4_moe_lite");
  EXPECT_EQ(c.scoring_func, "sigmoid");
  EXPECT_EQ(c.topk_method, "noaux_tc");
  EXPECT_TRUE(c.norm_topk_prob);
  EXPECT_EQ(c.n_group, 1);
  EXPECT_EQ(c.first_k_dense_replace, 2);
  EXPECT_EQ(c.num_experts_per_tok, 4);
  EXPECT_EQ(c.n_shared_experts, 1);
  EXPECT_EQ(c.routed_scaling_factor, 1.8);
  EXPECT_EQ(c.q_lora_rank, 768);
  EXPECT_EQ(c.qk_nope_head_dim, 192);
  EXPECT_EQ(c.v_head_dim, 256);
  EXPECT_EQ(c.rms_norm_eps, 1e-5);
  EXPECT_EQ(c.rope_theta, 1e6);
  EXPECT_EQ(parse_config(without(glm, "mlp_layer_types")).first_k_dense_replace, 1);
}

TEST(ModelConfig, LayerTypesAreDenseFirstAndAgreeWithTheOtherKey) {
  json r1_types = r1();
  r1_types["num_hidden_layers"] = 4;
  r1_types["mlp_layer_types"] = {"dense", "dense", "dense", "sparse"};
  EXPECT_EQ(parse_config(r1_types).first_k_dense_replace, 3);
  EXPECT_THAT(refusal_of_config(with(r1_types, "first_k_dense_replace", 1)), HasSubstr("'mlp_layer_types'"));
  for (const json& types : {json{"sparse", "dense", "dense", "sparse"}, json{"dense", "dense", "dense"},
                            json{"dense", "dense", "dense", "moe"}, json("dense")})
    EXPECT_THAT(refusal_of_config(with(r1_types, "mlp_layer_types", types)), HasSubstr("'mlp_layer_types'"))
        << types;
}

TEST(ModelConfig, ReadsYoutuWhichIsDenseAndTied) {
  const ModelConfig c =
      parse_config(json::parse(R"({"model_type": "youtu", "vocab_size": 256, "hidden_size": 64,
    "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4})"));
  EXPECT_EQ(c.n_routed_experts, 0);
  EXPECT_FALSE(c.is_moe_layer(2));
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_EQ(c.q_lora_rank, 1536);
  EXPECT_EQ(c.max_position_embeddings, 131072);
}

TEST(ModelConfig, ReadsMiniCpm3) {
  const ModelConfig c = parse_config(minicpm3());
  EXPECT_EQ(c.kv_lora_rank, 256);
  EXPECT_EQ(c.v_head_dim, 64);  // hidden_size / num_attention_heads
  EXPECT_EQ(c.n_routed_experts, 0);
  EXPECT_TRUE(c.tie_word_embeddings);
  EXPECT_FALSE(c.rope_interleave);
  EXPECT_EQ(c.scale_emb, 12.0);
  EXPECT_DOUBLE_EQ(c.residual_scale(), 1.4 / std::sqrt(62.0));
  EXPECT_EQ(c.logits_scaling(), 10.0);
  EXPECT_EQ(c.context_limit().tokens, 32768);
  const ModelConfig none =
      parse_config(with(with(minicpm3(), "scale_depth", nullptr), "dim_model_base", nullptr));
  EXPECT_EQ(none.residual_scale(), 1.0);
  EXPECT_EQ(none.logits_scaling(), 1.0);
  EXPECT_EQ(parse_config(r1()).residual_scale(), 1.0);
}

// skt/A.X-K1 and transformers spell its type differently.
TEST(ModelConfig, ReadsAxK1) {
  const json axk1 = without(without(with(r1(), "model_type", "AXK1"), "first_k_dense_replace"), "n_group");
  const ModelConfig c = parse_config(with(axk1, "n_routed_experts", 192));
  EXPECT_TRUE(c.post_mlp_layernorm);
  EXPECT_TRUE(c.router_bias_optional);
  EXPECT_EQ(c.first_k_dense_replace, 1);
  EXPECT_EQ(c.n_group, 8);
  EXPECT_FALSE(parse_config(r1()).post_mlp_layernorm);
  EXPECT_FALSE(parse_config(r1()).router_bias_optional);

  json transformers = without(without(axk1, "scoring_func"), "topk_method");
  transformers["model_type"] = "axk1";
  transformers["num_hidden_layers"] = 3;
  transformers["mlp_layer_types"] = {"dense", "dense", "sparse"};
  EXPECT_EQ(parse_config(transformers).first_k_dense_replace, 2);
  EXPECT_EQ(parse_config(transformers).topk_method, "noaux_tc");
}

TEST(ModelConfig, AChoiceWithoutBiasHasNoGroupsThatAreKnown) {
  const json greedy = with(with(r1(), "model_type", "AXK1"), "topk_method", "greedy");
  EXPECT_THAT(refusal_of_config(greedy), AllOf(HasSubstr("'topk_method'"), HasSubstr("n_group")));
  json one = with(greedy, "n_group", 1);
  one["topk_group"] = 1;
  EXPECT_EQ(parse_config(one).topk_method, "noaux_tc");
}

TEST(ModelConfig, AnIndexerLimitsTheContextToWhatItCannotChoose) {
  const ModelConfig c = parse_config(with(r1(), "model_type", "deepseek_v32"));
  EXPECT_EQ(c.index_topk, 2048);
  EXPECT_EQ(c.index_n_heads, 64);
  EXPECT_EQ(c.context_limit().tokens, 2048);
  EXPECT_THAT(c.context_limit().reason, HasSubstr("index_topk"));
  // Under any name, and not beyond the model's own end.
  EXPECT_EQ(parse_config(with(r1(), "index_topk", 1024)).context_limit().tokens, 1024);
  EXPECT_EQ(parse_config(with(r1(), "index_topk", 1 << 20)).context_limit().tokens, 163840);
  EXPECT_EQ(parse_config(r1()).context_limit().tokens, 163840);
  const ModelConfig glm =
      parse_config(with(with(without(without(r1(), "q_lora_rank"), "index_n_heads"), "v_head_dim", 256),
                        "model_type", "glm_moe_dsa"));
  EXPECT_EQ(glm.q_lora_rank, 2048);
  EXPECT_EQ(glm.index_n_heads, 32);
}

TEST(ModelConfig, ReadsSarvamsSpellings) {
  const json sarvam = json::parse(R"({"model_type": "sarvam_mla", "vocab_size": 256, "hidden_size": 64,
    "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4, "moe_intermediate_size": 32,
    "num_experts": 16, "num_shared_experts": 2, "num_experts_per_tok": 4, "head_dim": 576, "q_head_dim": 192,
    "rope_theta": 10000, "rope_scaling": {"type": "deepseek_yarn", "factor": 40, "mscale": 1.0,
    "mscale_all_dim": 1.0, "original_max_position_embeddings": 4096}})");
  const ModelConfig c = parse_config(sarvam);
  EXPECT_EQ(c.n_routed_experts, 16);
  EXPECT_EQ(c.n_shared_experts, 2);
  EXPECT_FALSE(c.q_lora_rank);
  EXPECT_EQ(c.n_group, 1);
  EXPECT_EQ(c.first_k_dense_replace, 1);
  ASSERT_TRUE(c.rope_scaling);
  EXPECT_EQ(c.rope_scaling->factor, 40.0);
  EXPECT_EQ(parse_config(with(sarvam, "q_lora_rank", 24)).q_lora_rank, 24);
  EXPECT_THAT(refusal_of_config(with(sarvam, "n_routed_experts", 8)),
              HasSubstr("'num_experts': the value of 'n_routed_experts'"));
}

TEST(ModelConfig, ReadsTheLanguageModelOfAModelWithImages) {
  json inner = r1();
  inner["model_type"] = "kimi_k2";
  inner.erase("eos_token_id");
  inner.erase("quantization_config");
  const json outer = {{"model_type", "kimi_k25"},
                      {"architectures", {"KimiK25ForConditionalGeneration"}},
                      {"vision_config", {{"hidden_size", 1152}}},
                      {"eos_token_id", 7},
                      {"text_config", inner}};
  const ModelConfig c = parse_config(outer);
  EXPECT_TRUE(c.nested);
  EXPECT_EQ(c.model_type, "kimi_k2");
  EXPECT_EQ(c.hidden_size, 7168);
  EXPECT_THAT(c.eos_token_ids, ElementsAre(7));
  EXPECT_FALSE(parse_config(r1()).nested);
}

TEST(ModelConfig, AnUnknownModelTypeIsTakenByItsKeys) {
  EXPECT_EQ(parse_config(with(r1(), "model_type", "gigachat3")).n_group, 8);
  // A key that nobody knows may compute anything, and what is absent has no default.
  EXPECT_THAT(refusal_of_config(with(with(r1(), "model_type", "other"), "attention_shift", 2)),
              AllOf(HasSubstr("got 'other'"), HasSubstr("not known: 'attention_shift'")));
  EXPECT_THAT(refusal_of_config(without(with(r1(), "model_type", "other"), "scoring_func")),
              HasSubstr("missing: 'scoring_func'"));
  EXPECT_THAT(
      refusal_of_config(json::parse(R"({"model_type": "llama", "hidden_size": 64, "rms_norm_eps": 1e-6})")),
      AllOf(HasSubstr("'deepseek_v3', 'kimi_k2', 'deepseek_v2', 'glm4_moe_lite'"),
            HasSubstr("'kv_lora_rank'")));
}

TEST(ModelConfig, NamesComputationsThatItDoesNotKnow) {
  EXPECT_THAT(refusal_of_config(with(with(r1(), "model_type", "other"), "zero_expert_num", 128)),
              HasSubstr("'zero_expert_num': none or 0 (experts that compute nothing"));
  EXPECT_EQ(parse_config(with(r1(), "zero_expert_num", 0)).hidden_size, 7168);
}

// Keys of meituan-longcat/LongCat-Flash-Chat: none says that a layer has two attentions.
TEST(ModelConfig, AModelWithOtherLayersIsRefusedByWhatItHas) {
  const json longcat =
      json::parse(R"({"model_type": "longcat_flash", "architectures": ["LongcatFlashForCausalLM"],
    "vocab_size": 131072, "hidden_size": 6144, "ffn_hidden_size": 12288, "expert_ffn_hidden_size": 2048,
    "num_layers": 28, "num_attention_heads": 64, "kv_lora_rank": 512, "q_lora_rank": 1536, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "v_head_dim": 128, "n_routed_experts": 512, "moe_topk": 12, "zero_expert_num": 256,
    "zero_expert_type": "identity", "mla_scale_q_lora": true, "mla_scale_kv_lora": true})");
  EXPECT_THAT(refusal_of_config(longcat),
              AllOf(HasSubstr("'longcat_flash' is not supported"), HasSubstr("two attentions"),
                    HasSubstr("zero_expert_num"), HasSubstr("mla_scale_q_lora")));
  EXPECT_THAT(refusal_of_config(with(r1(), "model_type", "axk2")), HasSubstr("gated_norm_rank"));
}

TEST(ModelConfig, ReadsMistral4) {
  const ModelConfig c = parse_config(mistral4());
  EXPECT_EQ(c.kv_lora_rank, 256);
  EXPECT_EQ(c.q_lora_rank, 1024);
  EXPECT_EQ(c.qk_nope_head_dim, 64);
  EXPECT_EQ(c.n_routed_experts, 128);
  EXPECT_EQ(c.num_experts_per_tok, 4);
  EXPECT_TRUE(c.is_moe_layer(0));
  EXPECT_EQ(c.scoring_func, "softmax");
  EXPECT_EQ(c.topk_method, "noaux_tc");
  EXPECT_TRUE(c.router_bias_optional);
  EXPECT_TRUE(c.norm_topk_prob);
  ASSERT_TRUE(c.rope_scaling);  // as its class assumes
  EXPECT_EQ(c.rope_scaling->factor, 128.0);
  EXPECT_EQ(c.rope_scaling->mscale_all_dim, 1.0);
  EXPECT_EQ(c.llama_4_scaling, (QueryScaling{0.1, 8192}));
  EXPECT_EQ(parse_config(with(mistral4(), "rope_parameters", nullptr)), c);
}

TEST(ModelConfig, Fp8MayHaveAScalePerTensor) {
  const json fp8 = {{"quant_method", "fp8"}, {"activation_scheme", "static"}, {"weight_block_size", nullptr}};
  EXPECT_FALSE(parse_config(with(mistral4(), "quantization_config", fp8)).weight_block_size);
  EXPECT_THAT(refusal_of_config(with(mistral4(), "quantization_config", {{"quant_method", "fp8"}}),
                                ErrorCode::kCorrupt),
              HasSubstr("two positive integers"));
}

TEST(ModelConfig, RefusesWhatIsNotAnObject) {
  for (const char* text : {"", "[]", "7", "{", "{\"a\":1e999}", "{} {}", "{\"a\":1,\"a\":2}"})
    EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { parse_model_config(text, "config.json"); }),
                HasSubstr("config.json: "))
        << text;
  EXPECT_THAT(refusal_of_config(with(r1(), "rope_scaling", 7), ErrorCode::kCorrupt),
              HasSubstr("rope_scaling"));
  EXPECT_THAT(refusal_of_config(with(r1(), "rope_scaling", {{"factor", 2}}), ErrorCode::kCorrupt),
              HasSubstr("'type'"));
}

TEST(ModelConfig, GroupsThatTheGateNeedsMustBeThere) {
  const json v2 = without(with(v2_lite(), "topk_method", "group_limited_greedy"), "topk_group");

  EXPECT_THAT(refusal_of_config(v2, ErrorCode::kCorrupt), HasSubstr("'topk_group'"));
}

TEST(ModelConfig, ReadsTheConfigsOfTheReference) {
  for (const char* name : {"a_mindie_m4_static", "b_ascendv1_m4_static", "c_ascendv1_dynamic_noanti",
                           "e_ascendv1_m6_static", "f_ascendv1_m4_mtpfloat"}) {
    const std::string path =
        std::string(LATENT8_SOURCE_DIR "/tests/data/golden/msmodelslim/") + name + "/config.json";
    const ModelConfig c = parse_model_config(read_file(path), path);

    EXPECT_EQ(c.model_type, "deepseek_v3") << name;
    EXPECT_EQ(c.quantize, "w8a8_dynamic") << name;
    EXPECT_EQ(c.fa_quant_type, "FAKQuant") << name;
  }
}

}  // namespace
}  // namespace latent8
