#include "quant/output/checkpoint_layout.h"

#include <algorithm>

#include "quant/output/checkpoint_writer.h"

namespace latent8 {
namespace {

using Unit = PlannedUnit::Kind;

template <class Visit>
void for_each_tensor(const CheckpointPlan& plan, const Visit& visit) {
  for (const PlannedUnit& unit : plan.units)
    for (const PlannedModule& module : unit.modules)
      for (const PlannedTensor& planned : module.tensors) visit(unit, module, planned);
}

}  // namespace

ShardLayout shard_layout(const CheckpointPlan& plan, const QuantizeOptions& options) {
  ShardLayout layout;
  layout.weight_kind = weight_kind(options);
  layout.shard_bytes = options.shard_bytes;
  // The reference indents by 4 after adding an MTP layer. Source: docs/format.md, "Files".
  if (plan.has(Unit::kMtp) || plan.has(Unit::kMtpFloat)) layout.index_indent = 4;
  const auto undecided = [&](const PlannedTensor& planned) {
    std::int64_t& bytes = layout.undecided[planned.tensor.name];
    bytes = std::max(bytes, planned.tensor.bytes());
  };
  for_each_tensor(plan,
                  [&](const PlannedUnit& unit, const PlannedModule& module, const PlannedTensor& planned) {
                    if (unit.kind == Unit::kMtpFloat)
                      layout.mtp_float.push_back(planned.tensor);
                    else if (module.fallback)
                      undecided(planned);
                    else
                      layout.tensors.push_back(planned.tensor);
                  });
  for (const PlannedUnit& unit : plan.units)
    for (const PlannedModule& module : unit.modules)
      if (module.fallback && unit.kind != Unit::kMtpFloat)
        for (const PlannedTensor& planned : *module.fallback) undecided(planned);
  return layout;
}

std::vector<TensorToWrite> tensors_of(const CheckpointPlan& plan) {
  std::vector<TensorToWrite> out;
  for_each_tensor(plan, [&](const PlannedUnit&, const PlannedModule&, const PlannedTensor& planned) {
    out.push_back(planned.tensor);
  });
  return out;
}

std::vector<std::pair<std::string, QuantType>> described_tensors(const CheckpointPlan& plan) {
  std::vector<std::pair<std::string, QuantType>> out;
  for_each_tensor(plan, [&](const PlannedUnit&, const PlannedModule&, const PlannedTensor& planned) {
    out.emplace_back(planned.tensor.name, planned.type);
  });
  return out;
}

}  // namespace latent8
