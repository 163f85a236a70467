#pragma once
// How much memory steps work in, known before any of it is touched.

#include <cstdint>

#include "model/step_runner.h"

namespace latent8 {

// Bytes of every buffer that a StepRunner and the operations it calls come to hold, without the cache: an upper
// bound for any plan within `options` with sequences of at most max_seq_len tokens.
std::int64_t step_buffer_bytes(const DeepseekModel& model, const StepRunnerOptions& options, int threads,
                               std::int64_t max_seq_len);

}  // namespace latent8
