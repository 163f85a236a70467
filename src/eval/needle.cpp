#include "eval/needle.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace latent8 {
namespace {

// Plain nouns, so that a model that fails has lost the key and not the word.
constexpr const char* kNouns[] = {
    "water", "house", "light",  "paper", "money", "music",   "horse", "glass",  "fire",  "ship", "bread",
    "road",  "tree",  "wood",   "stone", "gold",  "iron",    "snow",  "rain",   "wind",  "moon", "star",
    "bird",  "fish",  "apple",  "chair", "clock", "door",    "floor", "grass",  "heart", "hill", "island",
    "king",  "lake",  "leaf",   "milk",  "night", "ocean",   "plant", "queen",  "river", "salt", "school",
    "sea",   "sugar", "summer", "tower", "train", "village", "wall",  "window", "winter"};
constexpr std::size_t kFewestWords = 8;

// Of these the ones that are a single token where there are enough: each is found or not.
std::vector<std::string> words_of(const Tokenizer& tokenizer) {
  std::vector<std::string> words;
  for (const char* noun : kNouns)
    if (tokenizer.encode(std::string(" ") + noun, /*special=*/false).size() == 1) words.emplace_back(noun);
  return words.size() >= kFewestWords ? words
                                      : std::vector<std::string>(std::begin(kNouns), std::end(kNouns));
}

}  // namespace

NeedleMaker::NeedleMaker(const Tokenizer& tokenizer, std::function<std::string(const std::string&)> render,
                         std::string_view filler)
    : tokenizer_(tokenizer),
      render_(std::move(render)),
      filler_(tokenizer.encode(filler, /*special=*/false)),
      words_(words_of(tokenizer)) {
  if (filler_.empty()) throw_error(ErrorCode::kInvalidArgument, "filler: a text expected, got none");
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
  std::vector<std::string> words = words_;
  const auto word = [&] {  // each only once
    const auto at = words.begin() + rng.below(static_cast<std::int64_t>(words.size()));
    std::string chosen = *at;
    words.erase(at);
    return chosen;
  };
  const std::string asked = word(), first = word(), second = word();
  const auto before = static_cast<std::int64_t>(depth * static_cast<double>(filler_tokens));
  const std::string head = filler_text(rng, before), tail = filler_text(rng, filler_tokens - before);
  const std::string question = fmt::format("{} The key of {} is {} {}.{}\n\nWhat is the key of {}?", head,
                                           asked, first, second, tail, asked);
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
  // Text that is cut and joined has other tokens at the seams: a few tries come near, and none is too long.
  constexpr std::int64_t kNear = 8;
  std::int64_t filler = length - without_filler;
  NeedlePrompt prompt = assemble(filler, depth, seed);
  const auto adjust = [&] {
    filler = std::max<std::int64_t>(filler + length - size(prompt), 0);
    prompt = assemble(filler, depth, seed);
  };
  for (int i = 0; i < 4 && (size(prompt) > length || size(prompt) + kNear < length); ++i) adjust();
  while (size(prompt) > length && filler > 0) adjust();
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
