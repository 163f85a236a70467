#pragma once
// Prompts without a chat template.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace latent8 {

// The tokens of a text as a model reads it: a BOS in front where tokenizer_config.json of `dir` says
// add_bos_token (absent: where the tokenizer has a BOS), unless the text begins with one.
// Throws: Error{kInvalidArgument} if text is not UTF-8; Error{kCorrupt} naming the file.
std::vector<std::int32_t> encode_prompt(const Tokenizer& tokenizer, const std::string& dir,
                                        std::string_view text);

}  // namespace latent8
