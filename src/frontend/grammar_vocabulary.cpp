#include "frontend/grammar_vocabulary.h"

#include <algorithm>
#include <array>

namespace latent8 {
namespace {

// Whether text that is decoded alone lacks the space that its token begins with.
bool loses_first_space(const Tokenizer& tokenizer) {
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.is_added(id) || !tokenizer.token_bytes(id).starts_with(' ')) continue;
    return tokenizer.decode(std::array{id}) != tokenizer.token_bytes(id);
  }
  return false;
}

}  // namespace

GrammarVocabulary grammar_vocabulary(const Tokenizer& tokenizer, std::int32_t vocab_size,
                                     std::vector<std::int32_t> stop_ids,
                                     const std::vector<std::string>& kept) {
  GrammarVocabulary out;
  out.vocab_size = vocab_size;
  out.stop_ids = std::move(stop_ids);
  out.drops_first_space = loses_first_space(tokenizer);
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    std::string bytes(tokenizer.token_bytes(id));
    const bool seen = !tokenizer.is_special(id) || std::find(kept.begin(), kept.end(), bytes) != kept.end();
    out.tokens.push_back(seen ? std::move(bytes) : "");
  }
  return out;
}

}  // namespace latent8
