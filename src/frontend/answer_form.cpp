#include "frontend/answer_form.h"

#include <array>
#include <utility>

#include "base/error.h"
#include "frontend/answer_mask.h"
#include "frontend/grammar_vocabulary.h"
#include "text/reasoning_parser.h"
#include "text/tool_marks.h"

namespace latent8 {
namespace {

constexpr std::array kToolFormats = {ToolFormat::kDeepseekV3, ToolFormat::kDeepseekV31, ToolFormat::kKimiK2,
                                     ToolFormat::kGlm47};

// What a tokenizer may call special although the text of an answer has it.
std::vector<std::string> kept_tokens() {
  const ReasoningParser::Options tags;
  std::vector<std::string> kept = {tags.open_tag, tags.close_tag};
  for (const ToolFormat format : kToolFormats)
    for (std::string& mark : all_tool_marks(format)) kept.push_back(std::move(mark));
  return kept;
}

// Ends of an answer, and marks of calls, with which some models end their reasoning.
std::vector<std::int32_t> ends_of_reasoning(const Tokenizer& tokenizer, std::vector<std::int32_t> ids) {
  for (const ToolFormat format : kToolFormats)
    for (const std::string& mark : {tool_marks(format).section_begin, tool_marks(format).call_begin})
      if (const auto id = tokenizer.token_id(mark); !mark.empty() && id) ids.push_back(*id);
  return ids;
}

}  // namespace

AnswerForms::AnswerForms(const Tokenizer& tokenizer, std::int32_t vocab_size,
                         std::vector<std::int32_t> eos_token_ids)
    : tokenizer_(tokenizer),
      eos_token_ids_(std::move(eos_token_ids)),
      not_in_reasoning_(ends_of_reasoning(tokenizer, eos_token_ids_)),
      compiler_([&tokenizer, vocab_size, eos = eos_token_ids_] {
        return grammar_vocabulary(tokenizer, vocab_size, eos, kept_tokens());
      }) {}

const ReasoningTokens& AnswerForms::reasoning() {
  std::call_once(started_, [this] { reasoning_ = std::make_unique<const ReasoningTokens>(tokenizer_); });
  return *reasoning_;
}

MaskFactory AnswerForms::masks(const AnswerForm& form, bool opens_reasoning) {
  if (form.free()) return {};
  const ReasoningTokens& tokens = reasoning();
  if (form.thinking_budget && !tokens.can_close())
    throw_error(ErrorCode::kUnsupported, "a thinking budget: the model's tokenizer cannot write </think>");
  std::shared_ptr<const Grammar> grammar;
  if (form.grammar && eos_token_ids_.empty())
    throw_error(ErrorCode::kUnsupported, "a grammar: the model has no token that ends an answer");
  if (form.grammar) grammar = compiler_.compile(*form.grammar);
  return [&tokens, grammar,
          options =
              AnswerMaskOptions{.starts_in_reasoning = opens_reasoning,
                                .thinking_budget = form.thinking_budget,
                                .not_in_reasoning = not_in_reasoning_}]() -> std::unique_ptr<MaskProvider> {
    std::unique_ptr<MaskProvider> mask;
    if (grammar != nullptr) mask = grammar->make_mask(/*starts_answer=*/!options.starts_in_reasoning);
    return std::make_unique<AnswerMask>(tokens, options, std::move(mask));
  };
}

}  // namespace latent8
