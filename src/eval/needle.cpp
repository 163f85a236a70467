#include "eval/needle.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace latent8 {
namespace {

// The vocabulary's words: " word" as one token.
std::vector<std::string> words_of(const Tokenizer& tokenizer) {
  std::vector<std::string> words;
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    const std::string_view bytes = tokenizer.is_added(id) ? "" : tokenizer.token_bytes(id);
    const bool is_word = bytes.size() >= 5 && bytes.size() <= 9 && bytes[0] == ' ' &&
                         std::all_of(bytes.begin() + 1, bytes.end(), [](char c) { return c >= 'a' && c <= 'z'; });
    if (is_word) words.emplace_back(bytes.substr(1));
  }
  return words;
}

}  // namespace

NeedleMaker::NeedleMaker(const Tokenizer& tokenizer, std::function<std::string(const std::string&)> render,
                         std::string_view filler)
    : tokenizer_(tokenizer),
      render_(std::move(render)),
      filler_(tokenizer.encode(filler, /*special=*/false)),
      words_(words_of(tokenizer)) {
  if (filler_.empty()) throw_error(ErrorCode::kInvalidArgument, "filler: a text expected, got none");
  if (words_.size() < 16)
    throw_error(ErrorCode::kInvalidArgument,
                "vocabulary: at least 16 tokens that are a space and 4 to 8 small letters expected, got {}",
                words_.size());
}

// From a random place of the filler, which begins anew where it ends.
std::string NeedleMaker::filler_text(Rng& rng, std::int64_t tokens) const {
  const auto size = static_cast<std::int64_t>(filler_.size());
  const std::int64_t begin = rng.below(size);
  std::vector<std::int32_t> ids(static_cast<std::size_t>(tokens));
  for (std::int64_t i = 0; i < tokens; ++i)
    ids[static_cast<std::size_t>(i)] = filler_[static_cast<std::size_t>((begin + i) % size)];
  return tokenizer_.decode(ids);
}

NeedlePrompt NeedleMaker::assemble(std::int64_t filler_tokens, double depth, std::uint64_t seed) const {
  Rng rng(seed);
  const auto word = [&] {
    return words_[static_cast<std::size_t>(rng.below(static_cast<std::int64_t>(words_.size())))];
  };
  const std::string asked = word(), first = word(), second = word();
  const auto before = static_cast<std::int64_t>(depth * static_cast<double>(filler_tokens));
  const std::string head = filler_text(rng, before), tail = filler_text(rng, filler_tokens - before);
  const std::string question = fmt::format("{} The key of {} is {} {}.{}\n\nWhat is the key of {}?", head, asked,
                                           first, second, tail, asked);
  return {tokenizer_.encode_prompt(render_(question) + fmt::format("The key of {} is", asked)),
          tokenizer_.encode(fmt::format(" {} {}", first, second), /*special=*/false)};
}

NeedlePrompt NeedleMaker::make(std::int64_t length, double depth, std::uint64_t seed) const {
  const auto size = [](const NeedlePrompt& p) {
    return static_cast<std::int64_t>(p.ids.size() + p.answer.size());
  };
  const std::int64_t without_filler = size(assemble(0, depth, seed));
  if (length < without_filler)
    throw_error(ErrorCode::kInvalidArgument, "length: at least {} tokens expected for the question, got {}",
                without_filler, length);
  // Text that is cut and joined has other tokens at the seams: what is too long loses the difference.
  std::int64_t filler = length - without_filler;
  NeedlePrompt prompt = assemble(filler, depth, seed);
  while (size(prompt) > length && filler > 0) {
    filler = std::max<std::int64_t>(filler - (size(prompt) - length), 0);
    prompt = assemble(filler, depth, seed);
  }
  return prompt;
}

bool finds_needle(OpContext& ctx, const EvalModel& model, const NeedlePrompt& prompt) {
  std::vector<std::int32_t> ids = prompt.ids;
  ids.insert(ids.end(), prompt.answer.begin(), prompt.answer.end() - 1);
  check_sequence(model.model.config(), ids, "needle");
  const auto answers = static_cast<std::int64_t>(prompt.answer.size());
  const std::vector<SequenceHidden> hidden = run_sequences(model.model, ctx, {&ids, 1}, model.options, false);
  const ConstMat<float> main = hidden.front().main.view();
  Matrix<float> logits(answers, model.model.config().vocab_size);
  model.model.logits(ctx, main.row_range(main.rows - answers, main.rows), logits.view());
  for (std::int64_t i = 0; i < answers; ++i) {
    const std::span<const float> row = logits.view().row_span(i);
    const auto likeliest = std::max_element(row.begin(), row.end()) - row.begin();
    if (likeliest != prompt.answer[static_cast<std::size_t>(i)]) return false;
  }
  return true;
}

}  // namespace latent8
