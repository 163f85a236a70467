#include "text/tool_parser.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;
using Kind = ToolEvent::Kind;

// "{calls begin}" and its like stand for DeepSeek's marks.
std::string deepseek(std::string_view text) {
  std::string out(text);
  const ToolMarks marks = tool_marks(ToolFormat::kDeepseekV3);
  const std::pair<std::string_view, const std::string*> names[] = {{"{calls begin}", &marks.section_begin},
                                                                   {"{calls end}", &marks.section_end},
                                                                   {"{call begin}", &marks.call_begin},
                                                                   {"{sep}", &marks.separator},
                                                                   {"{call end}", &marks.call_end}};
  for (const auto& [name, mark] : names)
    for (std::size_t at = 0; (at = out.find(name)) != std::string::npos;) out.replace(at, name.size(), *mark);
  return out;
}

const auto kWeatherTool = std::make_shared<const Json>(Json::parse(R"([{"type": "function", "function": {
    "name": "weather", "parameters": {"type": "object", "properties": {
        "city": {"type": "string"}, "days": {"type": "integer"}, "note": {"type": ["string", "null"]}}}}}])"));

// Joins what came in pieces, so that it can be compared.
std::vector<std::string> shown(const std::vector<ToolEvent>& events) {
  std::vector<std::string> out;
  Kind last = Kind::kBegin;
  for (const ToolEvent& e : events) {
    EXPECT_EQ(e.text.empty(), e.kind == Kind::kBegin || e.kind == Kind::kEnd);
    const bool more = e.kind == last && !e.text.empty();
    const std::string prefix = e.kind == Kind::kContent ? "" : std::to_string(e.index) + " ";
    if (more)
      out.back() += e.text;
    else if (e.kind == Kind::kBegin)
      out.push_back(prefix + "begin " + e.name + (e.id.empty() ? "" : " as " + e.id));
    else if (e.kind == Kind::kEnd)
      out.push_back(prefix + "end");
    else
      out.push_back(prefix + (e.kind == Kind::kContent ? "content: " : "arguments: ") + e.text);
    last = e.kind;
  }
  return out;
}

// The events of a text that comes in these pieces.
std::vector<std::string> parse_pieces(ToolFormat format, const std::vector<std::string>& pieces,
                                      std::size_t max_calls = 100) {
  ToolParser parser(format, kWeatherTool, max_calls);
  std::vector<ToolEvent> events;
  const auto add = [&](const std::vector<ToolEvent>& more) {
    events.insert(events.end(), more.begin(), more.end());
  };
  for (const std::string& piece : pieces) add(parser.push(piece));
  add(parser.finish());
  return shown(events);
}

std::vector<std::string> parse(ToolFormat format, const std::string& text, std::size_t max_calls = 100) {
  return parse_pieces(format, {text}, max_calls);
}

using Events = std::vector<std::string>;

TEST(ToolParser, ReadsCallsOfDeepseekV3) {
  const std::string text = deepseek(
      "Let me see.\n\n{calls begin}{call begin}function{sep}weather\n```json\n{\"city\": "
      "\"Paris\"}\n```{call end}\n"
      "{call begin}function{sep}time\n```json\n{}\n```{call end}{calls end}");

  EXPECT_EQ(parse(ToolFormat::kDeepseekV3, text),
            (Events{"content: Let me see.", "0 begin weather", "0 arguments: {\"city\": \"Paris\"}", "0 end",
                    "1 begin time", "1 arguments: {}", "1 end"}));
}

TEST(ToolParser, ReadsCallsOfDeepseekV31) {
  const std::string text = deepseek(
      "{calls begin}{call begin}weather{sep}{\"city\": \"K\xc3\xb6ln\"}{call end}{call begin}time{sep}{call "
      "end}"
      "{calls end}");

  EXPECT_EQ(parse(ToolFormat::kDeepseekV31, text),
            (Events{"0 begin weather", "0 arguments: {\"city\": \"K\xc3\xb6ln\"}", "0 end", "1 begin time",
                    "1 arguments: {}", "1 end"}));
}

TEST(ToolParser, KeepsTheIdsOfKimiK2) {
  const std::string text =
      "<|tool_calls_section_begin|><|tool_call_begin|>functions.weather:3<|tool_call_argument_begin|>{"
      "\"days\": 2}"
      "<|tool_call_end|><|tool_call_begin|>functions.time<|tool_call_argument_begin|>{}<|tool_call_end|>"
      "<|tool_calls_section_end|>";

  EXPECT_EQ(parse(ToolFormat::kKimiK2, text),
            (Events{"0 begin weather as functions.weather:3", "0 arguments: {\"days\": 2}", "0 end",
                    "1 begin time as functions.time:1", "1 arguments: {}", "1 end"}));
}

TEST(ToolParser, GivesGlmsValuesTheTypesOfTheSchema) {
  const std::string text =
      "I look.\n<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>12 "
      "\"x\"\n</arg_value>\n<arg_key>days</arg_key>"
      "<arg_value> 3 </arg_value><arg_key>note</arg_key><arg_value>5</arg_value><arg_key>other</arg_key>"
      "<arg_value>[1, 2]</arg_value><arg_key>bad</arg_key><arg_value>[1,</arg_value></tool_call>\n"
      "<tool_call>time</tool_call>";

  EXPECT_EQ(
      parse(ToolFormat::kGlm47, text),
      (Events{"content: I look.", "0 begin weather",
              "0 arguments: {\"city\": \"12 \\\"x\\\"\\n\", \"days\": 3, \"note\": \"5\", \"other\": [1, 2], "
              "\"bad\": \"[1,\"}",
              "0 end", "1 begin time", "1 arguments: {}", "1 end"}));
}

TEST(ToolParser, GivesArgumentsOnBeforeTheCallHasEnded) {
  ToolParser parser(ToolFormat::kDeepseekV31);
  const std::string head = deepseek("{calls begin}{call begin}weather{sep}");

  EXPECT_EQ(shown(parser.push(head)), Events{"0 begin weather"});
  EXPECT_EQ(shown(parser.push("{\"city\": \"Pa")), Events{"0 arguments: {\"city\": \"Pa"});
  EXPECT_EQ(shown(parser.push("ris")), Events{"0 arguments: ris"});
}

TEST(ToolParser, LosesNothingOfWhatIsNoCall) {
  const std::string cases[] = {
      "a < b and <| c",
      "trailing space \n",
      deepseek("x {calls begin}"),
      deepseek("x {calls begin} but no call {calls end}"),
      deepseek("{calls begin}{call begin}function{sep}weat"),
      deepseek("{call begin}function{sep}a name of words\n```json\n{}\n```{call end}"),
      deepseek("{call end}{sep}{calls end}"),
      deepseek("{calls begin}{call begin}function{sep}") + std::string(2000, 'n'),
  };
  for (const std::string& text : cases)
    EXPECT_EQ(parse(ToolFormat::kDeepseekV3, text), Events{"content: " + text});
  EXPECT_EQ(parse(ToolFormat::kGlm47, "<tool_call>{\"name\": \"f\"}</tool_call>"),
            Events{"content: <tool_call>{\"name\": \"f\"}</tool_call>"});
  EXPECT_EQ(parse(ToolFormat::kNone, "<tool_call>f</tool_call>"),
            Events{"content: <tool_call>f</tool_call>"});
}

TEST(ToolParser, EndsACallWhereTheAnswerEnds) {
  EXPECT_EQ(parse(ToolFormat::kDeepseekV31, deepseek("{calls begin}{call begin}f{sep}{\"a\": \"b")),
            (Events{"0 begin f", "0 arguments: {\"a\": \"b", "0 end"}));
  EXPECT_EQ(parse(ToolFormat::kGlm47, "<tool_call>weather<arg_key>city</arg_key><arg_value>Par"),
            (Events{"0 begin weather", "0 arguments: {\"city\": \"Par", "0 end"}));
}

TEST(ToolParser, PassesArgumentsThatAreNoJson) {
  EXPECT_EQ(
      parse(ToolFormat::kDeepseekV31, deepseek("{calls begin}{call begin}f{sep}{a: b{call end}{calls end}")),
      (Events{"0 begin f", "0 arguments: {a: b", "0 end"}));
}

TEST(ToolParser, TakesTheNextCallAsTheEndOfOneThatWasNotEnded) {
  EXPECT_EQ(parse(ToolFormat::kDeepseekV31,
                  deepseek("{calls begin}{call begin}f{sep}{}{call begin}g{sep}{}{calls end}!")),
            (Events{"0 begin f", "0 arguments: {}", "0 end", "1 begin g", "1 arguments: {}", "1 end",
                    "content: !"}));
  EXPECT_EQ(parse(ToolFormat::kGlm47,
                  "<tool_call>f<arg_key>a</arg_key><arg_value>1</arg_value> hm <tool_call>g</tool_call>"),
            (Events{"0 begin f", "0 arguments: {\"a\": 1}", "0 end", "content: hm", "1 begin g",
                    "1 arguments: {}", "1 end"}));
}

TEST(ToolParser, DropsWhatFollowsTheLastCallThatIsAllowed) {
  EXPECT_EQ(parse(ToolFormat::kGlm47, "<tool_call>f</tool_call><tool_call>g</tool_call> end", 1),
            (Events{"0 begin f", "0 arguments: {}", "0 end"}));
}

// Texts of marks, their halves, and what stands between them.
std::string random_text(ToolFormat format, std::mt19937& random) {
  std::vector<std::string> words = all_tool_marks(format);
  const std::vector<std::string> marks = words;
  for (const std::string& mark : marks)
    if (mark.front() == '<') words.push_back(mark.substr(0, 2));
  for (const char* word : {"f", "weather", "city", "days", "function", "\n", " ", "```json", "\n```", "`",
                           "{\"a\": 1}", "\"", "\\", "functions.f:0", "<", "caf\xc3\xa9", "7"})
    words.emplace_back(word);
  std::string text;
  for (std::size_t n = random() % 24; n > 0; --n) text += words[random() % words.size()];
  return text;
}

// text in random pieces of whole characters.
std::vector<std::string> random_pieces(const std::string& text, std::mt19937& random) {
  std::vector<std::string> pieces{""};
  for (const char c : text) {
    const bool begins = (static_cast<unsigned char>(c) & 0xc0U) != 0x80U;
    if (begins && random() % 3 == 0) pieces.emplace_back();
    pieces.back() += c;
  }
  return pieces;
}

TEST(ToolParser, GivesTheSameEventsForAnySplitOfTheText) {
  std::mt19937 random(20261128);
  std::size_t calls = 0;
  for (const ToolFormat format :
       {ToolFormat::kDeepseekV3, ToolFormat::kDeepseekV31, ToolFormat::kKimiK2, ToolFormat::kGlm47}) {
    const ToolMarks m = tool_marks(format);
    const std::string name =
        format == ToolFormat::kDeepseekV3 ? "function" + m.separator + "weather\n```json\n{"
        : format == ToolFormat::kGlm47 ? std::string("weather\n") + kArgKey + "city" + kArgKeyEnd + kArgValue
                                       : "weather" + m.separator + "{";
    for (int i = 0; i < 2000; ++i) {
      std::string text = random_text(format, random);
      if (i % 2 == 0)
        text += m.section_begin + m.call_begin + name + random_text(format, random) + m.call_end;
      text += random_text(format, random);
      const Events whole = parse(format, text);

      EXPECT_EQ(parse_pieces(format, random_pieces(text, random)), whole) << text;

      calls += static_cast<std::size_t>(std::count(whole.begin(), whole.end(), "0 end"));
    }
  }
  EXPECT_GT(calls, 2000U);
}

TEST(ToolFormat, IsFoundByTheMarksOfATemplate) {
  EXPECT_EQ(
      detect_tool_format(deepseek("{{'{calls begin}{call begin}' + type + '{sep}' + name + '\\n```json'}}")),
      ToolFormat::kDeepseekV3);
  EXPECT_EQ(detect_tool_format(deepseek("{{'{calls begin}{call begin}' + name + '{sep}' + arguments}}")),
            ToolFormat::kDeepseekV31);
  EXPECT_EQ(detect_tool_format("<|tool_call_begin|>{{ id }}<|tool_call_argument_begin|>"),
            ToolFormat::kKimiK2);
  EXPECT_EQ(detect_tool_format("<tool_call>{{ name }}<arg_key>{{ k }}</arg_key>"), ToolFormat::kGlm47);
  EXPECT_EQ(detect_tool_format("<tool_call>{{ call | tojson }}</tool_call>"), ToolFormat::kNone);
}

TEST(ToolFormat, HasTheNamesOfVllmsParsers) {
  for (const ToolFormat format : {ToolFormat::kNone, ToolFormat::kDeepseekV3, ToolFormat::kDeepseekV31,
                                  ToolFormat::kKimiK2, ToolFormat::kGlm47})
    EXPECT_EQ(tool_format(to_string(format)), format);
  EXPECT_EQ(tool_format("glm45"), ToolFormat::kGlm47);
  EXPECT_EQ(tool_format("hermes"), std::nullopt);
}

}  // namespace
}  // namespace latent8
