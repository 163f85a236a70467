#pragma once
// Checks of the tensors of one module: presence, type, shape and values. Source: docs/format.md, "Types of
// modules" to "Scales of the int8 cache".

#include <cstdint>
#include <string>
#include <vector>

#include "verify/findings.h"
#include "verify/folder.h"
#include "verify/layout.h"

namespace latent8 {

// Linears whose rows use little of the range of codes. Unusual, as a scale is the row's largest weight / 127,
// or less where it was chosen by error.
struct WeakRows {
  std::int64_t rows = 0, tensors = 0;
  std::string example;  // a tensor's name
};

// Checks modules of `folder`, whose config and description are there. Thread-safety: one per thread.
class ModuleChecker {
 public:
  explicit ModuleChecker(const VerifyFolder& folder) : folder_(folder) {}

  void check(const ExpectedModule& module);
  // The fa_* tensors of a layer, if its description lists any.
  void check_fa(std::int64_t layer);

  Findings findings;
  WeakRows weak;
  std::int64_t bytes = 0;  // looked at

 private:
  struct Want {
    QuantType type;
    std::vector<DType> dtypes;
    std::vector<std::int64_t> shape;
  };
  // Of the rows of an int8 matrix.
  struct Rows {
    std::vector<std::int64_t> sum;
    std::vector<float> scale;  // empty if there is none
  };

  // The tensor, or nullptr after a problem.
  const TensorView* need(const std::string& name, const Want& want);
  // The same, but no problem if it is neither listed nor there.
  const TensorView* maybe(const std::string& name, const Want& want);
  std::vector<DType> scale_types() const;

  // Values as float32 (of I64: the float32 in their low bits); empty without a tensor.
  std::vector<float> finite(const std::string& name, const TensorView* view);
  std::vector<float> scales(const std::string& name, const TensorView* view);
  void check_finite(const std::string& name, const TensorView& view);
  void check_zeros(const std::string& name, const TensorView* view);

  void check_stored(const ExpectedModule& module);
  void check_fp8(const std::string& name, const TensorView& view);
  void check_doubles(const ExpectedModule& module);
  void check_absent(const ExpectedModule& module, const std::vector<const char*>& suffixes);

  void check_int8(const ExpectedModule& module, QuantType type);
  std::vector<std::int64_t> check_codes(const std::string& name, const TensorView& weight);
  void check_static(const ExpectedModule& module, const Rows& rows, const std::vector<float>& bias);
  std::vector<float> check_deq_scale(const ExpectedModule& module, const Rows& rows, float input_scale);
  void check_quant_bias(const ExpectedModule& module, const Rows& rows, float input_offset,
                        const std::vector<float>& deq_scale, const std::vector<float>& bias);
  void check_shift(const ExpectedModule& module, const TensorView& weight, const Rows& rows,
                   const std::vector<float>& bias);

  const VerifyFolder& folder_;
};

// The names that the tensors of a module may have.
std::vector<std::string> names_of(const ExpectedModule& module);
std::vector<std::string> fa_names(std::int64_t layer);

}  // namespace latent8
