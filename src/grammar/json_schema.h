#pragma once
// JSON schemas as XGrammar gets them. It leaves out of a grammar, without a word, what it does not know or
// meets in a place where it does not look; here such a schema is refused, by the path and the keyword, and
// some others are written in a way that it does right.

#include <functional>
#include <string>
#include <string_view>

namespace latent8 {

// White space between the parts of JSON comes in runs of at most so many characters: indented JSON fits, and
// a model cannot fill its answer with blanks.
inline constexpr int kMaxWhiteSpace = 32;

// Whether strings of a pattern are JSON strings as they are.
using PatternCheck = std::function<bool(const std::string& pattern)>;

// where: begins messages, "the schema" for instance.
// Throws: Error{kInvalidArgument} for what is no schema, Error{kUnsupported} for what cannot be done.
std::string checked_json_schema(std::string_view text, const std::string& where,
                                const PatternCheck& keeps_json);

// A structural tag with the schemas and regular expressions in it checked. Throws alike.
std::string checked_structural_tag(std::string_view text, const PatternCheck& keeps_json);

}  // namespace latent8
