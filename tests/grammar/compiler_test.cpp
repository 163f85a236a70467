// What compiles, what is refused and why, what is kept.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "latent8/error.h"
#include "support/grammar_cases.h"

namespace latent8 {
namespace {

using ::testing::HasSubstr;

std::string refusal(GrammarKind kind, const std::string& text) {
  static const GrammarVocabulary vocabulary = byte_vocabulary();
  try {
    compiled(vocabulary, kind, text);
  } catch (const Error& error) {
    EXPECT_TRUE(error.code() == ErrorCode::kInvalidArgument || error.code() == ErrorCode::kUnsupported);
    return error.what();
  }
  return "";
}

bool schema_takes(const std::string& schema, const std::string& text) {
  static const GrammarVocabulary vocabulary = byte_vocabulary();
  return matches(*compiled(vocabulary, GrammarKind::kJsonSchema, schema), vocabulary, text);
}

TEST(GrammarCompiler, SaysWhatOfASchemaCannotBeDone) {
  const std::vector<std::pair<const char*, const char*>> cases = {
      {"{", "JSON in UTF-8 expected"},
      {"3", "a schema"},
      {R"({"type": "text"})", "'type'"},
      {R"({"type": ["string", 3]})", "'type'"},
      {R"({"not": {"type": "null"}})", "'not' cannot be done"},
      {R"({"properties": {"a": {"if": true}}})", "/properties/a: 'if' cannot be done"},
      {R"({"type": "array", "uniqueItems": true})", "'uniqueItems'"},
      {R"({"type": "array", "contains": {}})", "'contains'"},
      {R"({"type": "array", "items": [{"type": "null"}]})", "'items': an object, true or false expected"},
      {R"({"type": "number", "multipleOf": 0.5})", "multipleOf"},
      {R"({"type": "string", "minLength": -1})", "'minLength': a whole number"},
      {R"({"type": "string", "minLength": 4, "maxLength": 3})", "below"},
      {R"({"type": "string", "pattern": "(a"})", "parenthesis"},
      {R"({"type": "string", "pattern": "^(?=a)b"})", "ookahead"},
      {R"({"type": "string", "pattern": "say \"x\""})", "need no escapes"},
      {R"({"type": "string", "pattern": "\u00e9"})", "printable ASCII"},
      {R"({"type": "string", "pattern": "a", "maxLength": 3})", "maxLength"},
      {R"({"minimum": 3})", "'minimum' without 'type'"},
      {R"({"$ref": "http://example.com/s"})", "'$ref'"},
      {R"({"$ref": "#/$defs/none"})", "nothing is at #/$defs/none"},
      {R"({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/a"}}})", "leads back to itself"},
      {R"({"$ref": "#/$defs/a", "minimum": 3, "$defs": {"a": {"type": "integer"}}})",
       "'minimum' beside '$ref'"},
      {R"({"type": "object", "properties": {"a": {}}, "anyOf": [{"required": ["a"]}]})", "beside 'anyOf'"},
      {R"({"oneOf": [{"type": "integer"}, {"type": "number"}]})", "oneOf"},
      {R"({"allOf": [{"type": "integer"}, {"minimum": 3}]})", "'allOf' of 2"},
      {R"({"type": "integer", "enum": ["a"]})", "'enum' has no value of the type"},
      {R"({"type": "object", "required": ["x"], "additionalProperties": false})",
       "'x' is not in 'properties'"},
      {R"({"type": "object", "properties": {"a": false}})", "false"},
      {R"({"anyOf": [{"$ref": "#"}]})", "no text"},
      {R"({"type": "string", "pattern": "(a{1000}){1000}"})", "repetition counts"},
  };
  for (const auto& [schema, expected] : cases)
    EXPECT_THAT(refusal(GrammarKind::kJsonSchema, schema), HasSubstr(expected)) << schema;
}

TEST(GrammarCompiler, SaysWhatOfOtherGrammarsCannotBeDone) {
  EXPECT_THAT(refusal(GrammarKind::kRegex, "a(?=b)"), HasSubstr("ookahead"));
  EXPECT_THAT(refusal(GrammarKind::kRegex, "a^b"), HasSubstr("'^'"));
  EXPECT_THAT(refusal(GrammarKind::kRegex, "(a{300}){300}"), HasSubstr("repetition counts"));
  EXPECT_THAT(refusal(GrammarKind::kRegex, std::string(200, '(') + "a" + std::string(200, ')')),
              HasSubstr("levels"));
  EXPECT_THAT(refusal(GrammarKind::kEbnf, "top ::= \"a\""), HasSubstr("root"));
  EXPECT_THAT(refusal(GrammarKind::kEbnf, "root ::= \"a"), HasSubstr("line 1"));
  EXPECT_THAT(refusal(GrammarKind::kEbnf, "root ::= root"), HasSubstr("no text"));
  EXPECT_THAT(refusal(GrammarKind::kStructuralTag, "[]"), HasSubstr("tructural"));
  EXPECT_THAT(refusal(GrammarKind::kRegex, std::string(300 << 10, 'a')), HasSubstr("bytes expected"));
}

TEST(GrammarCompiler, ReadsASchemaAsItIsMeant) {
  EXPECT_TRUE(schema_takes(R"({"type": "object"})", R"({"any": [1, "x"]})"));
  EXPECT_TRUE(schema_takes(R"({"type": "array"})", "[1, null]"));
  EXPECT_FALSE(
      schema_takes(R"({"type": "object", "properties": {"a": {"type": "null"}}})", R"({"b": null})"));
  EXPECT_TRUE(schema_takes(R"({"type": "object", "required": ["a"]})", R"({"a": 1})"));
  EXPECT_FALSE(schema_takes(R"({"type": "object", "required": ["a"]})", "{}"));
  EXPECT_TRUE(schema_takes(R"({"type": "string", "minLength": 2, "maxLength": 3})", "\"\xC3\xA4\xC3\xA4\""));
  EXPECT_FALSE(schema_takes(R"({"type": "string", "minLength": 2, "maxLength": 3})", "\"a\""));
  EXPECT_FALSE(schema_takes(R"({"type": "string", "minLength": 2})", "\"\t\t\""));
  EXPECT_TRUE(schema_takes(R"({"type": "string", "format": "email"})", "\"a.b@c.de\""));
  EXPECT_FALSE(schema_takes(R"({"type": "string", "format": "email"})", R"("\"\q\"@c.de")"));
  EXPECT_TRUE(schema_takes(R"({"type": "string", "enum": ["a", 1]})", "\"a\""));
  EXPECT_FALSE(schema_takes(R"({"type": "string", "enum": ["a", 1]})", "1"));
  EXPECT_TRUE(schema_takes(R"({"type": "object", "anyOf": [{"properties": {"a": {}}}]})", R"({"a": 1})"));
  EXPECT_TRUE(schema_takes(R"({"propertyNames": {"pattern": "^[ab]+$"}, "additionalProperties": {}})",
                           R"({"ab": 1})"));
  EXPECT_FALSE(schema_takes(R"({"propertyNames": {"pattern": "^[ab]+$"}, "additionalProperties": {}})",
                            R"({"c": 1})"));
  EXPECT_TRUE(schema_takes(
      R"({"$ref": "#/$defs/n", "$defs": {"n": {"type": "array", "items": {"$ref": "#/$defs/n"}}}})",
      "[[], [[]]]"));
}

TEST(GrammarCompiler, ReadsBothWaysToWriteRules) {
  const GrammarVocabulary bytes = byte_vocabulary();

  EXPECT_TRUE(matches(*compiled(bytes, GrammarKind::kEbnf, R"(root ::= "a" [0-9]+)"), bytes, "a12"));
  EXPECT_TRUE(matches(*compiled(bytes, GrammarKind::kEbnf, R"(start: "a" /[0-9]+/)"), bytes, "a12"));
}

TEST(GrammarCompiler, AJsonObjectIsAnObject) {
  const GrammarVocabulary bytes = byte_vocabulary();
  const auto grammar = compiled(bytes, GrammarKind::kJsonObject, "");

  EXPECT_TRUE(matches(*grammar, bytes, R"({"a": {"b": [1.5e3, true, "\n"]}})"));
  EXPECT_FALSE(matches(*grammar, bytes, "[1]"));
}

TEST(GrammarCompiler, KeepsWhatWasUsedLast) {
  const GrammarVocabulary vocabulary = byte_vocabulary();
  GrammarCompiler compiler([&] { return vocabulary; }, {.cached_grammars = 2});
  const auto compile = [&](const std::string& text) {
    return compiler.compile({.kind = GrammarKind::kRegex, .text = text});
  };

  const auto a = compile("a"), b = compile("b");
  EXPECT_EQ(compile("a"), a);
  compile("c");

  EXPECT_EQ(compiler.cached_grammars(), 2);
  EXPECT_EQ(compile("a"), a);
  EXPECT_NE(compile("b"), b);
  EXPECT_THROW(compile("("), Error);
  EXPECT_EQ(compiler.cached_grammars(), 2);
}

TEST(GrammarCompiler, KeepsNoMoreThanItsMemory) {
  const GrammarVocabulary vocabulary = byte_vocabulary();
  GrammarCompiler compiler([&] { return vocabulary; }, {.cached_bytes = 1});

  const auto grammar = compiler.compile({.kind = GrammarKind::kRegex, .text = "a+"});

  EXPECT_EQ(compiler.cached_grammars(), 0);
  EXPECT_NE(grammar->make_mask(true), nullptr);
}

}  // namespace
}  // namespace latent8
