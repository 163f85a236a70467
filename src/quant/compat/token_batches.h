#pragma once
// Prompts as the reference's calibration runs them. Source: docs/format.md, "The reference's calibration".

#include <cstdint>
#include <string>
#include <vector>

#include "formats/model_config.h"
#include "text/tokenizer.h"

namespace latent8::compat {

// One call of the model: sequences of one length, filled up on the left. Pads have positions like any token
// and count in every statistic.
struct TokenBatch {
  std::int64_t sequences = 0, length = 0;
  std::vector<std::int32_t> ids;        // [sequences * length]
  std::vector<std::int32_t> positions;  // [sequences * length] 0 .. length - 1 per sequence
  std::vector<std::int64_t> pads;       // [sequences]
  std::int64_t tokens() const { return sequences * length; }
};

// BOS + text + EOS; pads are EOS. The last batch may be smaller.
// Throws: Error{kInvalidArgument} for a batch size outside 1 .. 16, and naming a prompt that is longer than
// the context or has an id beyond the vocabulary; {kUnsupported} for a tokenizer without BOS or EOS.
std::vector<TokenBatch> make_batches(const Tokenizer& tokenizer, const ModelConfig& config,
                                     const std::vector<std::string>& prompts, int batch_size);

}  // namespace latent8::compat
