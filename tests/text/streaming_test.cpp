// Text that arrives in pieces: detokeniser, stop strings, reasoning parser.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include "latent8/error.h"
#include "text/incremental_detokenizer.h"
#include "text/reasoning_parser.h"
#include "text/stop_strings.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

const Tokenizer& tiny() {
  static const Tokenizer tokenizer =
      Tokenizer::load(std::filesystem::path(LATENT8_SOURCE_DIR) / "models/tiny-r1");
  return tokenizer;
}

// Texts over a small alphabet, cut into pieces, so that stop strings and tags begin often.
rc::Gen<std::vector<std::string>> pieces_of(const std::string& alphabet) {
  return rc::gen::container<std::vector<std::string>>(
      rc::gen::container<std::string>(rc::gen::elementOf(alphabet)));
}

std::string joined(const std::vector<std::string>& pieces) {
  std::string text;
  for (const std::string& piece : pieces) text += piece;
  return text;
}

TEST(IncrementalDetokenizer, HoldsBackHalfACharacter) {
  const auto ids = tiny().encode("\xe6\xb7\xb1");  // three tokens of one byte each with this vocabulary
  ASSERT_EQ(ids.size(), 3u);
  IncrementalDetokenizer detokenizer(tiny(), true);

  EXPECT_EQ(detokenizer.push(ids[0]), "");
  EXPECT_EQ(detokenizer.push(ids[1]), "");
  EXPECT_EQ(detokenizer.push(ids[2]), "\xe6\xb7\xb1");
  EXPECT_EQ(detokenizer.finish(), "");
}

TEST(IncrementalDetokenizer, ReplacesACharacterThatNeverEnds) {
  IncrementalDetokenizer detokenizer(tiny(), true);

  EXPECT_EQ(detokenizer.push(tiny().encode("\xe6\xb7\xb1")[0]), "");
  EXPECT_EQ(detokenizer.finish(), "\xef\xbf\xbd");
}

TEST(IncrementalDetokenizer, LeavesSpecialTokensOutOnDemand) {
  IncrementalDetokenizer detokenizer(tiny(), false);

  EXPECT_EQ(detokenizer.push(*tiny().token_id("<think>")), "");
}

TEST(IncrementalDetokenizer, GivesInPiecesWhatDecodeGivesAtOnce) {
  EXPECT_TRUE(rc::check("concatenation equals decode, each piece is UTF-8", [] {
    const auto ids = *rc::gen::container<std::vector<std::int32_t>>(rc::gen::inRange(-2, 600));
    IncrementalDetokenizer detokenizer(tiny(), true);
    std::string text;
    for (const std::int32_t id : ids) {
      const std::string piece = detokenizer.push(id);
      RC_ASSERT(!first_invalid_utf8(piece));
      text += piece;
    }
    text += detokenizer.finish();
    RC_ASSERT(text == tiny().decode(ids));
  }));
}

TEST(StopStrings, EndsTheTextBeforeAStopStringCutInTwo) {
  StopStrings stops({"###"});

  EXPECT_EQ(stops.push("answer #"), "answer ");
  EXPECT_EQ(stops.push("##rest"), "");
  EXPECT_EQ(stops.matched(), "###");
  EXPECT_EQ(stops.push("more"), "");
}

TEST(StopStrings, GivesOutWhatOnlyLookedLikeAStopString) {
  StopStrings stops({"END"});

  EXPECT_EQ(stops.push("xEN"), "x");
  EXPECT_EQ(stops.push("A"), "ENA");
  EXPECT_FALSE(stops.matched().has_value());
}

TEST(StopStrings, GivesOutTheRestAtTheEnd) {
  StopStrings stops({"END"});

  EXPECT_EQ(stops.push("EN"), "");
  EXPECT_EQ(stops.finish(), "EN");
}

TEST(StopStrings, RefusesAnEmptyStopString) { EXPECT_THROW(StopStrings({""}), Error); }

TEST(StopStrings, DoesNotDependOnHowTheTextIsCut) {
  EXPECT_TRUE(rc::check("pieces give what the whole gives", [] {
    const std::vector<std::string> words = {"ab", "abcab", "ca", "bbb", "aabb"};
    const auto pieces = *pieces_of("abc");
    StopStrings in_pieces(words);
    StopStrings at_once(words);
    std::string text;
    for (const std::string& piece : pieces) text += in_pieces.push(piece);
    text += in_pieces.finish();
    std::string whole = at_once.push(joined(pieces));
    whole += at_once.finish();
    RC_ASSERT(text == whole);
    RC_ASSERT(in_pieces.matched() == at_once.matched());
    RC_ASSERT(joined(pieces).starts_with(text));
    for (const std::string& word : words) RC_ASSERT(text.find(word) == std::string::npos);
  }));
}

TEST(ReasoningParser, PartsAnAnswerThatStartsInsideTheTag) {
  ReasoningParser parser({.starts_inside = true});

  const ReasoningDelta first = parser.push("\nhm, ok</thi");
  const ReasoningDelta second = parser.push("nk>\n\nyes");

  EXPECT_EQ(first.reasoning, "hm, ok");
  EXPECT_EQ(second.reasoning, "");
  EXPECT_EQ(second.content, "yes");
  EXPECT_FALSE(parser.inside());
}

TEST(ReasoningParser, FindsAnOpenTagOfTheModelsOwn) {
  ReasoningParser parser({});

  parser.push("<th");
  const ReasoningDelta delta = parser.push("ink>\na</think>b");

  EXPECT_EQ(delta.reasoning, "a");
  EXPECT_EQ(delta.content, "b");
}

TEST(ReasoningParser, TakesAnAnswerWithoutTagsAsContent) {
  ReasoningParser parser({});

  EXPECT_EQ(parser.push("<b>hi</b>").content, "<b>hi</b>");
}

TEST(ReasoningParser, KeepsReasoningWithoutACloseTagAsReasoning) {
  ReasoningParser parser({.starts_inside = true});

  EXPECT_EQ(parser.push("hm </th").reasoning, "hm ");
  EXPECT_EQ(parser.finish().reasoning, "</th");
  EXPECT_TRUE(parser.inside());
}

TEST(ReasoningParser, EndsAtAMarkOfContent) {
  ReasoningParser parser({.starts_inside = true, .content_mark = "<call>"});

  ReasoningDelta delta = parser.push("hm <ca");
  EXPECT_EQ(delta.reasoning, "hm ");
  delta = parser.push("ll>f");

  EXPECT_EQ(delta.reasoning, "");
  EXPECT_EQ(delta.content, "<call>f");
  EXPECT_FALSE(parser.inside());
}

TEST(ReasoningParser, KnowsAPromptThatOpensTheTag) {
  EXPECT_TRUE(ReasoningParser::prompt_opens("<assistant><think>\n"));
  EXPECT_FALSE(ReasoningParser::prompt_opens("<assistant>"));
  EXPECT_FALSE(ReasoningParser::prompt_opens("<think>x</think>"));
}

TEST(ReasoningParser, DoesNotDependOnHowTheTextIsCut) {
  EXPECT_TRUE(rc::check("pieces give what the whole gives", [] {
    const ReasoningParser::Options options{
        .starts_inside = *rc::gen::arbitrary<bool>(), .open_tag = "ab", .close_tag = "ba"};
    const auto pieces = *pieces_of("ab\n");
    ReasoningParser in_pieces(options);
    ReasoningParser at_once(options);
    ReasoningDelta sum;
    const auto add = [](ReasoningDelta& to, const ReasoningDelta& delta) {
      to.reasoning += delta.reasoning;
      to.content += delta.content;
    };
    for (const std::string& piece : pieces) add(sum, in_pieces.push(piece));
    add(sum, in_pieces.finish());
    ReasoningDelta whole = at_once.push(joined(pieces));
    add(whole, at_once.finish());
    RC_ASSERT(sum.reasoning == whole.reasoning);
    RC_ASSERT(sum.content == whole.content);
  }));
}

}  // namespace
}  // namespace latent8
