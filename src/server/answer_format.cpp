#include "server/answer_format.h"

#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "latent8/error.h"
#include "server/api_error.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxChoices = 10000;
// vLLM's, Qwen's and an older name.
constexpr std::array kBudgetFields = {"thinking_token_budget", "thinking_budget", "max_thinking_tokens"};
// Objects in which SGLang's and Qwen's users put thinking_budget.
constexpr std::array kBudgetHolders = {"chat_template_kwargs", "custom_params"};

struct Asked {
  std::string field;
  GrammarSpec grammar;
};

// A schema as an object, or as its JSON text.
std::string schema_text(const Fields& from, const char* key) {
  const Json& value = *from.find(key);
  if (value.is_string()) return value.get<std::string>();
  if (!value.is_object() && !value.is_boolean()) from.refuse(key, "a JSON schema");
  return value.dump();
}

// One of these texts, as rules.
std::string choice_text(const Fields& from, const char* key) {
  if (from.find(key)->is_string()) from.refuse(key, "a list of texts");
  const std::vector<std::string> choices = from.texts(key, kMaxChoices);
  if (choices.empty()) from.refuse(key, "a list of at least one text");
  std::string rule = "root ::= ";
  for (std::size_t i = 0; i < choices.size(); ++i) rule += (i == 0 ? "" : " | ") + Json(choices[i]).dump();
  return rule;
}

std::string tag_text(const Fields& from, const char* key) {
  const Json& value = *from.find(key);
  if (value.is_string()) return value.get<std::string>();
  return from.object(key)->dump();
}

void read_response_format(const Fields& body, std::vector<Asked>& asked) {
  const Json* given = body.object("response_format");
  if (given == nullptr) return;
  const Fields format(*given, "response_format");
  const std::string type = format.text("type").value_or("text");
  if (type == "json_object") {
    asked.push_back({"response_format", {.kind = GrammarKind::kJsonObject}});
  } else if (type == "json_schema") {
    const Json* holder = format.object("json_schema");
    if (holder == nullptr) format.refuse("json_schema", "an object with 'schema'");
    const Fields fields(*holder, "response_format.json_schema");
    if (fields.find("schema") == nullptr) fields.refuse("schema", "a JSON schema");
    asked.push_back({fields.path_of("schema"),
                     {.kind = GrammarKind::kJsonSchema,
                      .text = schema_text(fields, "schema"),
                      .strict = fields.boolean("strict").value_or(true)}});
  } else if (type == "structural_tag") {
    asked.push_back({"response_format", {.kind = GrammarKind::kStructuralTag, .text = given->dump()}});
  } else if (type != "text") {
    format.refuse("type", R"("text", "json_object", "json_schema" or "structural_tag")");
  }
}

// The members that are there of an object in which each has its kind of grammar.
void read_members(const Fields& from, const std::string& prefix, std::vector<Asked>& asked) {
  const auto add = [&](const std::string& name, GrammarKind kind, auto text) {
    const std::string key = prefix + name;
    if (from.find(key.c_str()) != nullptr)
      asked.push_back({from.path_of(key.c_str()), {.kind = kind, .text = text(from, key.c_str())}});
  };
  const auto plain = [](const Fields& fields, const char* key) { return *fields.text(key); };
  add("json", GrammarKind::kJsonSchema, schema_text);
  add("regex", GrammarKind::kRegex, plain);
  add("choice", GrammarKind::kEbnf, choice_text);
  add("grammar", GrammarKind::kEbnf, plain);
}

void read_structured_outputs(const Fields& body, std::vector<Asked>& asked) {
  const Json* given = body.object("structured_outputs");
  if (given == nullptr) return;
  const Fields fields(*given, "structured_outputs");
  const std::size_t before = asked.size();
  read_members(fields, "", asked);
  if (fields.boolean("json_object").value_or(false))
    asked.push_back({fields.path_of("json_object"), {.kind = GrammarKind::kJsonObject}});
  if (fields.find("structural_tag") != nullptr)
    asked.push_back({fields.path_of("structural_tag"),
                     {.kind = GrammarKind::kStructuralTag, .text = tag_text(fields, "structural_tag")}});
  if (asked.size() == before)
    body.refuse("structured_outputs", "one of json, json_object, regex, choice, grammar, structural_tag");
}

std::optional<std::int64_t> read_budget(const Fields& body) {
  std::optional<std::int64_t> budget;
  const auto read = [&](const Fields& from, const char* key) {
    const auto given = from.integer(key, -1, std::numeric_limits<std::int32_t>::max());
    if (!given) return;
    if (budget) from.refuse(key, "one budget of thinking");
    budget = given;
  };
  for (const char* key : kBudgetFields) read(body, key);
  for (const char* holder : kBudgetHolders)
    if (const Json* object = body.object(holder)) read(Fields(*object, holder), "thinking_budget");
  if (budget == -1) budget.reset();
  return budget;
}

}  // namespace

AnswerFormat read_answer_format(const Fields& body) {
  std::vector<Asked> asked;
  read_response_format(body, asked);
  read_structured_outputs(body, asked);
  read_members(body, "guided_", asked);
  if (asked.size() > 1)
    throw ApiError{.status = 400,
                   .message = fmt::format("'{}': at most one form of the answer expected, got '{}' too",
                                          asked[1].field, asked[0].field),
                   .param = asked[1].field,
                   .code = ""};
  AnswerFormat out;
  if (!asked.empty()) {
    out.form.grammar = std::move(asked[0].grammar);
    out.grammar_field = std::move(asked[0].field);
  }
  out.form.thinking_budget = read_budget(body);
  if (reasons_not(body) && !out.form.thinking_budget) out.form.thinking_budget = 0;
  return out;
}

bool reasons_not(const Fields& body) { return body.text("reasoning_effort").value_or("") == "none"; }

MaskFactory with_field(const std::string& field, const std::function<MaskFactory()>& make) {
  try {
    return make();
  } catch (const Error& error) {
    if (field.empty() ||
        (error.code() != ErrorCode::kInvalidArgument && error.code() != ErrorCode::kUnsupported))
      throw;
    throw ApiError{
        .status = 400, .message = fmt::format("'{}': {}", field, error.what()), .param = field, .code = ""};
  }
}

}  // namespace latent8
