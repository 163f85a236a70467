#include "quant/layer/module_stream.h"

#include <algorithm>

#include "base/error.h"
#include "quant/layer/layer_quantizer.h"

namespace latent8 {
namespace {

using Part = PlannedModule::Part;
using Stage = QuantizeProgress::Stage;

// How many of the first modules are written together: those of the same part of a layer.
std::size_t group_size(std::span<const PlannedModule* const> modules) {
  std::size_t size = 1;
  while (size < modules.size() && size < kStreamedModules && modules[size]->part == modules[0]->part &&
         modules[0]->part != Part::kOther)
    ++size;
  return size;
}

}  // namespace

std::string part_name(std::span<const PlannedModule* const> modules) {
  const PlannedModule &first = *modules.front(), &last = *modules.back();
  if (first.part == Part::kExpert) return fmt::format("experts {} to {}", first.expert, last.expert);
  if (first.part == Part::kAttention) return "attention";
  if (first.part == Part::kMlp) return "MLP";
  std::string name = first.name;
  if (name.ends_with(".weight")) name.resize(name.rfind('.'));
  return name.substr(name.rfind('.') + 1);
}

std::vector<std::string> source_names(const Checkpoint& source,
                                      std::span<const PlannedModule* const> modules) {
  std::vector<std::string> out;
  for (const PlannedModule* module : modules)
    for (std::string& name : source_names(source, *module)) out.push_back(std::move(name));
  return out;
}

void prefetch(const TensorSource& source, std::span<const PlannedModule* const> modules) {
  for (const std::string& name : source_names(source.checkpoint(), modules)) source.prefetch(name);
}

std::int64_t source_bytes(const Checkpoint& source, const PlannedModule& module) {
  std::int64_t sum = 0;
  for (const std::string& name : source_names(source, module)) sum += source.get(name).size_bytes();
  return sum;
}

std::int64_t source_bytes(const Checkpoint& source, std::span<const PlannedModule* const> modules) {
  std::int64_t sum = 0;
  for (const PlannedModule* module : modules) sum += source_bytes(source, *module);
  return sum;
}

void stream_modules(const PipelineContext& context, std::span<const PlannedModule* const> modules) {
  const LayerQuantizer quantizer(context.source, context.dtype, context.pool, context.writer);
  while (!modules.empty()) {
    const std::size_t size = group_size(modules);
    const auto group = modules.first(size);
    modules = modules.subspan(size);
    prefetch(context.source, modules.first(std::min(kStreamedModules, modules.size())));
    context.progress(Stage::kQuantize, part_name(group), 0);
    quantizer.write(group);
    context.progress(Stage::kQuantize, part_name(group), source_bytes(context.source.stored(), group));
  }
}

}  // namespace latent8
