// In place of xgrammar.cpp where XGrammar's sources were not there to be built.

#include "base/error.h"
#include "grammar/grammar.h"

namespace latent8 {

std::unique_ptr<const GrammarBackend> make_grammar_backend(const GrammarVocabulary&) {
  throw_error(
      ErrorCode::kUnsupported,
      "this build has no XGrammar, which constrained answers need; run tools/deps.sh and build again");
}

}  // namespace latent8
