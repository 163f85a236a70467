#pragma once
// Orthogonal rotations between the weights of a model, which spread outliers of its activations and leave the
// model the same function: of the hidden state, of q_a_proj's output and of each head's values. Norms keep
// lengths, not directions, so their weights move into the linears behind them first. Nothing is rotated when
// the model runs. Source: docs/format.md, "The reference's rotations", whose matrices these are.

#include <array>
#include <cstdint>
#include <optional>
#include <span>

#include "base/views.h"
#include "formats/layer_schema.h"

namespace latent8 {

// An orthogonal matrix R of Hadamard blocks of 32 channels, all with the same signs: x_i times signs[i mod
// 32], then H_32 / sqrt(32); the first blocks may be identities, and what is left behind the last whole block
// is one. Shifted: the same twice, channels moved on by 16 between, round the end, so that blocks mix with
// their neighbours.
class BlockRotation {
 public:
  static constexpr std::int64_t kBlock = 32;
  using Signs = std::array<float, kBlock>;  // 1 or -1

  BlockRotation(std::int64_t size, const Signs& signs, std::int64_t identity_blocks, bool shifted)
      : size_(size), signs_(signs), identity_blocks_(identity_blocks), shifted_(shifted) {}

  std::int64_t size() const { return size_; }
  // Channels that are computed together.
  std::int64_t unit() const { return shifted_ ? size_ : kBlock; }
  // X := R^T X for rows [first, first + count) of X: x [count, width], contiguous. With width 1 that is x :=
  // x R for a row vector. REQUIRES: whole units, or up to the last channel.
  void turn(float* x, std::int64_t first, std::int64_t count, std::int64_t width) const;

 private:
  void turn_blocks(float* x, std::int64_t first, std::int64_t count, std::int64_t width) const;

  std::int64_t size_;
  Signs signs_;
  std::int64_t identity_blocks_;
  bool shifted_;
};

// How a tensor changes: W' = R_rows^T W diag(norms) R_columns, with the norms of its schema that move. A bias
// is a row. Or it is the weight of a norm that moves, and becomes ones.
struct TensorRotation {
  ChannelSpace rows = ChannelSpace::kNone, columns = ChannelSpace::kNone;
  bool becomes_ones = false;
};

// none: the tensor stays as it is.
std::optional<TensorRotation> rotation_of(const ModelSchema::Found& tensor);

class ModelRotation {
 public:
  // Throws: Error{kUnsupported} for a head that is the embedding table: the final norm's weight would move
  // into both; and for a norm whose output is added to the hidden state, where it cannot be rotated.
  explicit ModelRotation(const ModelConfig& config);
  ModelRotation(const ModelRotation&) = delete;
  ModelRotation& operator=(const ModelRotation&) = delete;

  // Channels of the space; of kValues and kKvB, those of one head.
  std::int64_t period(ChannelSpace space) const;
  // Rows that turn_rows() needs at once.
  std::int64_t row_unit(ChannelSpace rows) const;
  // Rows [first, first + x.rows) of a tensor, in place. REQUIRES: whole units, or up to the last row;
  // contiguous rows.
  void turn_rows(ChannelSpace rows, std::int64_t first, Mat<float> x) const;
  void turn_columns(ChannelSpace columns, std::span<float> row) const;

 private:
  struct Part {
    std::int64_t size;
    const BlockRotation* rotation;  // nullptr: none
  };
  std::span<const Part> parts(ChannelSpace space) const;

  BlockRotation hidden_, values_, q_lora_;
  std::array<Part, 1> of_hidden_, of_values_, of_q_lora_;
  std::array<Part, 2> of_kv_b_;
};

}  // namespace latent8
