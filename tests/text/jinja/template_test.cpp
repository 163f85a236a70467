#include "text/jinja/template.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <span>

#include "latent8/error.h"
#include "text/jinja/cases.h"

namespace latent8 {
namespace {

using ::testing::HasSubstr;
using Json = nlohmann::ordered_json;

std::string render(std::string_view source, const Json& variables = Json::object()) {
  return JinjaTemplate(source, "template").render(variables);
}

void expect_cases(std::span<const JinjaCase> cases) {
  const Json variables = Json::parse(kJinjaVariables);
  for (const JinjaCase& test : cases) {
    try {
      EXPECT_EQ(render(test.source, variables), test.text) << test.source;
    } catch (const Error& error) {
      ADD_FAILURE() << test.source << ": " << error.what();
    }
  }
}

// The code and message of the error that compiling and rendering source ends with.
Error error_of(std::string_view source) {
  try {
    const std::string text = render(source);
    ADD_FAILURE() << source << " gives '" << text << "'";
  } catch (const Error& error) {
    return error;
  }
  return Error(ErrorCode::kInternal, "");
}

TEST(Jinja, EvaluatesExpressionsAsTheReference) { expect_cases(kExpressionCases); }
TEST(Jinja, AppliesFiltersAsTheReference) { expect_cases(kFilterCases); }
TEST(Jinja, RunsStatementsAsTheReference) { expect_cases(kStatementCases); }

TEST(Jinja, FailsWhereTheReferenceFails) {
  const Json variables = Json::parse(kJinjaVariables);
  for (const std::string_view source : kFailingTemplates)
    EXPECT_THROW(render(source, variables), Error) << source;
}

TEST(Jinja, KeepsTheOrderOfKeys) {
  EXPECT_EQ(render("{{ x | tojson }}", Json::parse(R"({"x": {"b": 1, "a": 2}})")), R"({"b": 1, "a": 2})");
}

TEST(Jinja, NamesAFilterThatItLacksAndItsLine) {
  const Error error = error_of("a\n{{ x | urlize }}");

  EXPECT_EQ(error.code(), ErrorCode::kUnsupported);
  EXPECT_THAT(error.what(), HasSubstr("template line 2: the filter 'urlize'"));
}

TEST(Jinja, NamesAStatementThatItLacks) {
  EXPECT_THAT(error_of("{% include 'x' %}").what(), HasSubstr("line 1: the statement 'include'"));
}

TEST(Jinja, NamesATestThatItLacks) {
  EXPECT_THAT(error_of("{{ 1 is fine }}").what(), HasSubstr("line 1: the test 'fine'"));
}

TEST(Jinja, NamesAMethodThatItLacks) {
  EXPECT_THAT(error_of("{{ 'a'.translate(3) }}").what(), HasSubstr("the method 'translate'"));
}

TEST(Jinja, NamesTheLineThatFailed) {
  EXPECT_THAT(error_of("a\n\n{{ x.y }}").what(), HasSubstr("template line 3: 'x' is undefined"));
}

TEST(Jinja, EndsEndlessRecursion) {
  EXPECT_THAT(error_of("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}").what(), HasSubstr("levels deep"));
}

TEST(Jinja, EndsLoopsThatNeedTooManySteps) {
  EXPECT_THAT(
      error_of("{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}").what(),
      HasSubstr("steps"));
}

TEST(Jinja, BoundsTheSizeOfATextThatIsRepeated) {
  EXPECT_THAT(error_of("{{ 'x' * 100000000000 }}").what(), HasSubstr("bytes"));
}

TEST(Jinja, BoundsTheSizeOfTheOutput) {
  EXPECT_THAT(error_of("{% set x = 'x' * 1000000 %}{% for a in range(1000) %}{{ x }}{% endfor %}").what(),
              HasSubstr("bytes"));
}

TEST(Jinja, BoundsTheNestingOfATemplate) {
  const std::string nested = "{{ " + std::string(3000, '(') + "1" + std::string(3000, ')') + " }}";

  EXPECT_EQ(error_of(nested).code(), ErrorCode::kInvalidArgument);
}

TEST(Jinja, BoundsTheLengthOfATag) {
  std::string sum = "{{ 1";
  for (int i = 0; i < 100000; ++i) sum += "+1";

  EXPECT_EQ(error_of(sum + " }}").code(), ErrorCode::kInvalidArgument);
}

TEST(Jinja, RefusesIntegersBeyond64Bits) {
  EXPECT_THAT(error_of("{{ 9223372036854775807 + 1 }}").what(), HasSubstr("64 bits"));
}

TEST(Jinja, RefusesATemplateThatIsNotUtf8) {
  EXPECT_EQ(error_of("a\xFF").code(), ErrorCode::kInvalidArgument);
}

}  // namespace
}  // namespace latent8
