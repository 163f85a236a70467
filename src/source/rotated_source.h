#pragma once
// A source whose weights are rotated while they are read: the same model in the basis of ModelRotation.

#include <map>
#include <span>
#include <string>
#include <vector>

#include "source/model_rotation.h"
#include "source/source_tensor.h"
#include "source/tensor_source.h"

namespace latent8 {

// Every tensor that changes reads as float32, without fp8 block scales; others as they are stored. The MTP
// layer is the one part that is not the same function: its hnorm reads what the final norm gave, whose weight
// has moved into lm_head. It moves into eh_proj too, divided by its rms, which is what hnorm divides by if
// channels are equally large.
// Ownership: a view of the source, which must outlive it. Thread-safety: const.
class RotatedSource final : public TensorSource {
 public:
  // Throws: as ModelRotation; Error{kCorrupt} naming a norm with NaN or Inf, or a tensor whose shape is not
  // the config's.
  explicit RotatedSource(const TensorSource& source);
  // Throws: Error{kUnsupported} for an MTP layer that reads lm_head, which has the final norm's weight now.
  void check_mtp_head() const;

  const Checkpoint& checkpoint() const override { return rotated_; }
  const Checkpoint& stored() const override { return source_.stored(); }
  // Throws: also Error{kCorrupt} naming a tensor and a row with NaN or Inf.
  void read(std::string_view name, std::int64_t offset, std::span<std::byte> out) const override;
  void prefetch(std::string_view name) const override { source_.prefetch(name); }
  std::int64_t row_unit(std::string_view name) const override;

 private:
  struct Changed {
    TensorRotation rotation;
    std::span<const float> norms;  // [cols] by which columns are multiplied; empty: 1
  };
  Changed changed(const std::string& name, const ModelSchema::Found& found, const TensorRotation& rotation);
  std::vector<float> norm(const LayerSchema& layer, TensorRole role) const;  // [channels], as it moves
  // Weights of the norms that move into the tensor's columns; empty: none do.
  std::span<const float> norms_before(const ModelSchema::Found& found);
  Checkpoint make_checkpoint() const;
  // Rows [begin, end), whole units, as they are read: [end - begin, cols].
  //   tensor  of the source, its norms applied
  void compute(const SourceTensor& tensor, const TensorRotation& rotation, std::int64_t begin,
               std::int64_t end, std::vector<float>& rows) const;

  const TensorSource& source_;
  const ModelSchema schema_;
  const ModelRotation rotation_;
  std::map<std::string, std::vector<float>> norms_;  // what several tensors share
  std::map<std::string, Changed, std::less<>> changed_;
  Checkpoint rotated_;
};

}  // namespace latent8
