#pragma once
// Reading ahead and writing what needs no statistics, and what all writers of a layer share.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "latent8/quantize.h"
#include "quant/output/shard_writer.h"
#include "quant/plan/memory_budget.h"
#include "quant/plan/plan.h"
#include "source/tensor_source.h"
#include "sys/thread_pool.h"

namespace latent8 {

// Ownership: refers to its members' targets, which must outlive it.
struct PipelineContext {
  const QuantizeOptions& options;
  const TensorSource& source;
  DType dtype;  // CheckpointPlan::dtype
  ThreadPool& pool;
  ShardWriter& writer;
  MemoryBudget& budget;
  std::filesystem::path spill;  // for activations that have no room in memory
  // Says what is worked on, and how many bytes of the source were dealt with since the last call.
  std::function<void(QuantizeProgress::Stage stage, const std::string& part, std::int64_t bytes)> progress;
};

// Modules that are written between two reports of progress: a gibibyte of a big model's experts.
inline constexpr std::size_t kStreamedModules = 72;

// Writes modules of which nothing has to be observed, some rows in memory at a time.
void stream_modules(const PipelineContext& context, std::span<const PlannedModule* const> modules);

// Bytes of the source's tensors that the modules are made of.
std::int64_t source_bytes(const Checkpoint& source, const PlannedModule& module);
std::int64_t source_bytes(const Checkpoint& source, std::span<const PlannedModule* const> modules);

// source_names() of all of them.
std::vector<std::string> source_names(const Checkpoint& source,
                                      std::span<const PlannedModule* const> modules);

// Tells the system that the modules' tensors will be read soon.
void prefetch(const TensorSource& source, std::span<const PlannedModule* const> modules);

// How progress names modules of one part: "attention", "MLP", "experts 32 to 63", "embed_tokens".
std::string part_name(std::span<const PlannedModule* const> modules);

}  // namespace latent8
