#pragma once
// Logits of whole sequences, written to a file for comparison with another implementation.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <vector>

#include "eval/sequence_runner.h"

namespace latent8 {

// Rows of logits that exist at one time: [rows, vocab_size] of float is 33 MB for DeepSeek-R1.
inline constexpr std::int64_t kLogitRows = 64;

// Writes a safetensors file with `N.logits` [K, vocab_size] f32 for sequence N from 0, the last
// K = min(last, S) of its S positions (last = 0: all), and, if the model has an MTP layer and K > 1,
// `N.mtp` [K - 1, vocab_size] f32, whose row i belongs to the same position as row i of `N.logits` and
// predicts the token after the next.
// Throws: Error{kInvalidArgument} for a sequence that check_sequence() refuses (before anything is written),
// {kIo} naming the file.
void write_logits(const DeepseekModel& model, OpContext& ctx,
                  std::span<const std::vector<std::int32_t>> sequences, std::int64_t last,
                  const EvalOptions& options, const std::filesystem::path& path,
                  const EvalProgress& progress = {});

}  // namespace latent8
