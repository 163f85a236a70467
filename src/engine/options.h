#pragma once
// What EngineOptions come to for a given model and machine, and whether a request can be served.

#include <cstdint>

#include "engine/scheduler.h"
#include "latent8/engine.h"
#include "model/step_runner.h"

namespace latent8 {

struct ResolvedOptions {
  StepRunnerOptions step;
  int threads = 1;
  SchedulerLimits limits;
  std::int64_t context_tokens = 0;         // prompt and answer of one request
  std::int64_t cache_bytes_per_token = 0;  // over all layers
  std::int64_t max_waiting = 0;            // 0: any number
  double max_stream_gap_s = 0.0;           // 0: any time
  bool fixed_drafts = false;               // limits.max_drafts of them always, whether they pay or not
  std::int64_t step_buffer_bytes = 0;      // at most, see step_buffer_bytes()

  std::int64_t cache_tokens() const { return limits.num_blocks * limits.block_size; }
};

// Throws: Error{kInvalidArgument} naming an option out of range; {kUnavailable} if cache
// and step buffers have no memory.
ResolvedOptions resolve_options(const DeepseekModel& model, const EngineOptions& options);

// Whether an engine with these options uses an MTP layer, if the model has one.
bool wants_mtp(const EngineOptions& options);

// Throws: Error{kInvalidArgument} as Engine::submit.
void check_request(const Request& request, std::int64_t vocab_size, const ResolvedOptions& options);

}  // namespace latent8
