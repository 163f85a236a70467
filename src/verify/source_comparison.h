#pragma once
// Compares dequantised weights with those of the float checkpoint they were made of. Smoothing and folds of
// the latent change weights without changing the model; what they multiplied is found again from the norms
// and from kv_b_proj, which stay float, and taken out. Source: docs/format.md, "The reference's smoothing";
// docs/numerics.md, "Folds of the latent".

#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "source/tensor_source.h"
#include "verify/findings.h"
#include "verify/folder.h"
#include "verify/layout.h"

namespace latent8 {

// What was folded into the weights of one layer: stored = source * row factor * column factor.
struct LayerFolds {
  // Norm -> factor per channel of what multiplies its output; NaN: the channel is always 0, and may be
  // anything.
  std::map<std::string, std::vector<float>> columns;
  std::vector<float> kv_b_rows;  // [kv_b rows]; empty: 1
  // The latent is rotated: by latent8 (latent_fold.h), which can be repeated, or by somebody else.
  enum class Rotation { kNone, kOurs, kOther };
  Rotation rotation = Rotation::kNone;
  std::vector<float> source_norm, stored_norm;  // rotated: kv_a_layernorm [rank]
  double product_error = 0.0;  // kOther: rms of kv_b_proj * kv_a_proj minus the source's, relative

  // kOurs: a row of the source's kv_b_proj [rank] in the stored latent's basis.
  void to_stored_basis(std::span<float> row) const;
};

struct TensorError {
  enum class How { kNotCompared, kElements, kProduct, kNorm };
  How how = How::kNotCompared;
  double difference = 0.0, size = 0.0;  // sums of squares
  double steps = 0.0;                   // int8: rms of the difference over the scale
};

// Whether the sizes of both models are the same; a problem if not.
bool same_model(const ModelConfig& stored, const ModelConfig& source, Findings& findings);

// REQUIRES: same_model().
class SourceComparison {
 public:
  // Both must outlive this object. Finds out whether the hidden state is in another basis than the source's.
  SourceComparison(const VerifyFolder& folder, const TensorSource& source);

  bool hidden_rotated() const { return hidden_rotated_; }

  // `modules`: those of one layer, or those outside the layers.
  LayerFolds folds(std::int64_t layer, const std::vector<ExpectedModule>& modules, Findings& findings) const;
  // Throws nothing: an unreadable source is a problem.
  TensorError compare(const ExpectedModule& module, const LayerFolds& folds,
                      Findings& findings) const noexcept;

 private:
  struct Factors;

  void norm_factors(const ExpectedModule& module, LayerFolds& folds, Findings& findings) const;
  void latent_factors(const ExpectedModule& kv_b, const ExpectedModule& kv_a, LayerFolds& folds,
                      Findings& findings) const;
  double product_error(const ExpectedModule& kv_b, const ExpectedModule& kv_a, const LayerFolds& folds) const;
  void check_record(std::int64_t layer, const LayerFolds& folds, Findings& findings) const;
  Factors factors(const ExpectedModule& module, const LayerFolds& folds) const;
  TensorError compare_rows(const ExpectedModule& module, const LayerFolds& folds, Findings& findings) const;
  bool is_stored_as_is(const ExpectedModule& module, const LayerFolds& folds) const;

  const VerifyFolder& folder_;
  const TensorSource& source_;
  bool hidden_rotated_ = false;
};

}  // namespace latent8
