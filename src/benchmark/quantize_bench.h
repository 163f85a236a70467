#pragma once
// The quantiser's speed on one MoE layer of R1's shape, beside what disk, page cache and memory give.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

#include "formats/model_config.h"

namespace latent8 {

struct QuantizeBenchOptions {
  std::filesystem::path dir;  // a temporary folder is made in it, and removed at the end
  ModelConfig config;         // random_source_config()
  bool fp8 = true;            // the source's weights, else bf16
  bool rotate_model = false;  // while the layer is read; rates of experts are without
  int threads = 0;
  std::int64_t max_memory = 0;  // of the quantiser; 0: its default
  std::int64_t prompts = 4, prompt_tokens = 128;
  // What is being done, as step `step` of `steps`. May throw to stop.
  std::function<void(int step, int steps, std::string_view what)> progress;
};

// 10^9 bytes of the source per second of all threads, and per second of one core's time, which other programs
// do not stretch.
struct CoreRates {
  double all_threads = 0;
  double per_core = 0;
};

// One run of quantize() over the layer, its source read from the disk.
struct LayerRun {
  double seconds = 0;            // of the layer, its output on the disk
  double gbs = 0;                // of its source
  std::int64_t peak_memory = 0;  // of the process so far, bytes
};

struct QuantizeBench {
  int threads = 0;
  std::int64_t layer_bytes = 0;  // of the source
  std::int64_t hot_bytes = 0;    // of the experts that the rates below are measured on
  double disk_gbs = 0;           // read by all threads with nothing in the page cache
  double disk_write_gbs = 0;     // written by one thread and synced
  double memory_gbs = 0;         // read by all threads
  CoreRates page_cache;          // pread of what is in the page cache
  CoreRates codes;               // the same, quantised; codes stay in the cores' caches
  CoreRates written;             // the same, codes written to the page cache
  LayerRun streamed;             // every linear dynamic: nothing to calibrate
  LayerRun calibrated;           // static attention and an int8 latent cache
  std::int64_t tokens = 0;       // of calibration
};

// Bytes that the folder needs at most.
std::int64_t quantize_bench_disk_bytes(const QuantizeBenchOptions& options);

// Throws: Error{kUnavailable} saying how much room is missing in `dir`; what quantize() throws.
QuantizeBench run_quantize_bench(const QuantizeBenchOptions& options);

}  // namespace latent8
