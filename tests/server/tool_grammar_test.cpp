#include "server/tool_grammar.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "latent8/error.h"
#include "support/grammar_cases.h"
#include "text/tool_marks.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;
using Mode = ToolChoice::Mode;

constexpr const char* kTools = R"([
  {"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {
      "city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]}}},
  {"type": "function", "function": {"name": "time"}}])";

struct Format {
  ToolFormat format;
  std::string weather, time;  // calls as the format's chat template writes them
  std::string begin, between, end;
};

std::vector<Format> formats() {
  const ToolMarks v3 = tool_marks(ToolFormat::kDeepseekV3), kimi = tool_marks(ToolFormat::kKimiK2);
  const auto fenced = [&](const std::string& name, const std::string& json) {
    return v3.call_begin + "function" + v3.separator + name + "\n```json\n" + json + "\n```" + v3.call_end;
  };
  const auto bare = [&](const std::string& name, const std::string& json) {
    return v3.call_begin + name + v3.separator + json + v3.call_end;
  };
  const auto numbered = [&](const std::string& name, const std::string& json) {
    return kimi.call_begin + "functions." + name + ":0" + kimi.separator + json + kimi.call_end;
  };
  const std::string weather = R"({"city": "Oslo", "days": 3})", time = "{}";
  return {
      {ToolFormat::kDeepseekV3, fenced("weather", weather), fenced("time", time), v3.section_begin, "\n",
       v3.section_end},
      {ToolFormat::kDeepseekV31, bare("weather", weather), bare("time", time), v3.section_begin, "",
       v3.section_end},
      {ToolFormat::kKimiK2, numbered("weather", weather), numbered("time", time), kimi.section_begin, "",
       kimi.section_end},
      {ToolFormat::kGlm47,
       "<tool_call>weather\n<arg_key>city</arg_key>\n<arg_value>Oslo</arg_value>\n<arg_key>days</arg_key>\n"
       "<arg_value>3</arg_value>\n</tool_call>",
       "<tool_call>time</tool_call>", "", "", ""}};
}

class ToolGrammar : public ::testing::TestWithParam<Format> {
 protected:
  void SetUp() override {
    try {
      takes({.mode = Mode::kAuto, .name = ""}, "");
    } catch (const Error& error) {
      if (std::string(error.what()).find("no XGrammar") != std::string::npos) GTEST_SKIP() << error.what();
      throw;
    }
  }

  bool takes(const ToolChoice& choice, const std::string& text, bool parallel = true,
             std::optional<GrammarSpec> content = {}) {
    static const GrammarVocabulary bytes = byte_vocabulary();
    const ToolOptions tools{.format = GetParam().format,
                            .tools = std::make_shared<const Json>(Json::parse(kTools)),
                            .parallel = parallel};
    const auto spec = tool_grammar(tools, choice, ToolArgumentsForm::kSchemas, content);
    return matches(*compiled(bytes, spec->kind, spec->text), bytes, text);
  }
};

TEST_P(ToolGrammar, TakesTextAndCallsWhereTheModelMayChoose) {
  const Format& f = GetParam();
  const ToolChoice automatic{.mode = Mode::kAuto, .name = ""};

  EXPECT_TRUE(takes(automatic, "Hello <there>."));
  EXPECT_TRUE(takes(automatic, "Let me see.\n" + f.begin + f.weather + f.end));
  EXPECT_TRUE(takes(automatic, f.begin + f.weather + f.between + f.time + f.end));
  EXPECT_FALSE(takes(automatic, f.begin + f.weather + f.between + f.time + f.end, /*parallel=*/false));
}

TEST_P(ToolGrammar, TakesNothingButCallsWhereTheyAreRequired) {
  const Format& f = GetParam();
  const ToolChoice required{.mode = Mode::kRequired, .name = ""};

  EXPECT_FALSE(takes(required, "Hello."));
  EXPECT_FALSE(takes(required, ""));
  EXPECT_TRUE(takes(required, f.begin + f.time + f.end));
  EXPECT_TRUE(takes(required, f.begin + f.time + f.between + f.weather + f.end));
}

TEST_P(ToolGrammar, TakesOneCallOfTheNamedTool) {
  const Format& f = GetParam();
  const ToolChoice named{.mode = Mode::kNamed, .name = "weather"};

  EXPECT_TRUE(takes(named, f.begin + f.weather + f.end));
  EXPECT_FALSE(takes(named, f.begin + f.time + f.end));
  EXPECT_FALSE(takes(named, f.begin + f.weather + f.between + f.weather + f.end));
}

TEST_P(ToolGrammar, TakesArgumentsOfTheSchemaAlone) {
  const Format& f = GetParam();
  const ToolChoice required{.mode = Mode::kRequired, .name = ""};
  const auto with = [&](const std::string& from, const std::string& to) {
    std::string call = f.weather;
    const std::size_t at = call.find(from);
    EXPECT_NE(at, std::string::npos) << from;
    return f.begin + call.replace(at, from.size(), to) + f.end;
  };

  EXPECT_FALSE(takes(required, with("days", "hours")));
  EXPECT_FALSE(takes(required, with("3", "soon")));
  EXPECT_FALSE(takes(required, with("weather", "whether")));
}

TEST_P(ToolGrammar, TakesTheFormOfTheContentOrCalls) {
  const Format& f = GetParam();
  const ToolChoice automatic{.mode = Mode::kAuto, .name = ""};
  const GrammarSpec schema{.kind = GrammarKind::kJsonSchema, .text = R"({"type": "null"})"};

  EXPECT_TRUE(takes(automatic, "null", true, schema));
  EXPECT_TRUE(takes(automatic, f.begin + f.time + f.end, true, schema));
  EXPECT_FALSE(takes(automatic, "Hello.", true, schema));
}

TEST_P(ToolGrammar, RefusesAFormOfTheContentThatNestsWithoutEnd) {
  const ToolChoice automatic{.mode = Mode::kAuto, .name = ""};
  for (const GrammarKind kind : {GrammarKind::kJsonSchema, GrammarKind::kStructuralTag})
    EXPECT_THROW(takes(automatic, "", true, GrammarSpec{.kind = kind, .text = std::string(1'000'000, '[')}),
                 Error);
}

INSTANTIATE_TEST_SUITE_P(Formats, ToolGrammar, ::testing::ValuesIn(formats()),
                         [](const auto& info) { return std::string(to_string(info.param.format)); });

TEST(ToolGrammarOfNone, IsNone) { EXPECT_FALSE(tool_grammar({}, {}, ToolArgumentsForm::kSchemas, {})); }

}  // namespace
}  // namespace latent8
