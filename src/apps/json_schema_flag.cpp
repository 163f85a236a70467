#include "apps/json_schema_flag.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/files.h"
#include "formats/json.h"
#include "formats/nested_json.h"

namespace latent8 {
namespace {

// A path may look like anything but the beginning of an object.
bool is_schema(const std::string& given) {
  const std::size_t begin = given.find_first_not_of(" \t\r\n");
  return begin != std::string::npos && (given[begin] == '{' || given == "true" || given == "false");
}

}  // namespace

void add_json_schema_flag(CLI::App& app, std::string& given) {
  app.add_option("--json-schema", given,
                 "the answer is JSON of this schema: a file, or the schema itself as it begins with {")
      ->type_name("FILE");
}

std::string json_schema_text(const std::string& given) {
  if (given.empty()) return "";
  const bool inline_text = is_schema(given);
  const std::string where = inline_text ? "--json-schema" : "--json-schema " + given;
  constexpr int kMaxDepth = 64;  // the compiler's
  const nlohmann::ordered_json schema =
      parse_nested_json(inline_text ? given : read_text_file(given), where, kMaxDepth);
  if (!schema.is_object() && !schema.is_boolean())
    throw_error(ErrorCode::kInvalidArgument, "{}: a JSON schema (an object, true or false) expected, got {}",
                where, shown_json(schema));
  return schema.dump();
}

MaskFactory json_schema_masks(const Frontend& frontend, const std::string& schema, const Prompt& prompt) {
  if (schema.empty()) return {};
  try {
    return frontend.masks(
        {.grammar = GrammarSpec{.kind = GrammarKind::kJsonSchema, .text = schema}, .thinking_budget = {}},
        prompt);
  } catch (const Error& error) {
    throw Error(error.code(), std::string("--json-schema: ") + error.what());
  }
}

}  // namespace latent8
