#pragma once
// What the msmodelslim mode holds in memory.

#include <cstdint>
#include <vector>

#include "formats/checkpoint.h"
#include "latent8/quantize.h"
#include "quant/compat/token_batches.h"

namespace latent8::compat {

// Bytes beyond what is resident before: one layer's attention in float32, one expert, and the activations of
// all prompts, which are not put on the disk. An upper bound.
std::int64_t memory_needed(const Checkpoint& source, const QuantizeOptions& options,
                           const std::vector<TokenBatch>& anti, const std::vector<TokenBatch>& calib,
                           int threads);

// Throws: Error{kInvalidArgument} if options.max_memory is given and has no room for `needed` more bytes.
void check_memory(const QuantizeOptions& options, std::int64_t needed);

}  // namespace latent8::compat
