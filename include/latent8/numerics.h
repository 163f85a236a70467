#pragma once
// How a model computes, where there is a choice.

#include <cstdint>

namespace latent8 {

// The arithmetic of layers with an int8 cache.
enum class Numerics : std::uint8_t {
  kNative,  // fast; results do not depend on batch, chunking, threads or block_size
  kAscend,  // the reference's arithmetic, to validate checkpoints; slow
};

// How prompt tokens attend.
enum class Prefill : std::uint8_t {
  kCached,  // to the cached values, as generated tokens do
  kFloat,   // in float to the values just computed (kAscend always does)
};

// The cache of layers that have no int8 one. kAuto: fp32 if no tensor of the checkpoint is quantised, so that
// nothing is rounded that the checkpoint has exactly; else fp16.
enum class CacheDType : std::uint8_t { kAuto, kFp16, kFp32 };

// Whether the MTP layer guesses tokens that the next step checks, several of a sequence at once. Answers are
// the same bit for bit. kAuto: where the checkpoint has an MTP layer and numerics and prefill allow it.
enum class Speculative : std::uint8_t { kAuto, kMtp, kNone };

}  // namespace latent8
