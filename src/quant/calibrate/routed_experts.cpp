#include "quant/calibrate/routed_experts.h"

#include <algorithm>
#include <future>

#include "base/error.h"
#include "quant/layer/layer_quantizer.h"
#include "quant/weights/working_layer.h"

namespace latent8 {
namespace {

using Stage = QuantizeProgress::Stage;
using Modules = std::span<const PlannedModule* const>;

// Experts beyond this do not overlap better.
constexpr std::int64_t kLargestGroup = std::int64_t{1} << 30;

// Beginning of a warning about experts; layers are appended to it.
constexpr const char* kIdleExperts = "experts that no calibration token reached: ";

WorkingLayer read_tensors(const TensorSource& source, const std::vector<std::string>& names) {
  WorkingLayer out(source.checkpoint().config());
  out.read(source, names);
  return out;
}

struct Group {
  std::int64_t begin = 0, end = 0;  // experts
  std::vector<const PlannedModule*> modules;
};

std::vector<Group> groups_of(Modules modules, std::int64_t count, std::int64_t size) {
  std::vector<Group> out;
  for (std::int64_t begin = 0; begin < count; begin += size)
    out.push_back({begin, std::min(begin + size, count), {}});
  for (const PlannedModule* module : modules)
    out[static_cast<std::size_t>(module->expert / size)].modules.push_back(module);
  return out;
}

}  // namespace

// One group is read while the one before it runs.
void run_experts(const PipelineContext& context, CalibrationRun& run, std::int64_t layer, Modules modules,
                 MlpActivations& input, ActivationStore& next) {
  const Checkpoint& source = context.source.checkpoint();
  const std::int64_t count = run.config().n_routed_experts;
  const std::int64_t bytes = std::max<std::int64_t>(1, source_bytes(source, modules) / count);
  const std::int64_t room = std::min(kLargestGroup, context.budget.left() / 2);
  const std::vector<Group> groups =
      groups_of(modules, count, std::clamp<std::int64_t>(room / bytes, 1, count));
  const auto read = [&](const Group& group) {
    // deferred: where no thread can be started, the group is read when it is wanted.
    return std::async(std::launch::async | std::launch::deferred, read_tensors, std::cref(context.source),
                      source_names(source, group.modules));
  };
  std::future<WorkingLayer> ahead = read(groups[0]);
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const Group& group = groups[i];
    const WorkingLayer weights = ahead.get();
    if (i + 1 < groups.size()) ahead = read(groups[i + 1]);
    const std::string part = fmt::format("experts {} to {} of {}", group.begin, group.end - 1, count);
    context.progress(Stage::kCalibrate, part, 0);
    const Checkpoint tensors = weights.checkpoint();
    LayerQuantizer(tensors, context.dtype, context.pool, context.writer).write(group.modules);
    context.progress(Stage::kQuantize, part, source_bytes(context.source.stored(), group.modules));
    for (std::int64_t expert = group.begin; expert < group.end; ++expert) {
      WeightStorage storage;
      run_expert(run, load_expert(tensors, layer, expert, storage), expert, input, next);
    }
  }
}

void add_idle_experts(std::int64_t layer, const Routing& routing, std::int64_t count,
                      std::vector<std::string>& warnings) {
  std::vector<std::uint8_t> chosen(static_cast<std::size_t>(count));
  for (const std::int32_t expert : routing.expert) chosen[static_cast<std::size_t>(expert)] = 1;
  const std::int64_t idle = std::count(chosen.begin(), chosen.end(), 0);
  if (idle == 0) return;
  const std::string text = fmt::format("layer {}: {} of {}", layer, idle, count);
  for (std::string& warning : warnings)
    if (warning.starts_with(kIdleExperts)) {
      warning += "; " + text;
      return;
    }
  warnings.push_back(kIdleExperts + text);
}

}  // namespace latent8
