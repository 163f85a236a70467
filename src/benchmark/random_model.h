#pragma once
// A model of a known shape with random weights, made in memory.

#include <memory>

#include "formats/model_config.h"
#include "model/deepseek_model.h"
#include "sys/thread_pool.h"

namespace latent8 {

// W8A8 as the quantiser writes it: q_a, q_b, kv_a, o static, MLP and experts dynamic, kv_b_proj, embedding
// and head bf16; FA scales on every layer if int8_cache. Weights keep activations of unit size, so that
// routing and softmax behave as in a real model.
std::unique_ptr<DeepseekModel> random_model(ThreadPool& pool, const ModelConfig& config, bool int8_cache);

// The same model without any numbers: every pointer to weights is null. For what asks about sizes only.
std::unique_ptr<DeepseekModel> unfilled_model(const ModelConfig& config, bool int8_cache);

// Bytes that random_model() will take.
std::int64_t random_model_bytes(const ModelConfig& config);

// Fills every page of a cache with random latents: codes for int8 layers, small floats for the others.
void fill_cache(ThreadPool& pool, const LatentCache& cache, std::int64_t layers);

}  // namespace latent8
