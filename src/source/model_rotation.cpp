#include "source/model_rotation.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <type_traits>

#include "base/check.h"
#include "base/error.h"

namespace latent8 {
namespace {

using Space = ChannelSpace;

constexpr std::int64_t kShift = 16;
constexpr std::int64_t kIdentityBlocks = 2;  // of the hidden state and of q_a_proj's output

constexpr std::int64_t kBlock = BlockRotation::kBlock;

// x [32, width]: X := H diag(signs) X / sqrt(32). Width: an integer, or a constant.
template <class Width>
void turn_block(const BlockRotation::Signs& signs, float* x, Width width) {
  for (std::int64_t i = 0; i < kBlock; ++i)
    for (std::int64_t w = 0; w < width; ++w) x[i * width + w] *= signs[static_cast<std::size_t>(i)];
  for (std::int64_t half = 1; half < kBlock; half *= 2)
    for (std::int64_t i = 0; i < kBlock; i += 2 * half)
      for (std::int64_t j = i; j < i + half; ++j) {
        float *upper = x + j * width, *lower = x + (j + half) * width;
        for (std::int64_t w = 0; w < width; ++w) {
          const float a = upper[w], b = lower[w];
          upper[w] = a + b;
          lower[w] = a - b;
        }
      }
  const float norm = 1.0F / std::sqrt(static_cast<float>(kBlock));
  for (std::int64_t i = 0; i < kBlock * width; ++i) x[i] *= norm;
}

// The n-th draw of torch.randint(0, 2, (32,)) behind torch.manual_seed(42), from 0: the lowest bits of the
// same generator.
BlockRotation::Signs drawn_signs(int n) {
  std::mt19937 bits(42);
  bits.discard(static_cast<unsigned long long>(n * kBlock));
  BlockRotation::Signs out{};
  for (float& sign : out) sign = (bits() & 1) != 0 ? 1.0F : -1.0F;
  return out;
}

}  // namespace

void BlockRotation::turn(float* x, std::int64_t first, std::int64_t count, std::int64_t width) const {
  LATENT8_CHECK(first % unit() == 0 && (count % unit() == 0 || first + count == size_));
  turn_blocks(x, first, count, width);
  if (!shifted_) return;
  std::rotate(x, x + (size_ - kShift) * width, x + size_ * width);
  turn_blocks(x, first, count, width);
}

void BlockRotation::turn_blocks(float* x, std::int64_t first, std::int64_t count, std::int64_t width) const {
  for (std::int64_t row = 0; row + kBlock <= count; row += kBlock) {
    if ((first + row) / kBlock < identity_blocks_) continue;
    if (width == 1)
      turn_block(signs_, x + row, std::integral_constant<std::int64_t, 1>());
    else
      turn_block(signs_, x + row * width, width);
  }
}

std::optional<TensorRotation> rotation_of(const ModelSchema::Found& found) {
  const TensorSchema& tensor = *found.tensor;
  if (found.suffix == ".bias" && tensor.row_space != Space::kNone)
    return TensorRotation{.columns = tensor.row_space};
  if (found.suffix != ".weight") return std::nullopt;
  if (tensor.moves) return TensorRotation{.becomes_ones = true};
  if (tensor.row_space == Space::kNone && tensor.column_space == Space::kNone) return std::nullopt;
  return TensorRotation{.rows = tensor.row_space, .columns = tensor.column_space};
}

ModelRotation::ModelRotation(const ModelConfig& config)
    : hidden_(config.hidden_size, drawn_signs(0), kIdentityBlocks, /*shifted=*/false),
      values_(config.v_head_dim, drawn_signs(1), 0, /*shifted=*/true),
      q_lora_(config.q_lora_rank.value_or(0), drawn_signs(2), kIdentityBlocks, /*shifted=*/true),
      of_hidden_{{{hidden_.size(), &hidden_}}},
      of_values_{{{values_.size(), &values_}}},
      of_q_lora_{{{q_lora_.size(), &q_lora_}}},
      of_kv_b_{{{config.qk_nope_head_dim, nullptr}, {values_.size(), &values_}}} {
  if (config.tie_word_embeddings)
    throw_error(ErrorCode::kUnsupported,
                "config.json 'tie_word_embeddings': false expected for rotations of the model, got true: the "
                "final norm's weight moves into lm_head; leave them out (--rot)");
  if (config.post_mlp_layernorm)
    throw_error(ErrorCode::kUnsupported,
                "config.json 'model_type': '{}': rotations of the model (--rot) expected to pass what the "
                "experts add up to, but post_mlp_layernorm stands behind it; leave them out",
                config.model_type);
}

std::span<const ModelRotation::Part> ModelRotation::parts(ChannelSpace space) const {
  switch (space) {
    case Space::kHidden:
      return of_hidden_;
    case Space::kQLora:
      return of_q_lora_;
    case Space::kValues:
      return of_values_;
    case Space::kKvB:
      return of_kv_b_;
    case Space::kNone:
      break;
  }
  return {};
}

std::int64_t ModelRotation::period(ChannelSpace space) const {
  std::int64_t sum = 0;
  for (const Part& part : parts(space)) sum += part.size;
  return std::max<std::int64_t>(sum, 1);
}

std::int64_t ModelRotation::row_unit(ChannelSpace rows) const {
  const std::span<const Part> all = parts(rows);
  return all.size() == 1 ? all[0].rotation->unit() : period(rows);
}

void ModelRotation::turn_rows(ChannelSpace rows, std::int64_t first, Mat<float> x) const {
  const std::span<const Part> all = parts(rows);
  if (all.size() == 1) return all[0].rotation->turn(x.data, first, x.rows, x.cols);
  for (std::int64_t row = 0; row < x.rows && !all.empty();)
    for (const Part& part : all) {
      if (part.rotation != nullptr) part.rotation->turn(x.row(row), 0, part.size, x.cols);
      row += part.size;
    }
}

void ModelRotation::turn_columns(ChannelSpace columns, std::span<float> row) const {
  const std::span<const Part> all = parts(columns);
  for (std::size_t at = 0; at < row.size() && !all.empty();)
    for (const Part& part : all) {
      if (part.rotation != nullptr) part.rotation->turn(row.data() + at, 0, part.size, 1);
      at += static_cast<std::size_t>(part.size);
    }
}

}  // namespace latent8
