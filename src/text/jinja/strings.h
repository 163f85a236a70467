#pragma once
// What Python's str does, on UTF-8.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "text/jinja/value.h"

namespace latent8::jinja {

// Strips white space, or, given characters, any of these.
std::string strip_left(std::string_view text);
std::string strip_right(std::string_view text);
std::string strip(std::string_view text);
std::string strip_characters(std::string_view text, std::string_view characters, bool left, bool right);

// By simple case mapping: each character becomes one character.
std::string to_upper(std::string_view text);
std::string to_lower(std::string_view text);
std::string capitalize(std::string_view text);
std::string title(std::string_view text);         // str.title()
std::string title_filter(std::string_view text);  // the filter of the same name, which splits words otherwise

std::vector<std::string> split_space(std::string_view text, std::int64_t max_splits);
std::vector<std::string> split_by(std::string_view text, std::string_view separator, std::int64_t max_splits);
std::vector<std::string> split_by_from_right(std::string_view text, std::string_view separator,
                                             std::int64_t max_splits);
std::vector<std::string> split_lines(std::string_view text);
// count < 0: all.
std::string replace_all(std::string_view text, std::string_view from, std::string_view to,
                        std::int64_t count);

// Escape sequences of a string literal. An unknown one stays as it is written.
std::string unescape(std::string_view literal);

// text % arguments, with %s %r %d %i %f %x %% and width, precision, '-' and '0'.
std::string percent_format(const std::string& text, const Value& arguments);

}  // namespace latent8::jinja
