#pragma once
// Values of the template language, with the semantics of the Python values that they stand for.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>

#include "base/error.h"
#include "text/jinja/budget.h"

namespace latent8::jinja {

class Value;
struct Scope;      // interpreter.h
struct Statement;  // ast.h

// Values nest no deeper: they are visited and destroyed recursively.
inline constexpr std::uint32_t kMaxHeight = 250;

struct None {};
struct Undefined {
  String message;  // what an operation on it reports
};

// UTF-8 whose characters are reached by number in constant time.
struct Text {
  explicit Text(String text);
  // REQUIRES: character <= characters.
  std::size_t byte_of(std::size_t character) const;

  String bytes;
  std::size_t characters = 0;
  Vector<std::uint32_t> marks;  // byte of every 64th character; empty if all are ASCII or the text is short
};

enum class SequenceKind {
  kList,
  kTuple,
  kRange,
  kKeys,  // the views of a dict
  kValues,
  kItems,
  kIterator,  // what a generator of Python is: it can be gone through once and has no length
};

// The arguments of a range.
struct Progression {
  std::int64_t start = 0, stop = 0, stride = 1;
};

struct Sequence {
  Vector<Value> items;
  SequenceKind kind = SequenceKind::kList;
  std::uint32_t height = 1;
  std::size_t taken = 0;         // kIterator: items that are used up
  Progression range;             // kRange
  std::optional<Error> failure;  // kIterator: what comes instead of a further item
};

// In order of insertion.
class Dict {
 public:
  const Vector<std::pair<Value, Value>>& items() const { return items_; }
  std::uint32_t height() const { return height_; }
  // nullptr if absent. Throws: Error{kInvalidArgument} for a key that has no hash.
  const Value* find(const Value& key) const;
  const Value* find(std::string_view key) const;
  // REQUIRES: nothing has this as a part yet, since a part does not grow. Throws: as find().
  void set(const Value& key, Value value);

 private:
  std::size_t* entry(std::size_t hash, const Value& key);

  Vector<std::pair<Value, Value>> items_;
  // From hash to number; kept only where going through all keys would be slow.
  std::unordered_multimap<std::size_t, std::size_t, std::hash<std::size_t>, std::equal_to<>,
                          Counted<std::pair<const std::size_t, std::size_t>>>
      index_;
  std::uint32_t height_ = 1;
};

// The only value that changes: {% set ns.x = ... %}. The interpreter owns all of them, so that one that holds
// itself is freed too; as a part of another value it counts as flat.
struct Namespace {
  Dict attributes;
};

struct Callable {
  enum class Kind { kBuiltin, kMethod, kMacro } kind;
  String name;
  std::uint32_t height = 1;
  std::shared_ptr<const Value> object;    // kMethod
  const Statement* definition = nullptr;  // kMacro; owned by the template, which outlives a rendering
  std::weak_ptr<Scope> scope;             // kMacro; weak: the scope holds the macro
};

// What `loop` is in one iteration.
struct LoopState {
  std::shared_ptr<const Vector<Value>> items;  // shared by the iterations
  std::size_t index = 0;
  std::uint32_t height = 1;
  int depth0 = 0;                                         // of a recursive loop
  const Statement* loop = nullptr;                        // of a recursive loop, which it calls; else nullptr
  std::weak_ptr<Scope> scope;                             // in which that loop stands
  std::shared_ptr<std::optional<Vector<Value>>> changed;  // what loop.changed() was given last
};

// Lists and dictionaries do not change once they are made, as in transformers' sandbox. Copies share their
// contents.
class Value {
 public:
  using Data = std::variant<std::shared_ptr<const Undefined>, None, bool, std::int64_t, double,
                            std::shared_ptr<const Text>, std::shared_ptr<Sequence>,
                            std::shared_ptr<const Dict>, std::shared_ptr<Namespace>,
                            std::shared_ptr<const Callable>, std::shared_ptr<const LoopState>>;

  Value() : data_(None{}) {}
  Value(Data data) : data_(std::move(data)) {}
  Value(bool value) : data_(value) {}
  Value(std::int64_t value) : data_(value) {}
  Value(double value) : data_(value) {}
  Value(String value) : data_(make_counted<const Text>(std::move(value))) {}
  Value(std::string_view value) : Value(String(value)) {}
  Value(const char* value) : Value(String(value)) {}

  static Value undefined(std::string_view message);
  // Throws, like all that make containers: Error{kInvalidArgument} if the value nests too deeply.
  static Value list(Vector<Value> items) { return sequence(SequenceKind::kList, std::move(items)); }
  static Value tuple(Vector<Value> items) { return sequence(SequenceKind::kTuple, std::move(items)); }
  static Value sequence(SequenceKind kind, Vector<Value> items);
  static Value iterator(Vector<Value> items, std::optional<Error> failure = std::nullopt);
  static Value dict(Dict dict);
  static Value builtin(std::string_view name);
  static Value method(const Value& object, std::string_view name);

  template <class T>
  const T* get_if() const {
    return std::get_if<T>(&data_);
  }
  // nullptr if it is another kind.
  const Undefined* undefined_if() const { return pointer<const Undefined>(); }
  Sequence* sequence_if() const { return pointer<Sequence>(); }
  const Dict* dict_if() const { return pointer<const Dict>(); }
  Namespace* namespace_if() const { return pointer<Namespace>(); }
  const Callable* callable_if() const { return pointer<const Callable>(); }
  const LoopState* loop_if() const { return pointer<const LoopState>(); }
  const Text* text_if() const { return pointer<const Text>(); }

  bool is_undefined() const { return undefined_if() != nullptr; }
  bool is_none() const { return get_if<None>() != nullptr; }
  bool is_string() const { return text_if() != nullptr; }
  bool is_sequence() const { return sequence_if() != nullptr; }
  bool is_kind(SequenceKind kind) const { return is_sequence() && sequence_if()->kind == kind; }
  bool is_list() const { return is_kind(SequenceKind::kList); }
  bool is_tuple() const { return is_kind(SequenceKind::kTuple); }
  bool is_iterator() const { return is_kind(SequenceKind::kIterator); }
  bool is_dict() const { return dict_if() != nullptr; }
  bool is_bool() const { return get_if<bool>() != nullptr; }
  bool is_integer() const { return get_if<std::int64_t>() != nullptr; }  // bool is not counted
  bool is_float() const { return get_if<double>() != nullptr; }
  bool is_number() const { return is_bool() || is_integer() || is_float(); }

  // REQUIRES: the kind matches.
  const String& string() const { return text_if()->bytes; }
  const Vector<Value>& items() const { return sequence_if()->items; }
  // True and False count as 1 and 0. REQUIRES: is_number().
  double as_double() const;
  // REQUIRES: is_integer() or is_bool().
  std::int64_t as_int() const;

  bool truthy() const;
  String str() const;   // Python's str(); Undefined is empty
  String repr() const;  // Python's repr()
  // The word for the kind in messages: 'str', 'dict', ...
  std::string_view type_name() const;
  // 0 for what has no parts.
  std::uint32_t height() const;
  // Whether both are the same object.
  bool same_as(const Value& other) const;

 private:
  template <class T>
  T* pointer() const {
    const auto* found = std::get_if<std::shared_ptr<T>>(&data_);
    return found != nullptr ? found->get() : nullptr;
  }
  Data data_;
};

// Python's ==.
bool equal(const Value& a, const Value& b);
// Python's <. Throws: Error{kInvalidArgument} for kinds that have no order.
bool less(const Value& a, const Value& b);
// Equal values have equal hashes. Throws: Error{kInvalidArgument} for a list or a dict.
std::size_t hash_of(const Value& value);

// One more than the highest of values. Throws: Error{kInvalidArgument} above kMaxHeight.
std::uint32_t height_above(const Vector<Value>& values);

// The exception of a template that cannot go on.
template <class... Args>
[[noreturn]] void fail(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(ErrorCode::kInvalidArgument, fmt::format(format, std::forward<Args>(args)...));
}

// The items that a loop over value visits: of a list, the keys of a dictionary, the characters of a string.
// Undefined has none. Uses an iterator up. Throws: Error{kInvalidArgument} for other kinds.
Vector<Value> iterate(const Value& value);

}  // namespace latent8::jinja
