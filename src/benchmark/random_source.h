#pragma once
// A float checkpoint of one MoE layer with random weights, on disk: what the quantiser reads.

#include <cstdint>
#include <filesystem>
#include <functional>

#include "formats/model_config.h"

namespace latent8 {

struct RandomSourceOptions {
  bool fp8 = true;           // blocks of e4m3 with float32 scales, else bf16
  std::int64_t prompts = 4;  // in calib.json, of prompt_tokens tokens each
  std::int64_t prompt_tokens = 128;
  // Called with the bytes written so far. May throw to stop.
  std::function<void(std::int64_t)> progress;
};

// The sizes of R1 with one layer, which has experts, and a vocabulary of bytes.
ModelConfig random_source_config(std::int64_t experts);
// Bytes of the tensors.
std::int64_t random_source_bytes(const ModelConfig& config, bool fp8);

// Writes config.json, tokenizer.json, calib.json and shards into the empty folder `dir`. Weights have the
// deviation that keeps activations of unit size; they repeat a table of random numbers at random places.
// Throws: Error{kIo}.
void write_random_source(const std::filesystem::path& dir, const ModelConfig& config,
                         const RandomSourceOptions& options);

}  // namespace latent8
