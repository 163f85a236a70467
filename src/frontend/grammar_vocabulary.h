#pragma once
// A tokenizer as grammars see it.

#include <cstdint>
#include <string>
#include <vector>

#include "grammar/grammar.h"
#include "text/tokenizer.h"

namespace latent8 {

// The bytes of all tokens but the special ones, which a reader does not see; of these `kept`, by their text.
GrammarVocabulary grammar_vocabulary(const Tokenizer& tokenizer, std::int32_t vocab_size,
                                     std::vector<std::int32_t> stop_ids,
                                     const std::vector<std::string>& kept = {});

}  // namespace latent8
