// What the msmodelslim mode does with batches, other models and options.

#include <gmock/gmock.h>

#include <bit>
#include <cmath>

#include "quant/compat/attention_forward.h"
#include "quant/compat/support.h"
#include "support/errors.h"
#include "support/small_model.h"

namespace latent8::compat {
namespace {

using testing::Each;
using testing::HasSubstr;

const std::vector<std::int32_t> kText{5, 900, 17, 2200, 64, 3001, 8, 411};

TokenBatch batch_of(const std::vector<std::vector<std::int32_t>>& sequences) {
  TokenBatch batch;
  batch.sequences = static_cast<std::int64_t>(sequences.size());
  for (const auto& ids : sequences)
    batch.length = std::max(batch.length, static_cast<std::int64_t>(ids.size()));
  for (const auto& ids : sequences) {
    const std::int64_t pads = batch.length - static_cast<std::int64_t>(ids.size());
    batch.pads.push_back(pads);
    batch.ids.insert(batch.ids.end(), static_cast<std::size_t>(pads), 1);
    batch.ids.insert(batch.ids.end(), ids.begin(), ids.end());
    for (std::int64_t p = 0; p < batch.length; ++p) batch.positions.push_back(static_cast<std::int32_t>(p));
  }
  return batch;
}

// Layer 0 of models/tiny-r1.
class CompatAttention : public testing::Test {
 protected:
  Matrix<float> run(const TokenBatch& batch) {
    Matrix<float> x(batch.tokens(), source_.config().hidden_size);
    for (std::int64_t t = 0; t < x.rows(); ++t)
      std::copy_n(table_.row(batch.ids[static_cast<std::size_t>(t)]), x.cols(), x.row(t));
    forward_.run(weights_, batch, [](Group, Mat<float>) {}, x.view());
    return x;
  }

  Checkpoint source_ = Checkpoint::open(kTinyR1);
  SourceReader files_{source_};
  TensorReader reader_{files_, DType::kBf16};
  Matrix<float> table_ = reader_.matrix("model.embed_tokens.weight");
  AttentionTensors weights_ = reader_.attention(0);
  ThreadPool pool_{1};
  OpContext ctx_{pool_};
  AttentionForward forward_{source_.config(), ctx_};
};

TEST_F(CompatAttention, TokensDoNotSeePads) {
  std::vector<std::int32_t> longer = kText;
  longer.insert(longer.begin(), {3, 4, 6});

  const Matrix<float> alone = run(batch_of({kText})), padded = run(batch_of({longer, kText}));

  for (std::int64_t t = 0; t < alone.rows(); ++t)
    for (std::int64_t c = 0; c < alone.cols(); ++c)
      ASSERT_NEAR(padded.row(padded.rows() - alone.rows() + t)[c], alone.row(t)[c], 2e-5F) << t << " " << c;
}

TEST_F(CompatAttention, PadsSeeEveryKeyOfTheirSequenceAlike) {
  std::vector<std::int32_t> longer = kText;
  longer.insert(longer.begin(), {3, 4, 6});
  const TokenBatch batch = batch_of({longer, kText});

  const Matrix<float> x = run(batch);

  // Three pads: equal inputs and equal attention.
  for (std::int64_t c = 0; c < x.cols(); ++c) {
    ASSERT_EQ(x.row(batch.length)[c], x.row(batch.length + 1)[c]);
    ASSERT_EQ(x.row(batch.length)[c], x.row(batch.length + 2)[c]);
  }
}

TEST_F(CompatAttention, InABatchARowOfTheQueryMixesHeads) {
  const auto q_ranges = [&](const TokenBatch& batch) {
    run(batch);
    std::vector<float> amax;
    for (const Range range : forward_.fa_ranges(DType::kBf16, weights_, batch).q)
      amax.push_back(range.amax());
    return amax;
  };

  const std::vector<float> heads = q_ranges(batch_of({kText}));
  const std::vector<float> mixed = q_ranges(batch_of({kText, kText, kText, kText}));

  // Four heads and four sequences: row j holds all heads of sequence j.
  EXPECT_NE(heads[0], heads[1]);
  EXPECT_THAT(mixed, Each(mixed[0]));
}

class CompatRun : public CompatTest {
 protected:
  // tiny-r1 in a folder of its own, with a changed config.json.
  template <class Change>
  std::filesystem::path model(const std::string& name, const Change& change) {
    const std::filesystem::path dir = dir_ / name;
    std::filesystem::create_directories(dir);
    for (const char* file : {"model.safetensors", "tokenizer.json", "tokenizer_config.json"})
      std::filesystem::create_symlink(kTinyR1 / file, dir / file);
    auto config = nlohmann::ordered_json::parse(read_file(kTinyR1 / "config.json"));
    change(config);
    std::ofstream(dir / "config.json") << config.dump(2);
    return dir;
  }
  std::string refusal(const QuantizeOptions& o, ErrorCode code) {
    const std::string message = error_of(code, [&] { quantize(o); });
    EXPECT_FALSE(std::filesystem::exists(o.out));
    EXPECT_FALSE(std::filesystem::exists(o.out.string() + ".partial"));
    return message;
  }
};

TEST_F(CompatRun, ALayerOfTheReferencesListLacksItsScalesAndNothingElse) {
  QuantizeOptions o = options(kRunC);
  o.model = model("DeepSeek-r1", [](auto&) {});
  const QuantizeResult result = quantize(o);
  o.model = kTinyR1;
  o.out = dir_ / "all";
  Given all;
  all.float_layers.emplace();
  quantize_as_msmodelslim(o, all);

  const Checkpoint listed = Checkpoint::open(dir_ / "out"), whole = Checkpoint::open(o.out);
  EXPECT_EQ(result.fa_layers, 2);
  EXPECT_THAT(result.warnings, testing::Contains(HasSubstr("layers 0, 1, 2")));
  for (const auto& [name, view] : whole.tensors()) {
    const bool left_out = name.find(".fa_") != std::string::npos && name < "model.layers.3";
    ASSERT_EQ(listed.find(name) == nullptr, left_out) << name;
    if (!left_out) {
      EXPECT_TRUE(std::ranges::equal(listed.get(name).bytes, view.bytes)) << name;
    }
  }
}

TEST_F(CompatRun, AHalfPrecisionModelStoresTheBitsOfItsFactors) {
  QuantizeOptions o = options(kRunA);
  o.model = model("half", [](auto& config) { config["torch_dtype"] = "float16"; });
  quantize(o);

  const Checkpoint out = Checkpoint::open(o.out);
  const std::string name = "model.layers.0.self_attn.q_a_proj.";
  const TensorView& factors = out.get(name + "deq_scale");
  ASSERT_EQ(factors.dtype, DType::kI64);
  EXPECT_EQ(out.get(name + "input_scale").dtype, DType::kF16);
  EXPECT_EQ(out.get("model.layers.0.input_layernorm.bias").dtype, DType::kF32);
  std::int64_t bits = 0;
  std::memcpy(&bits, factors.bytes.data(), sizeof(bits));
  const float input = values_of(out.get(name + "input_scale"))[0],
              weight = values_of(out.get(name + "weight_scale"))[0];
  EXPECT_EQ(bits, std::bit_cast<std::int32_t>(to_float(to_fp16(input * weight))));
}

TEST_F(CompatRun, BatchesChangeTheScalesOfTheLatentOnly) {
  QuantizeOptions o = options(kRunC);
  Given all;
  all.float_layers.emplace();
  quantize_as_msmodelslim(o, all);
  o.batch_size = 4;
  o.out = dir_ / "batches";
  quantize_as_msmodelslim(o, all);

  const Checkpoint one = Checkpoint::open(dir_ / "out"), four = Checkpoint::open(o.out);
  for (const auto& [name, view] : one.tensors()) {
    const bool scale = name.find(".fa_") != std::string::npos && name.ends_with(".scale");
    if (!scale) {
      EXPECT_TRUE(std::ranges::equal(four.get(name).bytes, view.bytes)) << name;
    }
  }
  EXPECT_NE(values_of(one.get("model.layers.1.self_attn.fa_q.scale")),
            values_of(four.get("model.layers.1.self_attn.fa_q.scale")));
}

TEST_F(CompatRun, AnEarlierResultIsOverwritten) {
  QuantizeOptions o = options(kRunA);
  quantize_as_msmodelslim(o, given(kRunA));
  o.overwrite = true;
  o.fa_quant = false;

  quantize_as_msmodelslim(o, given(kRunA));

  EXPECT_THAT(read_file(o.out / "config.json"), HasSubstr("\"fa_quant_type\": null"));
  EXPECT_EQ(Checkpoint::open(o.out).find("model.layers.0.self_attn.fa_k.scale"), nullptr);
}

TEST_F(CompatRun, FewerLayersAreTheFirstOnes) {
  QuantizeOptions o = options(kRunC);
  o.layer_count = 2;

  const QuantizeResult result = quantize_as_msmodelslim(o, given(kRunC));

  const auto names = SafetensorsFile(o.out / "quant_model_weight_w8a8_dynamic-00001-of-00001.safetensors");
  EXPECT_EQ(result.layers, 2);
  EXPECT_TRUE(names.tensors().contains("model.layers.1.mlp.gate.weight"));
  EXPECT_TRUE(names.tensors().contains("lm_head.weight"));
  EXPECT_FALSE(names.tensors().contains("model.layers.2.mlp.gate.weight"));
}

TEST_F(CompatRun, Fp8BlocksBecomeTheModelsType) {
  QuantizeOptions o = options(kRunC);
  o.model = small_model("v3-fp8-small");
  o.fa_quant = false;  // no tokenizer there: nothing may be calibrated
  quantize_as_msmodelslim(o,
                          {.float_layers = {}, .statistics = [](std::int64_t) { return LayerStatistics{}; }});

  const Checkpoint source = Checkpoint::open(o.model), out = Checkpoint::open(o.out);
  const std::string name = "model.layers.0.self_attn.kv_b_proj.weight";
  const Matrix<float> rounded = TensorReader(SourceReader(source), DType::kBf16).matrix(name);
  ASSERT_EQ(source.get(name).dtype, DType::kF8E4M3);
  EXPECT_EQ(out.get(name).dtype, DType::kBf16);
  EXPECT_EQ(values_of(out.get(name)),
            std::vector(rounded.row(0), rounded.row(0) + rounded.rows() * rounded.cols()));
  EXPECT_THAT(read_file(o.out / "config.json"), testing::Not(HasSubstr("quantization_config")));
}

TEST_F(CompatRun, RefusesWhatTheReferencesBytesAreNotKnownFor) {
  QuantizeOptions mix = options(kRunA), weights = options(kRunA), q_proj = options(kRunA),
                  batches = options(kRunA), layers = options(kRunA), type = options(kRunA);
  mix.mtp = QuantizeOptions::Mtp::kMix;
  weights.weights = QuantizeOptions::Weights::kFloat;
  q_proj.model = small_model("v2-lite-small");
  batches.batch_size = 17;
  layers.layer_count = 6;
  type.model = model("wide", [](auto& config) { config["torch_dtype"] = "float32"; });

  EXPECT_THAT(refusal(mix, ErrorCode::kUnsupported), HasSubstr("'mix'"));
  EXPECT_THAT(refusal(weights, ErrorCode::kUnsupported), HasSubstr("float weights"));
  EXPECT_THAT(refusal(q_proj, ErrorCode::kUnsupported), HasSubstr("'q_lora_rank'"));
  EXPECT_THAT(refusal(batches, ErrorCode::kInvalidArgument),
              HasSubstr("prompts per call: 1 to 16 expected, got 17"));
  EXPECT_THAT(refusal(layers, ErrorCode::kInvalidArgument), HasSubstr("0 (all) to 5 expected"));
  EXPECT_THAT(refusal(type, ErrorCode::kUnsupported), HasSubstr("'torch_dtype'"));
}

}  // namespace
}  // namespace latent8::compat
