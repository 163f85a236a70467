// Masks against a plain account of the language: a token may come if the text with it begins a text of the
// language.

#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <random>

#include "support/grammar_cases.h"

namespace latent8 {
namespace {

// What a language says of a text.
struct Language {
  std::function<bool(const std::string&)> begins;  // some text of it begins so
  std::function<bool(const std::string&)> has;
};

Language finite(const std::set<std::string>& words) {
  return {.begins =
              [words](const std::string& text) {
                return std::any_of(words.begin(), words.end(),
                                   [&](auto& word) { return word.starts_with(text); });
              },
          .has = [words](const std::string& text) { return words.contains(text); }};
}

// Compares the masks at every text of at most `depth` tokens that the language begins with.
void expect_exact(const GrammarVocabulary& vocabulary, const Grammar& grammar, const Language& language,
                  int depth) {
  const std::int32_t stop = vocabulary.stop_ids[0];
  std::int64_t compared = 0;
  const auto mask = grammar.make_mask(/*starts_answer=*/true);
  const std::function<void(const std::string&, int)> visit = [&](const std::string& text, int left) {
    std::set<std::int32_t> expected;
    for (std::int32_t id = 0; id < stop; ++id) {
      const std::string& token = vocabulary.tokens[static_cast<std::size_t>(id)];
      if (!token.empty() && language.begins(text + token)) expected.insert(id);
    }
    if (language.has(text)) expected.insert(stop);
    ASSERT_EQ(allowed_by(*mask, vocabulary), expected) << "after '" << text << "'";
    ++compared;
    if (left == 0) return;
    for (const std::int32_t id : expected) {
      if (id == stop) continue;
      mask->accept(id);
      visit(text + vocabulary.tokens[static_cast<std::size_t>(id)], left - 1);
      if (testing::Test::HasFatalFailure()) return;
      mask->rollback(1);
    }
  };
  visit("", depth);
  EXPECT_GT(compared, 10);
}

std::vector<std::string> random_tokens(const std::string& alphabet, std::size_t count, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::string> out;
  for (const char c : alphabet) out.emplace_back(1, c);
  while (out.size() < count) {
    std::string token;
    for (std::size_t n = 2 + random() % 4; n > 0; --n) token += alphabet[random() % alphabet.size()];
    out.push_back(token);
  }
  out.emplace_back();  // special tokens have no text
  return out;
}

TEST(GrammarMask, AllowsWhatBeginsAChoice) {
  const std::set<std::string> words = {"yes",   "no",        "not yet",
                                       "never", "\xC3\xA4h", "\xE4\xB8\xAD\xE6\x96\x87"};
  std::vector<std::string> tokens = random_tokens("yesnotv r", 60, 1);
  for (const std::string& word : words)
    for (std::size_t at = 0; at < word.size(); ++at) tokens.push_back(word.substr(at, 1 + at % 3));
  const GrammarVocabulary vocabulary = vocabulary_of(tokens);
  std::string rule = "root ::= ";
  for (const std::string& word : words) rule += (rule.back() == ' ' ? "\"" : " | \"") + word + "\"";

  const auto grammar = compiled(vocabulary, GrammarKind::kEbnf, rule);

  expect_exact(vocabulary, *grammar, finite(words), 4);
}

TEST(GrammarMask, AllowsWhatBeginsAMatchOfAnExpression) {
  std::set<std::string> words, heads = {""};
  for (int n = 0; n < 3; ++n) {
    std::set<std::string> longer;
    for (const std::string& head : heads)
      for (const char* next : {"ab", "c"}) longer.insert(head + next);
    for (const std::string& head : longer)
      for (const char* middle : {"", "d"})
        for (const char* end : {"x", "y"}) words.insert(head + middle + end);
    heads = longer;
  }
  for (unsigned seed = 0; seed < 4; ++seed) {
    const GrammarVocabulary vocabulary = vocabulary_of(random_tokens("abcdxyz", 80, seed));

    const auto grammar = compiled(vocabulary, GrammarKind::kRegex, "^(ab|c){1,3}d?[xy]$");

    expect_exact(vocabulary, *grammar, finite(words), 4);
  }
}

TEST(GrammarMask, AllowsWhatBeginsAListOfNumbers) {
  // Digits with single commas between them.
  const auto begins = [](const std::string& text) {
    return text.find_first_not_of("0123456789,") == std::string::npos && !text.starts_with(',') &&
           text.find(",,") == std::string::npos;
  };
  const Language numbers{.begins = begins, .has = [&](const std::string& text) {
                           return begins(text) && !text.empty() && !text.ends_with(',');
                         }};
  const GrammarVocabulary vocabulary = vocabulary_of(random_tokens("019,a", 30, 7));

  const auto grammar = compiled(vocabulary, GrammarKind::kRegex, "[0-9]+(,[0-9]+)*");

  expect_exact(vocabulary, *grammar, numbers, 3);
}

TEST(GrammarMask, NeverBreaksACharacter) {
  const GrammarVocabulary vocabulary = byte_vocabulary({"\xA0\x80", "\x80\x80", "\xE0\x80", "\xC3\xA4"});
  const auto grammar = compiled(vocabulary, GrammarKind::kRegex, ".{1,3}");
  std::mt19937 random(1);
  for (int round = 0; round < 50; ++round) {
    const auto mask = grammar->make_mask(true);
    std::string text;
    for (std::int32_t id = -1; id != vocabulary.stop_ids[0];) {
      const auto allowed = allowed_by(*mask, vocabulary);
      ASSERT_FALSE(allowed.empty()) << text;
      id = *std::next(allowed.begin(), static_cast<std::ptrdiff_t>(random() % allowed.size()));
      text += vocabulary.tokens[static_cast<std::size_t>(id)];
      mask->accept(id);
    }
    std::size_t characters = 0;
    for (std::size_t at = 0; at < text.size(); ++characters) {
      const auto lead = static_cast<unsigned char>(text[at]);
      const std::size_t length = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
      const unsigned char next = length > 1 ? static_cast<unsigned char>(text.at(at + 1)) : 0;
      EXPECT_FALSE(lead == 0xED && next > 0x9F) << "a surrogate";
      EXPECT_FALSE(lead == 0xE0 && next < 0xA0) << "an overlong form";
      at += length;
      EXPECT_LE(at, text.size());
    }
    EXPECT_TRUE(characters >= 1 && characters <= 3) << characters;
  }
}

TEST(GrammarMask, AllowsOnlyTheEndAfterTheEnd) {
  const GrammarVocabulary vocabulary = vocabulary_of({"a", "b"});
  const auto mask = compiled(vocabulary, GrammarKind::kRegex, "ab?")->make_mask(true);
  const std::int32_t stop = vocabulary.stop_ids[0];

  mask->accept(0);
  mask->accept(stop);

  EXPECT_EQ(allowed_by(*mask, vocabulary), std::set<std::int32_t>{stop});
  mask->accept(stop);
  EXPECT_EQ(allowed_by(*mask, vocabulary), std::set<std::int32_t>{stop});
  mask->rollback(2);
  EXPECT_EQ(allowed_by(*mask, vocabulary), (std::set<std::int32_t>{1, stop}));
}

TEST(GrammarMask, AllowsNothingAfterATokenThatCouldNotCome) {
  const GrammarVocabulary vocabulary = vocabulary_of({"a", "b"});
  const auto mask = compiled(vocabulary, GrammarKind::kRegex, "ab")->make_mask(true);

  mask->accept(1);

  EXPECT_TRUE(allowed_by(*mask, vocabulary).empty());
  mask->rollback(1);
  EXPECT_EQ(allowed_by(*mask, vocabulary), std::set<std::int32_t>{0});
}

TEST(GrammarMask, RollsBackToWhatItWas) {
  const GrammarVocabulary vocabulary = byte_vocabulary({"\": \"", "{\"", "\",", "12", "true", "]}"});
  const auto grammar = compiled(
      vocabulary, GrammarKind::kJsonSchema,
      R"({"type":"object","properties":{"a":{"type":"array","items":{"type":"integer"}},"b":{"type":"string"}}})");
  std::mt19937 random(3);
  for (int round = 0; round < 20; ++round) {
    const auto mask = grammar->make_mask(true);
    std::vector<std::set<std::int32_t>> seen = {allowed_by(*mask, vocabulary)};
    for (int step = 0; step < 150; ++step) {
      if (random() % 3 == 0 && seen.size() > 1) {
        const std::size_t back = 1 + random() % std::min<std::size_t>(seen.size() - 1, 8);
        mask->rollback(static_cast<std::int64_t>(back));
        seen.resize(seen.size() - back);
        ASSERT_EQ(allowed_by(*mask, vocabulary), seen.back());
      }
      const auto& allowed = seen.back();
      mask->accept(*std::next(allowed.begin(), static_cast<std::ptrdiff_t>(random() % allowed.size())));
      seen.push_back(allowed_by(*mask, vocabulary));
    }
  }
}

TEST(GrammarMask, BeginsWithNoSpaceWhereAnAnswerLosesIt) {
  GrammarVocabulary vocabulary = vocabulary_of({"a", " a", " "});
  vocabulary.drops_first_space = true;
  const auto grammar = compiled(vocabulary, GrammarKind::kRegex, " ?a");

  EXPECT_EQ(allowed_by(*grammar->make_mask(/*starts_answer=*/true), vocabulary), std::set<std::int32_t>{0});
  EXPECT_EQ(allowed_by(*grammar->make_mask(/*starts_answer=*/false), vocabulary),
            (std::set<std::int32_t>{0, 1, 2}));
}

TEST(GrammarMask, LeavesBitsThatWereCleared) {
  const GrammarVocabulary vocabulary = vocabulary_of({"a", "b"});
  const auto mask = compiled(vocabulary, GrammarKind::kRegex, "[ab]")->make_mask(true);
  std::vector<std::uint64_t> bits(2, ~std::uint64_t{0});
  bits[0] &= ~std::uint64_t{1};

  mask->restrict(bits);

  EXPECT_EQ(bits, (std::vector<std::uint64_t>{2, 0}));
}

}  // namespace
}  // namespace latent8
