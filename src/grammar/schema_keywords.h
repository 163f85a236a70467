#pragma once
// The keywords of JSON schemas, and what they take.

#include <array>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

namespace latent8 {

// Keywords that assert something and that no grammar here does.
inline constexpr std::array kNever = {
    "not",          "if",       "then",        "else",        "dependentRequired", "dependentSchemas",
    "dependencies", "contains", "minContains", "maxContains", "additionalItems",   "$dynamicRef",
    "$recursiveRef"};
// Those that choose how a schema is read, the first that is there: beside it others are not looked at.
inline constexpr std::array kChoosers = {"$ref", "const", "enum", "anyOf", "oneOf", "allOf"};

enum class KeywordValue : std::uint8_t { kText, kNumber, kCount, kBoolean, kList, kObject, kSchema };
struct SchemaKeyword {
  const char* name;
  KeywordValue value;
};
// Those that say something about values of one type.
inline constexpr std::array kAssertions = {SchemaKeyword{"pattern", KeywordValue::kText},
                                           SchemaKeyword{"format", KeywordValue::kText},
                                           SchemaKeyword{"minLength", KeywordValue::kCount},
                                           SchemaKeyword{"maxLength", KeywordValue::kCount},
                                           SchemaKeyword{"minimum", KeywordValue::kNumber},
                                           SchemaKeyword{"maximum", KeywordValue::kNumber},
                                           SchemaKeyword{"exclusiveMinimum", KeywordValue::kNumber},
                                           SchemaKeyword{"exclusiveMaximum", KeywordValue::kNumber},
                                           SchemaKeyword{"multipleOf", KeywordValue::kNumber},
                                           SchemaKeyword{"items", KeywordValue::kSchema},
                                           SchemaKeyword{"prefixItems", KeywordValue::kList},
                                           SchemaKeyword{"unevaluatedItems", KeywordValue::kSchema},
                                           SchemaKeyword{"minItems", KeywordValue::kCount},
                                           SchemaKeyword{"maxItems", KeywordValue::kCount},
                                           SchemaKeyword{"uniqueItems", KeywordValue::kBoolean},
                                           SchemaKeyword{"properties", KeywordValue::kObject},
                                           SchemaKeyword{"required", KeywordValue::kList},
                                           SchemaKeyword{"patternProperties", KeywordValue::kObject},
                                           SchemaKeyword{"propertyNames", KeywordValue::kSchema},
                                           SchemaKeyword{"additionalProperties", KeywordValue::kSchema},
                                           SchemaKeyword{"unevaluatedProperties", KeywordValue::kSchema},
                                           SchemaKeyword{"minProperties", KeywordValue::kCount},
                                           SchemaKeyword{"maxProperties", KeywordValue::kCount}};

// The chooser of a schema that is an object; kChoosers.end() if it has none.
std::array<const char*, 6>::const_iterator chooser_of(const nlohmann::ordered_json& schema);

bool fits(const nlohmann::ordered_json& value, KeywordValue wanted);
const char* name_of(KeywordValue value);
// type: one of JSON schema's.
bool has_type(const nlohmann::ordered_json& value, const std::string& type);

// Of formats for which XGrammar's own expressions allow what is no JSON string; nullptr for others.
const char* pattern_of_format(const std::string& format);

}  // namespace latent8
