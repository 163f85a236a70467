#pragma once
// What Python's str does, on UTF-8. Work is counted (text/jinja/budget.h), and so is every text that is made.

#include <cstdint>
#include <string_view>

#include "text/jinja/value.h"

namespace latent8::jinja {

void append(String& out, std::string_view text);
void append_character(String& out, char32_t c);
// The text has this many characters.
std::size_t count_characters(std::string_view text);

// Strips white space, or, given characters, any of these.
std::string_view strip_left(std::string_view text);
std::string_view strip_right(std::string_view text);
std::string_view strip(std::string_view text);
std::string_view strip_characters(std::string_view text, std::string_view characters, bool left, bool right);

// Lists of str.
Vector<Value> split_space(std::string_view text, std::int64_t max_splits);
Vector<Value> split_space_from_right(std::string_view text, std::int64_t max_splits);
Vector<Value> split_by(std::string_view text, std::string_view separator, std::int64_t max_splits);
Vector<Value> split_by_from_right(std::string_view text, std::string_view separator, std::int64_t max_splits);
Vector<Value> split_lines(std::string_view text, bool keep_ends = false);

// Byte offset from `from` on, npos if there is none; the first place, the last place, how often without
// overlap.
std::size_t find_text(std::string_view text, std::string_view part, std::size_t from = 0);
std::size_t find_last_text(std::string_view text, std::string_view part);
std::int64_t count_text(std::string_view text, std::string_view part);
// count < 0: all.
String replace_all(std::string_view text, std::string_view from, std::string_view to, std::int64_t count);
// text * times.
String repeat_text(std::string_view text, std::size_t times);
// Fills up to `width` characters; align: '<', '>' or '^' (Python's str.center).
String pad(std::string_view text, std::int64_t width, char align, std::string_view fill = " ");

// Case (unicode.cpp).
String to_upper(std::string_view text);
String to_lower(std::string_view text);
String swap_case(std::string_view text);
String capitalize(std::string_view text);
String title(std::string_view text);         // str.title()
String title_filter(std::string_view text);  // the filter of the same name, which splits words otherwise

enum class CharacterClass { kPrintable, kAlphabetic, kDecimal, kDigit, kNumeric, kCased, kUpper, kLower };
bool is_in(CharacterClass kind, char32_t c);
inline bool is_printable(char32_t c) { return is_in(CharacterClass::kPrintable, c); }

// Escape sequences of a string literal. An unknown one stays as it is written.
std::string unescape(std::string_view literal);

// text % arguments (percent_format.cpp).
String percent_format(std::string_view text, const Value& arguments);

// A width, precision or count of characters that a template asks for. Throws: Error{kInvalidArgument} above
// what texts may have.
std::size_t checked_width(std::int64_t width);

}  // namespace latent8::jinja
