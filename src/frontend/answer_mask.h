#pragma once
// What may come in an answer: reasoning of a bounded length, then text of a grammar.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "frontend/reasoning_tokens.h"
#include "latent8/request.h"

namespace latent8 {

struct AnswerMaskOptions {
  bool starts_in_reasoning = false;             // the prompt ended inside <think>
  std::optional<std::int64_t> thinking_budget;  // tokens of reasoning after which </think> must come
  std::vector<std::int32_t> not_in_reasoning;   // what may not come in the reasoning before a grammar
};

// Inside <think> everything may come, but before a grammar neither its ends nor a token that reaches from
// </think> into the content. At the budget's end the tokens of </think> are the only ones, one after the
// other. The grammar begins after </think>, and at once where the answer does not start in reasoning; up to
// two tokens of newlines, which the content does not have, may come between the two. Ownership: refers to the
// tokens, which must outlive it.
class AnswerMask final : public MaskProvider {
 public:
  // grammar: may be nullptr.
  AnswerMask(const ReasoningTokens& tokens, AnswerMaskOptions options, std::unique_ptr<MaskProvider> grammar);

  void restrict(std::span<std::uint64_t> bits) noexcept override;
  void accept(std::int32_t token) noexcept override;
  void rollback(std::int64_t count) noexcept override;

 private:
  struct Step {
    ReasoningState reasoning;
    std::uint8_t newlines = 0;  // tokens between reasoning and grammar
    bool in_grammar = false;    // the grammar has taken a token
  };
  bool over_budget(const ReasoningState& reasoning) const;
  void restrict_between(std::span<std::uint64_t> bits) noexcept;
  bool grammar_takes(std::int32_t token) noexcept;

  const ReasoningTokens& tokens_;
  AnswerMaskOptions options_;
  std::unique_ptr<MaskProvider> grammar_;
  std::vector<Step> steps_;          // the state at the start, and after each token
  std::vector<std::uint64_t> bits_;  // of the grammar alone
};

}  // namespace latent8
