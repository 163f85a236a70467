#pragma once
// The model that a benchmark runs: a checkpoint, or random weights of a known shape.

#include <cstdint>
#include <memory>
#include <string>

#include "apps/common.h"
#include "sys/thread_pool.h"

namespace latent8 {

struct BenchModelFlags {
  ModelFlags checkpoint;  // --model and how it runs; without --model random weights
  std::string shape = "v2-lite", cache = "int8";
  std::int64_t layers = 0, experts = 0, vocab = 0;  // 0: as the shape has it
};

// --shape, --threads.
void add_shape_flags(CLI::App& app, BenchModelFlags& flags);
// --cache.
void add_cache_form_flag(CLI::App& app, BenchModelFlags& flags);
// --model, --layers, --experts, --vocab.
void add_model_size_flags(CLI::App& app, BenchModelFlags& flags);

// Throws: Error{kInvalidArgument} naming --experts.
ModelConfig shape_config_of(const BenchModelFlags& flags);
// The checkpoint's folder or the shape's name.
std::string name_of(const BenchModelFlags& flags);
// Throws: as load_weights(); Error{kUnavailable} if the memory does not hold the weights.
std::shared_ptr<const DeepseekModel> make_bench_model(ThreadPool& pool, const BenchModelFlags& flags);

}  // namespace latent8
