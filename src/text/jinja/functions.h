#pragma once
// Filters, tests and methods of the template language, by name.

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace latent8::jinja {

// Bounds what one rendering may do, since a template comes with a checkpoint that somebody else made.
class Budget {
 public:
  // Counts work: one unit per step of the interpreter and per 16 bytes of text that is made.
  // Throws: Error{kInvalidArgument} above the limit.
  void step(std::uint64_t units = 1) {
    used_ += units;
    if (used_ > kMaxWork) fail("the template needs more than {} steps", kMaxWork);
  }
  // REQUIRES: call before text of so many bytes is made.
  void text(std::uint64_t bytes) {
    if (bytes > kMaxTextBytes) fail("the template makes a text of more than {} bytes", kMaxTextBytes);
    step(bytes / 16);
  }
  // A list of so many items is about to be made.
  void items(std::uint64_t count) { step(4 * count); }

 private:
  static constexpr std::uint64_t kMaxWork = 20'000'000;
  static constexpr std::uint64_t kMaxTextBytes = std::uint64_t{64} << 20;
  std::uint64_t used_ = 0;
};

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> keywords;
};

// Arguments sorted into the parameters of a function, by position or by name.
class BoundArguments {
 public:
  // Throws: Error{kInvalidArgument} for an argument too many, unknown or given twice.
  BoundArguments(std::string_view function, const Arguments& arguments,
                 std::initializer_list<std::string_view> names);

  // nullptr if not given.
  const Value* operator[](std::size_t index) const { return values_[index]; }
  // Throws: Error{kInvalidArgument} if not given.
  const Value& need(std::size_t index) const;
  // The argument as a number, a truth or a text, or the fallback.
  std::int64_t integer(std::size_t index, std::int64_t fallback) const;
  bool truth(std::size_t index, bool fallback) const;
  std::string text(std::size_t index, std::string_view fallback) const;

 private:
  std::string_view function_;
  std::vector<std::string_view> names_;
  std::vector<const Value*> values_;
};

bool is_filter(std::string_view name);
bool is_test(std::string_view name);
bool is_method(std::string_view name);
// A function of Jinja2 that this interpreter lacks.
bool is_missing_function(std::string_view name);

// REQUIRES: is_filter(name).
Value call_filter(std::string_view name, const Value& value, const Arguments& arguments, Budget& budget);
// REQUIRES: is_test(name).
bool call_test(std::string_view name, const Value& value, const Arguments& arguments);
// Throws: Error{kInvalidArgument} if the object's kind has no such method.
Value call_method(const Value& object, std::string_view name, const Arguments& arguments, Budget& budget);
// Whether objects of this kind have the method.
bool has_method(const Value& object, std::string_view name);

// Filters over sequences (sequences.cpp); nullopt: none of them.
bool is_sequence_filter(std::string_view name);
std::optional<Value> call_sequence_filter(std::string_view name, const Value& value,
                                          const Arguments& arguments, Budget& budget);

// Python's json.dumps with ensure_ascii=False; indent < 0: on one line.
struct JsonStyle {
  bool ensure_ascii = false;
  std::string indent;  // one level; used if pretty
  bool pretty = false;
  bool sort_keys = false;
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};
std::string dump_json(const Value& value, const JsonStyle& style);

// Operators (operators.cpp). Throw Error{kInvalidArgument} for operands without a meaning.
Value binary(std::string_view op, const Value& a, const Value& b, Budget& budget);
Value get_attribute(const Value& object, const std::string& name);
Value get_item(const Value& object, const Value& key);
Value slice(const Value& object, const Value* start, const Value* stop, const Value* step);
bool contains(const Value& container, const Value& item);
std::int64_t length(const Value& value);
// The attribute that a dotted path such as "function.name" or an index reaches.
Value follow_path(const Value& object, const Value& path);

}  // namespace latent8::jinja
