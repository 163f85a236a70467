#pragma once
// Filters, tests, methods and operators of the template language.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "text/jinja/value.h"

namespace latent8::jinja {

struct Arguments {
  Vector<Value> positional;
  Vector<std::pair<String, Value>> keywords;

  // All but the first positional argument. REQUIRES: there is one.
  Arguments without_first() const;
};

// Arguments sorted into the parameters of a function, by position or by name.
class BoundArguments {
 public:
  // Throws: Error{kInvalidArgument} for an argument too many, unknown or given twice.
  BoundArguments(std::string_view function, const Arguments& arguments,
                 std::initializer_list<std::string_view> names);

  // nullptr if not given.
  const Value* operator[](std::size_t index) const { return values_[index]; }
  // Whether it is given and not none.
  bool has(std::size_t index) const { return values_[index] != nullptr && !values_[index]->is_none(); }
  // Throws: Error{kInvalidArgument} if not given.
  const Value& need(std::size_t index) const;
  // The argument as a number, a truth or a text, or the fallback.
  std::int64_t integer(std::size_t index, std::int64_t fallback) const;
  bool truth(std::size_t index, bool fallback) const;
  std::string_view text(std::size_t index, std::string_view fallback) const;
  // A text that must be given.
  std::string_view need_text(std::size_t index) const;

 private:
  std::string_view function_;
  Vector<std::string_view> names_;
  Vector<const Value*> values_;
};

bool is_filter(std::string_view name);
bool is_test(std::string_view name);

// Throws: Error{kUnsupported} for a filter or test that is not there, and what it throws itself.
Value call_filter(std::string_view name, const Value& value, const Arguments& arguments);
bool call_test(std::string_view name, const Value& value, const Arguments& arguments);

// Filters by what they work on; nullopt: none of them.
std::optional<Value> call_text_filter(std::string_view name, const Value& value, const Arguments& arguments);
std::optional<Value> call_number_filter(std::string_view name, const Value& value,
                                        const Arguments& arguments);
std::optional<Value> call_sequence_filter(std::string_view name, const Value& value,
                                          const Arguments& arguments);
std::optional<Value> call_choice_filter(std::string_view name, const Value& value,
                                        const Arguments& arguments);
bool is_text_filter(std::string_view name);
bool is_number_filter(std::string_view name);
bool is_sequence_filter(std::string_view name);
bool is_choice_filter(std::string_view name);

// What Python's objects of this kind have under the name: kMissing, a method that can be called here, one
// that cannot, or one that transformers' sandbox forbids because it changes the object.
enum class MethodKind { kMissing, kKnown, kUnsupported, kForbidden };
MethodKind method_of(const Value& object, std::string_view name);
Value call_method(const Value& object, std::string_view name, const Arguments& arguments);
Value call_string_method(const Value& text, std::string_view name, const Arguments& arguments);
MethodKind string_method_kind(std::string_view name);
// '{} {name}'.format(...).
Value format_braces(std::string_view text, const Arguments& arguments);
// format(value, specification).
String format_value(const Value& value, std::string_view specification);

// Python's json.dumps with ensure_ascii=False.
struct JsonStyle {
  bool ensure_ascii = false;
  String indent;  // one level; used if pretty
  bool pretty = false;
  bool sort_keys = false;
  String item_separator = ", ";
  String key_separator = ": ";
};
String dump_json(const Value& value, const JsonStyle& style);

// Operators. Throw Error{kInvalidArgument} for operands without a meaning.
Value binary(std::string_view op, const Value& a, const Value& b);
Value negate(const Value& value);
bool compare(std::string_view op, const Value& a, const Value& b);
Value get_attribute(const Value& object, std::string_view name);
Value get_item(const Value& object, const Value& key);
Value slice(const Value& object, const Value& start, const Value& stop, const Value& step);
bool contains(const Value& container, const Value& item);
std::int64_t length(const Value& value);
// The attribute that a dotted path such as "function.name" or an index reaches; fallback replaces what is not
// there at any step, if given.
Value follow_path(const Value& object, const Value& path, const Value* fallback = nullptr);
// What an operation on an undefined value reports.
void refuse_undefined(const Value& value);
// Python's int(text, base) and float(text).
std::optional<std::int64_t> parse_integer(std::string_view text, int base);
std::optional<double> parse_float(std::string_view text);
// A list or tuple of the arguments' strings.
template <class Names>
bool among(const Names& names, std::string_view name) {
  for (const std::string_view one : names)
    if (one == name) return true;
  return false;
}

}  // namespace latent8::jinja
