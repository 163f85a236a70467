#pragma once
// Oniguruma's regular expressions in PCRE2's words.

#include <string>
#include <string_view>

namespace latent8 {

class JsonFields;

// The PCRE2 pattern (for UTF and UCP) that matches what Oniguruma's Ruby syntax matches in UTF-8 text.
// Throws: Error{kUnsupported} naming `where` and a construct that the two engines read differently and that
// is not translated; Error{kCorrupt} for an unfinished class or escape.
std::string pcre_from_onig(std::string_view pattern, std::string_view where);

// The pattern of a member like {"Regex": ".."} or {"String": ".."}, as tokenizer.json has them.
// Throws: Error{kCorrupt | kUnsupported} naming `where` and the key.
std::string regex_of_pattern(const JsonFields& fields, const char* key, const std::string& where);

// The pattern that matches exactly `text`.
std::string escape_regex(std::string_view text);

}  // namespace latent8
