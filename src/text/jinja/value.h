#pragma once
// Values of the template language, with the semantics of the Python values that they stand for.

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "base/error.h"

namespace latent8::jinja {

class Value;
struct Macro;      // interpreter.h
struct LoopState;  // interpreter.h

struct Undefined {
  std::string message;  // what an operation on it reports
};
struct None {};
struct List {
  std::vector<Value> items;
  bool is_tuple = false;
};
struct Dict {
  std::vector<std::pair<Value, Value>> items;  // in order of insertion
  bool is_namespace = false;

  // nullptr if absent.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  void set(const Value& key, Value value);
};
// A function that the environment offers, by name (range, namespace, ...).
struct Builtin {
  std::string name;
};
// An attribute that is a method, before it is called.
struct Method {
  std::shared_ptr<const Value> object;
  std::string name;
};

// Copies of lists and dictionaries share their contents, as in Python; strings are immutable and shared.
class Value {
 public:
  using Data = std::variant<Undefined, None, bool, std::int64_t, double, std::shared_ptr<const std::string>,
                            std::shared_ptr<List>, std::shared_ptr<Dict>, std::shared_ptr<const Macro>,
                            std::shared_ptr<const LoopState>, Builtin, Method>;

  Value() : data_(None{}) {}
  Value(Data data) : data_(std::move(data)) {}
  Value(bool value) : data_(value) {}
  Value(std::int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(std::string value) : data_(std::make_shared<const std::string>(std::move(value))) {}
  Value(std::string_view value) : Value(std::string(value)) {}
  Value(const char* value) : Value(std::string(value)) {}

  static Value undefined(std::string message) { return Value(Data(Undefined{std::move(message)})); }
  static Value list(std::vector<Value> items);
  static Value tuple(std::vector<Value> items);
  static Value dict() { return Value(Data(std::make_shared<Dict>())); }

  template <class T>
  const T* get_if() const {
    return std::get_if<T>(&data_);
  }
  bool is_undefined() const { return get_if<Undefined>() != nullptr; }
  bool is_none() const { return get_if<None>() != nullptr; }
  bool is_string() const { return get_if<std::shared_ptr<const std::string>>() != nullptr; }
  bool is_list() const { return get_if<std::shared_ptr<List>>() != nullptr; }
  bool is_dict() const { return get_if<std::shared_ptr<Dict>>() != nullptr; }
  bool is_bool() const { return get_if<bool>() != nullptr; }
  bool is_integer() const { return get_if<std::int64_t>() != nullptr; }  // bool is not counted
  bool is_float() const { return get_if<double>() != nullptr; }
  bool is_number() const { return is_bool() || is_integer() || is_float(); }
  bool is_callable() const;

  // REQUIRES: the kind matches.
  const std::string& string() const { return **get_if<std::shared_ptr<const std::string>>(); }
  List& list() const { return **get_if<std::shared_ptr<List>>(); }
  Dict& dict_ref() const { return **get_if<std::shared_ptr<Dict>>(); }
  // True and False count as 1 and 0. REQUIRES: is_number().
  double as_double() const;
  // REQUIRES: is_integer() or is_bool().
  std::int64_t as_int() const;

  bool truthy() const;
  std::string str() const;   // Python's str(); Undefined is empty
  std::string repr() const;  // Python's repr()
  // The word for the kind in messages: 'str', 'dict', ...
  std::string_view type_name() const;

 private:
  Data data_;
};

// Python's ==.
bool equal(const Value& a, const Value& b);
// Python's <. Throws: Error{kInvalidArgument} for kinds that have no order.
bool less(const Value& a, const Value& b);

// The exception of a template that cannot go on.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorCode::kInvalidArgument, fmt::format(format, std::forward<Args>(args)...));
}

// The items that a loop over value visits: of a list, the keys of a dictionary, the characters of a string.
// Undefined has none. Throws: Error{kInvalidArgument} for other kinds.
std::vector<Value> iterate(const Value& value);

}  // namespace latent8::jinja
