#include "text/jinja/value.h"

#include <algorithm>

#include "text/utf8.h"

namespace latent8::jinja {
namespace {

constexpr std::size_t kMarkDistance = 64;
constexpr std::size_t kFewKeys = 8;

bool starts_character(char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }

std::uint32_t checked_height(std::uint32_t height) {
  if (height > kMaxHeight) fail("a value nested more than {} levels deep", kMaxHeight);
  return height;
}

}  // namespace

Text::Text(String text) : bytes(std::move(text)) {
  step(bytes.size() / 64);
  characters = static_cast<std::size_t>(std::count_if(bytes.begin(), bytes.end(), starts_character));
  if (characters == bytes.size() || characters < 2 * kMarkDistance) return;
  marks.reserve(characters / kMarkDistance + 1);
  std::size_t character = 0;
  for (std::size_t at = 0; at < bytes.size(); ++at) {
    if (starts_character(bytes[at]) && character++ % kMarkDistance == 0)
      marks.push_back(static_cast<std::uint32_t>(at));
  }
}

std::size_t Text::byte_of(std::size_t character) const {
  if (characters == bytes.size()) return character;
  if (character == characters) return bytes.size();
  std::size_t at = marks.empty() ? 0 : marks[character / kMarkDistance];
  std::size_t left = marks.empty() ? character : character % kMarkDistance;
  while (left > 0) left -= starts_character(bytes[++at]) ? 1 : 0;
  return at;
}

std::size_t* Dict::entry(std::size_t hash, const Value& key) {
  for (auto [at, end] = index_.equal_range(hash); at != end; ++at) {
    step();
    if (equal(items_[at->second].first, key)) return &at->second;
  }
  return nullptr;
}

const Value* Dict::find(const Value& key) const {
  const std::size_t hash = hash_of(key);
  if (items_.size() > kFewKeys) {
    const std::size_t* number = const_cast<Dict*>(this)->entry(hash, key);
    return number != nullptr ? &items_[*number].second : nullptr;
  }
  for (const auto& item : items_) {
    if (equal(item.first, key)) return &item.second;
  }
  return nullptr;
}

const Value* Dict::find(std::string_view key) const {
  if (items_.size() > kFewKeys) return find(Value(key));
  for (const auto& item : items_) {
    if (item.first.is_string() && item.first.string() == key) return &item.second;
  }
  return nullptr;
}

void Dict::set(const Value& key, Value value) {
  height_ = std::max(height_, checked_height(1 + std::max(key.height(), value.height())));
  const std::size_t hash = hash_of(key);
  if (const Value* found = find(key)) {
    const_cast<Value&>(*found) = std::move(value);
    return;
  }
  items_.emplace_back(key, std::move(value));
  if (items_.size() == kFewKeys + 1) {
    for (std::size_t i = 0; i < items_.size(); ++i) index_.emplace(hash_of(items_[i].first), i);
  } else if (items_.size() > kFewKeys) {
    index_.emplace(hash, items_.size() - 1);
  }
}

std::uint32_t height_above(const Vector<Value>& values) {
  std::uint32_t highest = 0;
  for (const Value& value : values) highest = std::max(highest, value.height());
  return checked_height(1 + highest);
}

Value Value::undefined(std::string_view message) {
  return Value(Data(std::shared_ptr<const Undefined>(make_counted<Undefined>(String(message)))));
}

Value Value::sequence(SequenceKind kind, Vector<Value> items) {
  step(items.size());
  auto made = make_counted<Sequence>();
  made->height = height_above(items);
  made->kind = kind;
  made->items = std::move(items);
  return Value(Data(std::move(made)));
}

Value Value::iterator(Vector<Value> items, std::optional<Error> failure) {
  Value made = sequence(SequenceKind::kIterator, std::move(items));
  made.sequence_if()->failure = std::move(failure);
  return made;
}

Value Value::dict(Dict dict) {
  return Value(Data(std::shared_ptr<const Dict>(make_counted<Dict>(std::move(dict)))));
}

Value Value::builtin(std::string_view name) {
  auto made = make_counted<Callable>();
  made->kind = Callable::Kind::kBuiltin;
  made->name = name;
  return Value(Data(std::shared_ptr<const Callable>(std::move(made))));
}

Value Value::method(const Value& object, std::string_view name) {
  auto made = make_counted<Callable>();
  made->kind = Callable::Kind::kMethod;
  made->name = name;
  made->object = make_counted<const Value>(object);
  made->height = checked_height(1 + object.height());
  return Value(Data(std::shared_ptr<const Callable>(std::move(made))));
}

double Value::as_double() const { return is_float() ? *get_if<double>() : static_cast<double>(as_int()); }

std::int64_t Value::as_int() const { return is_bool() ? (*get_if<bool>() ? 1 : 0) : *get_if<std::int64_t>(); }

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return as_double() != 0;
  if (is_string()) return !string().empty();
  if (is_sequence()) return is_iterator() || !items().empty();
  if (is_dict()) return !dict_if()->items().empty();
  return true;
}

std::string_view Value::type_name() const {
  constexpr std::string_view kNames[] = {"undefined value", "NoneType", "bool", "int",
                                         "float",           "str",      "list", "dict",
                                         "namespace",       "function", "loop"};
  constexpr std::string_view kSequences[] = {"list",        "tuple",      "range",    "dict_keys",
                                             "dict_values", "dict_items", "generator"};
  if (const Sequence* sequence = sequence_if()) return kSequences[static_cast<std::size_t>(sequence->kind)];
  return kNames[data_.index()];
}

std::uint32_t Value::height() const {
  if (const Sequence* sequence = sequence_if()) return sequence->height;
  if (const Dict* dict = dict_if()) return dict->height();
  if (const Callable* callable = callable_if()) return callable->height;
  if (const LoopState* loop = loop_if()) return loop->height;
  return 0;
}

bool Value::same_as(const Value& other) const {
  if (data_.index() != other.data_.index()) return false;
  if (is_sequence()) return sequence_if() == other.sequence_if();
  if (is_dict()) return dict_if() == other.dict_if();
  if (namespace_if() != nullptr) return namespace_if() == other.namespace_if();
  if (callable_if() != nullptr) return callable_if() == other.callable_if();
  if (loop_if() != nullptr) return loop_if() == other.loop_if();
  return is_none() || is_undefined() || equal(*this, other);
}

Vector<Value> iterate(const Value& value) {
  if (value.is_undefined()) return {};
  Vector<Value> items;
  if (Sequence* sequence = value.sequence_if()) {
    if (sequence->kind != SequenceKind::kIterator) return sequence->items;
    items.assign(sequence->items.begin() + static_cast<std::ptrdiff_t>(sequence->taken),
                 sequence->items.end());
    sequence->taken = sequence->items.size();
    if (sequence->failure) throw Error(*std::exchange(sequence->failure, std::nullopt));
    return items;
  }
  if (const Dict* dict = value.dict_if()) {
    items.reserve(dict->items().size());
    for (const auto& item : dict->items()) items.push_back(item.first);
    return items;
  }
  if (!value.is_string()) fail("a {} cannot be iterated over", value.type_name());
  items.reserve(value.text_if()->characters);
  std::string_view rest = value.string();
  while (!rest.empty()) {
    const std::size_t length = utf8_front(rest).length;
    items.emplace_back(rest.substr(0, length));
    rest.remove_prefix(length);
  }
  return items;
}

}  // namespace latent8::jinja
