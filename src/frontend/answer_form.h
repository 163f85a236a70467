#pragma once
// What the form of an answer is bound to: from a request's wish to masks.

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "frontend/reasoning_tokens.h"
#include "grammar/grammar.h"
#include "latent8/request.h"
#include "text/tokenizer.h"

namespace latent8 {

struct AnswerForm {
  std::optional<GrammarSpec> grammar;           // of what comes after the reasoning
  std::optional<std::int64_t> thinking_budget;  // tokens of reasoning; behind them </think> is forced

  bool free() const { return !grammar && !thinking_budget; }
};

// Makes one mask for each answer to a request; empty: every token may come.
using MaskFactory = std::function<std::unique_ptr<MaskProvider>()>;

// What masks of one model share; made with the first that needs it.
// Thread-safety: all methods may be called from many threads. Masks must not outlive it.
class AnswerForms {
 public:
  // Refers to the tokenizer, which must outlive it. vocab_size: of the model.
  AnswerForms(const Tokenizer& tokenizer, std::int32_t vocab_size, std::vector<std::int32_t> eos_token_ids);

  // opens_reasoning: the answer begins inside <think>.
  // Throws: Error{kInvalidArgument | kUnsupported} as GrammarCompiler::compile; {kUnsupported} for a thinking
  // budget where the tokenizer cannot write </think>, and for a grammar where no token ends an answer.
  MaskFactory masks(const AnswerForm& form, bool opens_reasoning);

 private:
  const ReasoningTokens& reasoning();

  const Tokenizer& tokenizer_;
  std::vector<std::int32_t> eos_token_ids_, not_in_reasoning_;
  GrammarCompiler compiler_;
  std::once_flag started_;
  std::unique_ptr<const ReasoningTokens> reasoning_;
};

}  // namespace latent8
