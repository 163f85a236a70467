#include "frontend/answer_mask.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <set>
#include <string>

#include "support/temp_dir.h"
#include "text/reasoning_parser.h"

namespace latent8 {
namespace {

using Phase = ReasoningState::Phase;
using Ids = std::set<std::int32_t>;

const std::string kModel = std::string(LATENT8_SOURCE_DIR) + "/models/tiny-r1";

const Tokenizer& tokenizer() {
  static const Tokenizer instance = Tokenizer::load(kModel);
  return instance;
}

// One that writes the tags of reasoning in several tokens.
const Tokenizer& plain_tokenizer() {
  static const Tokenizer instance = [] {
    nlohmann::json file = nlohmann::json::parse(std::ifstream(kModel + "/tokenizer.json"));
    for (const char* tag : {"<think>", "</think>"}) {
      file["model"]["vocab"].erase(tag);
      auto& added = file["added_tokens"];
      added.erase(
          std::find_if(added.begin(), added.end(), [&](auto& token) { return token["content"] == tag; }));
    }
    const TempDir dir;
    dir.write("tokenizer.json", file.dump());
    return Tokenizer::load(dir.path());
  }();
  return instance;
}

const ReasoningTokens& reasoning_of(const Tokenizer& of) {
  static const ReasoningTokens whole(tokenizer()), plain(plain_tokenizer());
  return &of == &tokenizer() ? whole : plain;
}

// Allows the tokens of a text, one after the other, then token 1; notes what it is told.
class TextMask final : public MaskProvider {
 public:
  explicit TextMask(std::vector<std::int32_t> ids) : ids_(std::move(ids)) {}
  void restrict(std::span<std::uint64_t> bits) noexcept override {
    const std::int32_t id = at_ < ids_.size() ? ids_[at_] : 1;
    const std::uint64_t before = bits[static_cast<std::size_t>(id) / 64];
    std::fill(bits.begin(), bits.end(), 0);
    bits[static_cast<std::size_t>(id) / 64] = before & (std::uint64_t{1} << (id % 64));
  }
  void accept(std::int32_t) noexcept override { ++at_; }
  void rollback(std::int64_t count) noexcept override { at_ -= static_cast<std::size_t>(count); }

 private:
  std::vector<std::int32_t> ids_;
  std::size_t at_ = 0;
};

Ids allowed_by(MaskProvider& mask) {
  std::vector<std::uint64_t> bits(64, ~std::uint64_t{0});
  mask.restrict(bits);
  Ids out;
  for (std::int32_t id = 0; id < 4096; ++id)
    if ((bits[static_cast<std::size_t>(id) / 64] >> (id % 64) & 1) != 0) out.insert(id);
  return out;
}

void accept(MaskProvider& mask, const std::vector<std::int32_t>& ids) {
  for (const std::int32_t id : ids) mask.accept(id);
}

TEST(ReasoningTokens, AgreeWithTheParserOfTheText) {
  const std::vector<std::string> pieces = {"<think>", "</think>", "<", "</",   "think", ">",
                                           "\n",      " ",        "a", "</th", "ink>x"};
  std::mt19937 random(5);
  for (const Tokenizer* of : {&tokenizer(), &plain_tokenizer()}) {
    for (int round = 0; round < 400; ++round) {
      const bool inside = random() % 2 == 0;
      ReasoningParser parser({.starts_inside = inside});
      ReasoningState state{.phase = inside ? Phase::kInside : Phase::kStart};
      std::string content, text;
      for (std::size_t n = random() % 12; n > 0; --n) text += pieces[random() % pieces.size()];
      for (const std::int32_t id : of->encode(text)) {
        content += parser.push(of->token_bytes(id)).content;
        state = reasoning_of(*of).next(state, id);
        ASSERT_EQ(parser.inside(), state.phase == Phase::kInside) << text;
        ASSERT_EQ(!content.empty(), state.phase == Phase::kContent) << text;
      }
    }
  }
}

TEST(AnswerMask, ForcesTheCloseTagAtTheEndOfTheBudget) {
  for (const Tokenizer* of : {&tokenizer(), &plain_tokenizer()}) {
    const std::vector<std::int32_t> close = of->encode("</think>");
    AnswerMask mask(reasoning_of(*of), {.starts_in_reasoning = true, .thinking_budget = 3}, nullptr);
    for (const std::int32_t id : of->encode("a b c").size() == 3 ? of->encode("a b c") : close) {
      EXPECT_EQ(allowed_by(mask).size(), 4096);
      mask.accept(id);
    }
    for (const std::int32_t id : close) {
      EXPECT_EQ(allowed_by(mask), Ids{id});
      mask.accept(id);
    }
    EXPECT_EQ(allowed_by(mask).size(), 4096);
  }
}

TEST(AnswerMask, CountsTheBudgetFromTheOpenTag) {
  AnswerMask mask(reasoning_of(tokenizer()), {.thinking_budget = 1}, nullptr);
  const std::int32_t close = *tokenizer().token_id("</think>");

  accept(mask, tokenizer().encode("\n<think>"));
  EXPECT_EQ(allowed_by(mask).size(), 4096);
  accept(mask, tokenizer().encode("a"));

  EXPECT_EQ(allowed_by(mask), Ids{close});
}

TEST(AnswerMask, HasNoBudgetOutsideOfReasoning) {
  AnswerMask mask(reasoning_of(tokenizer()), {.thinking_budget = 0}, nullptr);

  EXPECT_EQ(allowed_by(mask).size(), 4096);
  accept(mask, tokenizer().encode("An answer, at once."));

  EXPECT_EQ(allowed_by(mask).size(), 4096);
}

TEST(AnswerMask, BeginsTheGrammarAfterTheReasoning) {
  const std::vector<std::int32_t> text = tokenizer().encode("{}");
  AnswerMask mask(reasoning_of(tokenizer()), {.starts_in_reasoning = true, .not_in_reasoning = {1}},
                  std::make_unique<TextMask>(text));
  const Ids newlines(reasoning_of(tokenizer()).newlines().begin(),
                     reasoning_of(tokenizer()).newlines().end());
  ASSERT_GE(newlines.size(), 1);

  EXPECT_EQ(allowed_by(mask).size(), 4095) << "all but the end of the answer";
  accept(mask, tokenizer().encode("Well.</think>"));
  Ids expected = newlines;
  expected.insert(text[0]);
  EXPECT_EQ(allowed_by(mask), expected);
  mask.accept(*newlines.begin());
  mask.accept(*newlines.begin());
  EXPECT_EQ(allowed_by(mask), Ids{text[0]}) << "no more newlines than two";
  accept(mask, text);

  EXPECT_EQ(allowed_by(mask), Ids{1});
}

TEST(AnswerMask, BeginsTheGrammarAtOnceWhereNoReasoningIsOpen) {
  const std::vector<std::int32_t> text = tokenizer().encode("{}");
  AnswerMask mask(reasoning_of(tokenizer()), {}, std::make_unique<TextMask>(text));

  EXPECT_EQ(allowed_by(mask), Ids{text[0]});
}

TEST(AnswerMask, LetsNoTokenReachFromTheCloseTagIntoTheContent) {
  const Tokenizer& of = plain_tokenizer();
  AnswerMask mask(reasoning_of(of), {.starts_in_reasoning = true},
                  std::make_unique<TextMask>(of.encode("{}")));
  std::string written;
  for (const std::int32_t id : of.encode("</think")) {
    mask.accept(id);
    written += of.token_bytes(id);
  }
  ASSERT_EQ(written, "</think");

  for (const std::int32_t id : allowed_by(mask)) {
    const std::string_view bytes = of.token_bytes(id);
    EXPECT_FALSE(bytes.starts_with('>') && bytes.find_first_not_of("\n", 1) != std::string_view::npos)
        << bytes;
  }
  EXPECT_TRUE(allowed_by(mask).contains(*of.token_id(">")));
}

TEST(AnswerMask, RollsBackToWhatItWas) {
  std::mt19937 random(11);
  for (const Tokenizer* of : {&tokenizer(), &plain_tokenizer()}) {
    std::vector<std::int32_t> answer = of->encode("so it is</think>\n\n{\"a\": 1}");
    answer.push_back(1);
    AnswerMask mask(reasoning_of(*of),
                    {.starts_in_reasoning = true, .thinking_budget = 40, .not_in_reasoning = {1}},
                    std::make_unique<TextMask>(of->encode("{\"a\": 1}")));
    std::vector<Ids> seen = {allowed_by(mask)};
    for (int step = 0; step < 300; ++step) {
      const std::size_t at = seen.size() - 1;
      if (at == answer.size() || random() % 3 == 0) {
        const std::size_t back = random() % (at + 1);
        mask.rollback(static_cast<std::int64_t>(back));
        seen.resize(seen.size() - back);
        ASSERT_EQ(allowed_by(mask), seen.back());
      } else {
        ASSERT_TRUE(seen.back().contains(answer[at])) << at;
        mask.accept(answer[at]);
        seen.push_back(allowed_by(mask));
      }
    }
  }
}

}  // namespace
}  // namespace latent8
