#pragma once
// Small vocabularies, and what a mask says about them.

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "grammar/grammar.h"

namespace latent8 {

constexpr std::int32_t kPadding = 70;  // ids of the model without a token

// The texts, then one that ends an answer.
inline GrammarVocabulary vocabulary_of(std::vector<std::string> texts) {
  GrammarVocabulary out;
  out.tokens = std::move(texts);
  out.tokens.emplace_back();
  out.stop_ids = {static_cast<std::int32_t>(out.tokens.size()) - 1};
  out.vocab_size = static_cast<std::int32_t>(out.tokens.size()) + kPadding;
  return out;
}

// Every byte, and some longer tokens.
inline GrammarVocabulary byte_vocabulary(const std::vector<std::string>& longer = {}) {
  std::vector<std::string> texts;
  for (int byte = 0; byte < 256; ++byte) texts.emplace_back(1, static_cast<char>(byte));
  texts.insert(texts.end(), longer.begin(), longer.end());
  return vocabulary_of(std::move(texts));
}

inline std::set<std::int32_t> allowed_by(MaskProvider& mask, const GrammarVocabulary& vocabulary) {
  std::vector<std::uint64_t> bits(static_cast<std::size_t>(vocabulary.vocab_size + 63) / 64,
                                  ~std::uint64_t{0});
  mask.restrict(bits);
  std::set<std::int32_t> out;
  for (std::int32_t id = 0; id < vocabulary.vocab_size; ++id)
    if ((bits[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1) != 0) out.insert(id);
  return out;
}

inline std::shared_ptr<const Grammar> compiled(const GrammarVocabulary& vocabulary, GrammarKind kind,
                                               const std::string& text) {
  GrammarCompiler compiler([&vocabulary] { return vocabulary; });
  return compiler.compile({.kind = kind, .text = text});
}

// Whether the grammar takes the bytes one after the other and may end behind them.
inline bool matches(const Grammar& grammar, const GrammarVocabulary& bytes, const std::string& text) {
  const auto mask = grammar.make_mask(/*starts_answer=*/true);
  for (const char c : text) {
    const auto id = static_cast<std::int32_t>(static_cast<unsigned char>(c));
    if (!allowed_by(*mask, bytes).contains(id)) return false;
    mask->accept(id);
  }
  return allowed_by(*mask, bytes).contains(bytes.stop_ids[0]);
}

}  // namespace latent8
