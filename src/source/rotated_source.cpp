#include "source/rotated_source.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "base/error.h"
#include "formats/layer_schema.h"
#include "source/float_checkpoint.h"

namespace latent8 {
namespace {

// Floats that are computed at a time where rows are independent enough.
constexpr std::int64_t kChunk = std::int64_t{1} << 18;

void check_finite(const std::string& name, std::int64_t row, std::span<const float> values) {
  if (!std::all_of(values.begin(), values.end(), [](float x) { return std::isfinite(x); }))
    throw_error(ErrorCode::kCorrupt, "tensor '{}': finite values expected, row {} has NaN or Inf", name, row);
}

double mean_square(std::span<const float> values) {
  double sum = 0.0;
  for (const float x : values) sum += double{x} * x;
  return sum / static_cast<double>(values.size());
}

}  // namespace

RotatedSource::RotatedSource(const TensorSource& source)
    : source_(source),
      schema_(source.checkpoint().config()),
      rotation_(source.checkpoint().config()),
      rotated_(Checkpoint::of_tensors({}, {})) {
  for (const auto& [name, view] : source.checkpoint().tensors()) {
    const auto found = schema_.find(name);
    const auto rotation = found ? rotation_of(*found) : std::nullopt;
    if (rotation) changed_.emplace(name, changed(name, *found, *rotation));
  }
  rotated_ = make_checkpoint();
}

RotatedSource::Changed RotatedSource::changed(const std::string& name, const ModelSchema::Found& found,
                                              const TensorRotation& rotation) {
  if (rotation.becomes_ones) return {rotation, {}};
  const SourceTensor tensor(source_, name);
  const bool weight = found.suffix == ".weight";
  const auto check = [&](const char* what, std::int64_t extent, ChannelSpace space, std::int64_t inputs) {
    const bool per_head = space == ChannelSpace::kValues || space == ChannelSpace::kKvB;
    const std::int64_t times = per_head ? source_.checkpoint().config().num_attention_heads : inputs;
    if (extent == 0 || (space != ChannelSpace::kNone && extent != times * rotation_.period(space)))
      throw_error(ErrorCode::kCorrupt, "tensor '{}': shape {}: {} {} expected", name,
                  tensor.view().shape_text(), times * rotation_.period(space), what);
  };
  check("rows", tensor.rows(), rotation.rows, 1);
  check("columns", tensor.cols(), rotation.columns, weight && found.tensor->norms[1] ? 2 : 1);
  if (!weight) return {rotation, {}};
  const std::span<const float> norms = norms_before(found);
  if (!norms.empty() && std::cmp_not_equal(norms.size(), tensor.cols()))
    throw_error(ErrorCode::kCorrupt,
                "tensor '{}': shape {}: as many columns expected as the norm before it has channels, {}",
                name, tensor.view().shape_text(), norms.size());
  return {rotation, norms};
}

void RotatedSource::check_mtp_head() const {
  for (const LayerSchema& layer : schema_.layers()) {
    if (layer.find(TensorRole::kEhProj) == nullptr) continue;
    const std::string head = layer.weight(TensorRole::kSharedHead);
    if (rotated_.find(layer.weight(TensorRole::kEhProj)) != nullptr && rotated_.find(head) == nullptr)
      throw_error(ErrorCode::kUnsupported,
                  "tensor '{}': expected by rotations of the model (--rot), since the final norm's weight "
                  "moves into lm_head, got none of that name; leave the MTP layer out (--mtp none)",
                  head);
  }
}

std::vector<float> RotatedSource::norm(const LayerSchema& layer, TensorRole role) const {
  const SourceTensor tensor(source_, layer.weight(role));
  std::vector<float> weight(static_cast<std::size_t>(tensor.cols()));
  tensor.read_row(0, weight.data());
  check_finite(tensor.name(), 0, weight);
  if (role != TensorRole::kHNorm) return weight;
  const std::vector<float> last = norm(schema_.outside(), TensorRole::kFinalNorm);
  const auto rms = static_cast<float>(std::sqrt(mean_square(last)));
  for (std::size_t c = 0; c < weight.size(); ++c) weight[c] *= last[c] / rms;
  return weight;
}

std::span<const float> RotatedSource::norms_before(const ModelSchema::Found& found) {
  const LayerSchema& layer = found.layer < 0 ? schema_.outside() : schema_.layer(found.layer);
  const auto& before = found.tensor->norms;
  if (!before[0] || !layer.get(*before[0]).moves) return {};
  const auto [shared, first] = norms_.try_emplace(layer.name(*before[0]));
  std::vector<float>& weights = shared->second;
  if (!first) return weights;
  for (const std::optional<TensorRole>& role : before) {
    if (!role) continue;
    const std::vector<float> weight = norm(layer, *role);
    weights.insert(weights.end(), weight.begin(), weight.end());
  }
  return weights;
}

Checkpoint RotatedSource::make_checkpoint() const {
  const Checkpoint& from = source_.checkpoint();
  TensorMap tensors;
  for (const auto& [name, view] : from.tensors()) {
    if (changed_.contains(name))
      tensors.emplace(name, TensorView{DType::kF32, view.shape, {}});
    else if (!name.ends_with(kBlockScaleSuffix) ||
             !changed_.contains(name.substr(0, name.size() - std::strlen(kBlockScaleSuffix))))
      tensors.emplace(name, view);
  }
  ModelConfig config = from.config();
  config.torch_dtype = model_dtype(from);  // which types of tensors no longer show
  return Checkpoint::of_tensors(std::move(config), std::move(tensors));
}

std::int64_t RotatedSource::row_unit(std::string_view name) const {
  const auto found = changed_.find(name);
  if (found == changed_.end() || found->second.rotation.becomes_ones) return 1;
  return rotation_.row_unit(found->second.rotation.rows);
}

void RotatedSource::read(std::string_view name, std::int64_t offset, std::span<std::byte> out) const {
  const auto found = changed_.find(name);
  if (found == changed_.end()) return source_.read(name, offset, out);
  if (found->second.rotation.becomes_ones) {
    const std::vector<float> ones(out.size() / sizeof(float) + 2, 1.0F);
    const auto bytes =
        std::as_bytes(std::span(ones)).subspan(static_cast<std::size_t>(offset) % sizeof(float));
    std::memcpy(out.data(), bytes.data(), out.size());
    return;
  }
  const SourceTensor tensor(source_, found->first, {.row = {}, .col = found->second.norms});
  const std::int64_t row_bytes = tensor.cols() * size_of(DType::kF32), unit = row_unit(name);
  const std::int64_t step = std::max<std::int64_t>(kChunk / tensor.cols() / unit, 1) * unit;
  std::vector<float> rows;
  while (!out.empty()) {
    const std::int64_t begin = offset / row_bytes / unit * unit, at = offset - begin * row_bytes;
    const std::int64_t wanted = (at + static_cast<std::int64_t>(out.size()) + row_bytes - 1) / row_bytes;
    const std::int64_t count = std::min({step, (wanted + unit - 1) / unit * unit, tensor.rows() - begin});
    compute(tensor, found->second.rotation, begin, begin + count, rows);
    const auto bytes = std::as_bytes(std::span(rows)).subspan(static_cast<std::size_t>(at));
    const std::size_t size = std::min(bytes.size(), out.size());
    std::memcpy(out.data(), bytes.data(), size);
    out = out.subspan(size);
    offset += static_cast<std::int64_t>(size);
  }
}

void RotatedSource::compute(const SourceTensor& tensor, const TensorRotation& rotation, std::int64_t begin,
                            std::int64_t end, std::vector<float>& rows) const {
  rows.resize(static_cast<std::size_t>((end - begin) * tensor.cols()));
  tensor.read_rows(begin, end, rows.data());
  const Mat<float> values(rows.data(), end - begin, tensor.cols());
  for (std::int64_t r = 0; r < values.rows; ++r) {
    check_finite(tensor.name(), begin + r, values.row_span(r));
    rotation_.turn_columns(rotation.columns, values.row_span(r));
  }
  rotation_.turn_rows(rotation.rows, begin, values);
}

}  // namespace latent8
