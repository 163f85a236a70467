#pragma once
// A key among filler text that is asked for at the end: does a model still find it at length?

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/rng.h"
#include "eval/divergence.h"
#include "text/tokenizer.h"

namespace latent8 {

struct NeedlePrompt {
  std::vector<std::int32_t> ids;     // up to "The key of WORD is" of the answer
  std::vector<std::int32_t> answer;  // the two words of the key
};

// Makes prompts that state " The key of WORD is WORD WORD." somewhere in the filler and ask for it at the
// end. The words are tokens of the vocabulary that are a space and 4 to 8 small letters. Ownership: refers to
// the tokenizer, which must outlive it.
class NeedleMaker {
 public:
  // render: the text of a conversation with this one question, up to where the model's answer begins
  // Throws: Error{kInvalidArgument} if the filler is empty.
  NeedleMaker(const Tokenizer& tokenizer, std::function<std::string(const std::string& question)> render,
              std::string_view filler);

  // length: tokens of prompt and answer together, hit but for a few; depth: where the key stands, 0 to 1.
  // The same seed gives the same prompt.
  // Throws: Error{kInvalidArgument} if `length` has no room for the question.
  NeedlePrompt make(std::int64_t length, double depth, std::uint64_t seed) const;

 private:
  std::string filler_text(Rng& rng, std::int64_t tokens) const;
  NeedlePrompt assemble(std::int64_t filler_tokens, double depth, std::uint64_t seed) const;

  const Tokenizer& tokenizer_;
  std::function<std::string(const std::string&)> render_;
  std::vector<std::int32_t> filler_;
  std::vector<std::string> words_;  // without the space
};

// Whether every token of the answer is the likeliest after what stands before it.
// Throws: as check_sequence().
bool finds_needle(OpContext& ctx, const EvalModel& model, const NeedlePrompt& prompt);

}  // namespace latent8
