#include "source/model_rotation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <string_view>

#include "base/aligned_buffer.h"
#include "support/errors.h"
#include "support/kernels.h"

namespace latent8 {
namespace {

using Dense = std::vector<std::vector<double>>;

// torch.manual_seed(42), then torch.randint(0, 2, (32,)) three times.
constexpr std::string_view kHidden = "01000100010000101110101111111100";
constexpr std::string_view kValues = "11101000001111101101010110000000";
constexpr std::string_view kQLora = "01101111010111010101001011111111";

Dense product(const Dense& a, const Dense& b) {
  Dense out(a.size(), std::vector<double>(a.size()));
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t k = 0; k < a.size(); ++k)
      for (std::size_t j = 0; j < a.size(); ++j) out[i][j] += a[i][k] * b[k][j];
  return out;
}

// The matrix as format.md says it: blocks of diag(signs) H / sqrt(32) on the diagonal; shifted: R P R, where
// column j of P is column j - 16 of the identity.
Dense dense(std::size_t size, std::string_view bits, std::size_t identity_blocks, bool shifted) {
  Dense r(size, std::vector<double>(size));
  for (std::size_t i = 0; i < size; ++i)
    for (std::size_t j = 0; j < size; ++j) {
      const bool whole = i / 32 >= identity_blocks && i / 32 < size / 32;
      if (!whole)
        r[i][j] = i == j ? 1.0 : 0.0;
      else if (i / 32 == j / 32)
        r[i][j] = (bits[i % 32] == '1' ? 1.0 : -1.0) * (std::popcount((i & j) % 32) % 2 == 0 ? 1.0 : -1.0) /
                  std::sqrt(32.0);
    }
  if (!shifted) return r;
  Dense p(size, std::vector<double>(size));
  for (std::size_t j = 0; j < size; ++j) p[(j + size - 16) % size][j] = 1.0;
  return product(product(r, p), r);
}

std::vector<float> times(const std::vector<float>& row, const Dense& matrix) {
  std::vector<float> out(row.size());
  for (std::size_t j = 0; j < row.size(); ++j) {
    double sum = 0.0;
    for (std::size_t i = 0; i < row.size(); ++i) sum += double{row[i]} * matrix[i][j];
    out[j] = static_cast<float>(sum);
  }
  return out;
}

void expect_near(std::span<const float> got, std::span<const float> want) {
  ASSERT_EQ(got.size(), want.size());
  for (std::size_t i = 0; i < got.size(); ++i) ASSERT_NEAR(got[i], want[i], 2e-6F) << i;
}

ModelConfig config(std::int64_t hidden = 128, std::int64_t values = 64, std::int64_t q_lora = 160) {
  ModelConfig c;
  c.hidden_size = hidden;
  c.v_head_dim = values;
  c.q_lora_rank = q_lora;
  c.qk_nope_head_dim = 48;
  c.num_attention_heads = 3;
  return c;
}

TEST(ModelRotation, HasTheMatricesOfTheReference) {
  const ModelRotation rotation(config());
  const std::vector<float> x = normal_floats(160, 1);
  const auto expect = [&](ChannelSpace space, const Dense& matrix) {
    std::vector<float> row(x.begin(), x.begin() + static_cast<std::ptrdiff_t>(matrix.size()));
    const std::vector<float> want = times(row, matrix);
    rotation.turn_columns(space, row);
    expect_near(row, want);
  };
  expect(ChannelSpace::kHidden, dense(128, kHidden, 2, false));
  expect(ChannelSpace::kValues, dense(64, kValues, 0, true));
  expect(ChannelSpace::kQLora, dense(160, kQLora, 2, true));
}

TEST(ModelRotation, LeavesChannelsBehindTheLastBlock) {
  const ModelRotation rotation(config(136, 64, 136));
  for (const bool shifted : {false, true}) {
    std::vector<float> row = normal_floats(136, 2);
    const std::vector<float> want = times(row, dense(136, shifted ? kQLora : kHidden, 2, shifted));
    rotation.turn_columns(shifted ? ChannelSpace::kQLora : ChannelSpace::kHidden, row);
    expect_near(row, want);
  }
}

TEST(ModelRotation, TurnsEveryHeadAndBothHalvesOfAnInput) {
  const ModelRotation rotation(config());
  for (const auto& [space, period, count] :
       {std::tuple(ChannelSpace::kValues, 64, 3), std::tuple(ChannelSpace::kHidden, 128, 2)}) {
    std::vector<float> all = normal_floats(period * count, 3), parts = all;
    rotation.turn_columns(space, all);
    for (int i = 0; i < count; ++i)
      rotation.turn_columns(space, std::span(parts).subspan(static_cast<std::size_t>(i * period),
                                                            static_cast<std::size_t>(period)));
    EXPECT_EQ(all, parts);
  }
}

// Rows are turned by the transpose of what turns columns: a column of the tensor is turned as a row is.
TEST(ModelRotation, TurnsRowsAsColumns) {
  const ModelRotation rotation(config());
  constexpr std::int64_t kCols = 5;
  for (const auto& [space, rows] : {std::tuple(ChannelSpace::kHidden, std::int64_t{128}),
                                    std::tuple(ChannelSpace::kQLora, std::int64_t{160})}) {
    Matrix<float> x(rows, kCols);
    const std::vector<float> values = normal_floats(rows * kCols, 4);
    std::copy(values.begin(), values.end(), x.row(0));
    Matrix<float> whole(rows, kCols);
    std::copy(values.begin(), values.end(), whole.row(0));
    rotation.turn_rows(space, 0, whole.view());
    for (std::int64_t c = 0; c < kCols; ++c) {
      std::vector<float> column, turned;
      for (std::int64_t r = 0; r < rows; ++r) {
        column.push_back(x.row(r)[c]);
        turned.push_back(whole.row(r)[c]);
      }
      rotation.turn_columns(space, column);
      expect_near(turned, column);
    }
    const std::int64_t unit = rotation.row_unit(space);
    for (std::int64_t first = 0; first < rows; first += unit)
      rotation.turn_rows(space, first, x.view().row_range(first, first + unit));
    for (std::int64_t r = 0; r < rows; ++r) expect_near(x.view().row_span(r), whole.view().row_span(r));
  }
}

TEST(ModelRotation, TurnsTheValueRowsOfEachHeadOfKvB) {
  const ModelRotation rotation(config());
  ASSERT_EQ(rotation.row_unit(ChannelSpace::kKvB), 48 + 64);
  const std::vector<float> before = normal_floats(3 * (48 + 64), 5);
  std::vector<float> x = before;  // one column
  rotation.turn_rows(ChannelSpace::kKvB, 0, Mat<float>(x.data(), 3 * (48 + 64), 1));
  for (std::size_t head = 0; head < 3; ++head) {
    const std::size_t at = head * (48 + 64);
    expect_near(std::span(x).subspan(at, 48), std::span(before).subspan(at, 48));
    std::vector<float> values(before.begin() + static_cast<std::ptrdiff_t>(at + 48),
                              before.begin() + static_cast<std::ptrdiff_t>(at + 48 + 64));
    rotation.turn_columns(ChannelSpace::kValues, values);
    expect_near(std::span(x).subspan(at + 48, 64), values);
  }
}

TEST(ModelRotation, RefusesAHeadThatIsTheEmbeddingTable) {
  ModelConfig c = config();
  c.tie_word_embeddings = true;
  EXPECT_THAT(error_of(ErrorCode::kUnsupported, [&] { ModelRotation rotation(c); }),
              testing::HasSubstr("tie_word_embeddings"));
}

TEST(ModelRotation, RefusesANormBehindTheExperts) {
  ModelConfig c = config();
  c.post_mlp_layernorm = true;
  EXPECT_THAT(error_of(ErrorCode::kUnsupported, [&] { ModelRotation rotation(c); }),
              testing::HasSubstr("post_mlp_layernorm"));
}

TEST(ModelRotation, KnowsWhichTensorsChange) {
  ModelConfig c = config();
  c.num_hidden_layers = 5;
  c.num_nextn_predict_layers = 1;
  c.n_routed_experts = 8;
  c.moe_layer_freq = 1;
  c.first_k_dense_replace = 1;
  c.moe_intermediate_size = c.intermediate_size = 32;
  c.topk_method = "noaux_tc";
  const ModelSchema schema(c);
  const auto rotation = [&](const char* name) {
    const auto found = schema.find(name);
    return found ? rotation_of(*found) : std::nullopt;
  };
  for (const char* name : {"model.norm.weight", "model.layers.3.input_layernorm.weight"})
    EXPECT_TRUE(rotation(name) && rotation(name)->becomes_ones) << name;
  for (const char* name :
       {"model.layers.3.self_attn.kv_a_layernorm.weight", "model.layers.3.self_attn.q_b_proj.bias",
        "model.layers.3.mlp.gate.e_score_correction_bias", "model.layers.3.indexer.q_b_proj.weight"})
    EXPECT_FALSE(rotation(name)) << name;
  for (const char* name :
       {"model.embed_tokens.weight", "lm_head.weight", "model.layers.5.shared_head.head.weight",
        "model.layers.3.mlp.experts.7.down_proj.weight", "model.layers.3.mlp.gate.weight"})
    EXPECT_TRUE(rotation(name) && !rotation(name)->becomes_ones) << name;
}

}  // namespace
}  // namespace latent8
