#include "server/answer_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server/api_error.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

AnswerFormat read(const std::string& body) {
  const Json json = Json::parse(body);
  return read_answer_format(Fields(json));
}

std::string refused(const std::string& body) {
  try {
    read(body);
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status, 400);
    return error.param;
  }
  return "";
}

TEST(AnswerFormat, ReadsEverySpellingOfAGrammar) {
  struct Case {
    const char* body;
    GrammarKind kind;
    const char *text, *field;
  };
  const Case cases[] = {
      {R"({"response_format": {"type": "json_object"}})", GrammarKind::kJsonObject, "", "response_format"},
      {R"({"response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"b": 1, "a": 2}}}})",
       GrammarKind::kJsonSchema, R"({"b":1,"a":2})", "response_format.json_schema.schema"},
      {R"({"response_format": {"type": "structural_tag", "format": {}}})", GrammarKind::kStructuralTag,
       R"({"type":"structural_tag","format":{}})", "response_format"},
      {R"({"structured_outputs": {"json": "{}"}})", GrammarKind::kJsonSchema, "{}",
       "structured_outputs.json"},
      {R"({"structured_outputs": {"json_object": true}})", GrammarKind::kJsonObject, "",
       "structured_outputs.json_object"},
      {R"({"structured_outputs": {"regex": "a+"}})", GrammarKind::kRegex, "a+", "structured_outputs.regex"},
      {R"({"structured_outputs": {"choice": ["a", "\"b\n"]}})", GrammarKind::kEbnf,
       R"(root ::= "a" | "\"b\n")", "structured_outputs.choice"},
      {R"({"structured_outputs": {"structural_tag": "{}"}})", GrammarKind::kStructuralTag, "{}",
       "structured_outputs.structural_tag"},
      {R"({"guided_json": {"type": "null"}})", GrammarKind::kJsonSchema, R"({"type":"null"})", "guided_json"},
      {R"({"guided_grammar": "root ::= \"a\""})", GrammarKind::kEbnf, R"(root ::= "a")", "guided_grammar"},
  };
  for (const Case& c : cases) {
    const AnswerFormat format = read(c.body);
    ASSERT_TRUE(format.form.grammar) << c.body;
    EXPECT_EQ(format.form.grammar->kind, c.kind) << c.body;
    EXPECT_EQ(format.form.grammar->text, c.text) << c.body;
    EXPECT_EQ(format.grammar_field, c.field) << c.body;
  }
}

TEST(AnswerFormat, IsFreeWhereNothingIsAsked) {
  EXPECT_TRUE(read("{}").form.free());
  EXPECT_TRUE(read(R"({"response_format": {"type": "text"}, "guided_json": null, "thinking_budget": -1})")
                  .form.free());
}

TEST(AnswerFormat, ReadsStrictAsThePermissionOfOtherMembers) {
  const auto strict = [](const std::string& value) {
    return read(R"({"response_format": {"type": "json_schema", "json_schema": {"schema": {})" + value + "}}}")
        .form.grammar->strict;
  };
  EXPECT_TRUE(strict(""));
  EXPECT_TRUE(strict(R"(, "strict": true)"));
  EXPECT_FALSE(strict(R"(, "strict": false)"));
}

TEST(AnswerFormat, ReadsTheBudgetUnderItsNames) {
  for (const char* body :
       {R"({"thinking_token_budget": 7})", R"({"thinking_budget": 7})", R"({"max_thinking_tokens": 7})",
        R"({"chat_template_kwargs": {"thinking_budget": 7}})",
        R"({"custom_params": {"thinking_budget": 7}})"})
    EXPECT_EQ(read(body).form.thinking_budget, 7) << body;
  EXPECT_EQ(read(R"({"reasoning_effort": "none"})").form.thinking_budget, 0);
  EXPECT_EQ(read(R"({"reasoning_effort": "high"})").form.thinking_budget, std::nullopt);
}

TEST(AnswerFormat, NamesWhatIsWrong) {
  EXPECT_EQ(refused(R"({"response_format": {"type": "xml"}})"), "response_format.type");
  EXPECT_EQ(refused(R"({"response_format": {"type": "json_schema", "json_schema": {}}})"),
            "response_format.json_schema.schema");
  EXPECT_EQ(refused(R"({"guided_json": 3})"), "guided_json");
  EXPECT_EQ(refused(R"({"guided_regex": 3})"), "guided_regex");
  EXPECT_EQ(refused(R"({"guided_choice": "a"})"), "guided_choice");
  EXPECT_EQ(refused(R"({"guided_choice": [""]})"), "guided_choice");
  EXPECT_EQ(refused(R"({"structured_outputs": {"json_object": false}})"), "structured_outputs");
  EXPECT_EQ(refused(R"({"structured_outputs": {"regex": "a", "choice": ["a"]}})"),
            "structured_outputs.choice");
  EXPECT_EQ(refused(R"({"guided_regex": "a", "structured_outputs": {"regex": "a"}})"), "guided_regex");
  EXPECT_EQ(refused(R"({"thinking_budget": 1, "chat_template_kwargs": {"thinking_budget": 1}})"),
            "chat_template_kwargs.thinking_budget");
  EXPECT_EQ(refused(R"({"reasoning_effort": 3})"), "reasoning_effort");
}

}  // namespace
}  // namespace latent8
