#include "text/jinja/value.h"

#include <cmath>

#include "text/utf8.h"

namespace latent8::jinja {
namespace {

// Deeper values come only from a template that nests them in a loop; JSON input is bounded where it is read.
constexpr int kMaxReprDepth = 200;

std::string repr_of(const Value& value, int depth);

std::string repr_string(const std::string& text) {
  const bool single = text.find('\'') == std::string::npos || text.find('"') != std::string::npos;
  const char quote = single ? '\'' : '"';
  std::string out(1, quote);
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == quote || c == '\\') {
      out += '\\';
      out += c;
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (byte < 0x20 || byte == 0x7F) {
      out += fmt::format("\\x{:02x}", byte);
    } else {
      out += c;
    }
  }
  out += quote;
  return out;
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

std::string repr_list(const List& list, int depth) {
  std::string out(1, list.is_tuple ? '(' : '[');
  for (std::size_t i = 0; i < list.items.size(); ++i) {
    if (i > 0) out += ", ";
    out += repr_of(list.items[i], depth + 1);
  }
  if (list.is_tuple && list.items.size() == 1) out += ',';
  out += list.is_tuple ? ')' : ']';
  return out;
}

std::string repr_dict(const Dict& dict, int depth) {
  std::string out = dict.is_namespace ? "<Namespace {" : "{";
  bool first = true;
  for (const auto& [key, item] : dict.items) {
    if (!first) out += ", ";
    first = false;
    out += repr_of(key, depth + 1) + ": " + repr_of(item, depth + 1);
  }
  out += dict.is_namespace ? "}>" : "}";
  return out;
}

std::string repr_of(const Value& value, int depth) {
  if (depth > kMaxReprDepth) fail("a value nested more than {} levels deep cannot be printed", kMaxReprDepth);
  if (value.is_undefined()) return "Undefined";
  if (value.is_none()) return "None";
  if (const bool* b = value.get_if<bool>()) return *b ? "True" : "False";
  if (const auto* i = value.get_if<std::int64_t>()) return fmt::format("{}", *i);
  if (const double* d = value.get_if<double>()) return float_text(*d);
  if (value.is_string()) return repr_string(value.string());
  if (value.is_list()) return repr_list(value.list(), depth);
  if (value.is_dict()) return repr_dict(value.dict_ref(), depth);
  fail("a {} cannot be printed", value.type_name());
}

bool equal_at(const Value& a, const Value& b, int depth) {
  if (depth > kMaxReprDepth) fail("values nested more than {} levels deep cannot be compared", kMaxReprDepth);
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) return a.as_double() == b.as_double();
    return a.as_int() == b.as_int();
  }
  if (a.is_string() && b.is_string()) return a.string() == b.string();
  if (a.is_list() && b.is_list()) {
    const List& x = a.list();
    const List& y = b.list();
    if (x.is_tuple != y.is_tuple || x.items.size() != y.items.size()) return false;
    for (std::size_t i = 0; i < x.items.size(); ++i) {
      if (!equal_at(x.items[i], y.items[i], depth + 1)) return false;
    }
    return true;
  }
  if (a.is_dict() && b.is_dict()) {
    const Dict& x = a.dict_ref();
    const Dict& y = b.dict_ref();
    if (x.items.size() != y.items.size()) return false;
    for (const auto& [key, item] : x.items) {
      const Value* other = y.find(key);
      if (other == nullptr || !equal_at(item, *other, depth + 1)) return false;
    }
    return true;
  }
  return (a.is_none() && b.is_none()) || (a.is_undefined() && b.is_undefined());
}

}  // namespace

const Value* Dict::find(const Value& key) const {
  for (const auto& item : items) {
    if (equal(item.first, key)) return &item.second;
  }
  return nullptr;
}

const Value* Dict::find(std::string_view key) const {
  for (const auto& item : items) {
    if (item.first.is_string() && item.first.string() == key) return &item.second;
  }
  return nullptr;
}

void Dict::set(const Value& key, Value value) {
  if (key.is_list() || key.is_dict()) fail("a {} cannot be a key of a dict", key.type_name());
  for (auto& item : items) {
    if (equal(item.first, key)) {
      item.second = std::move(value);
      return;
    }
  }
  items.emplace_back(key, std::move(value));
}

Value Value::list(std::vector<Value> items) {
  auto list = std::make_shared<List>();
  list->items = std::move(items);
  return Value(Data(std::move(list)));
}

Value Value::tuple(std::vector<Value> items) {
  auto list = std::make_shared<List>();
  list->items = std::move(items);
  list->is_tuple = true;
  return Value(Data(std::move(list)));
}

bool Value::is_callable() const {
  return get_if<std::shared_ptr<const Macro>>() != nullptr || get_if<Builtin>() != nullptr ||
         get_if<Method>() != nullptr;
}

double Value::as_double() const { return is_float() ? *get_if<double>() : static_cast<double>(as_int()); }

std::int64_t Value::as_int() const { return is_bool() ? (*get_if<bool>() ? 1 : 0) : *get_if<std::int64_t>(); }

bool Value::truthy() const {
  if (is_undefined() || is_none()) return false;
  if (is_number()) return as_double() != 0;
  if (is_string()) return !string().empty();
  if (is_list()) return !list().items.empty();
  if (is_dict()) return dict_ref().is_namespace || !dict_ref().items.empty();
  return true;
}

std::string Value::str() const {
  if (is_undefined()) return "";
  return is_string() ? string() : repr();
}

std::string Value::repr() const { return repr_of(*this, 0); }

std::string_view Value::type_name() const {
  constexpr std::string_view kNames[] = {"undefined value", "NoneType", "bool",     "int",
                                         "float",           "str",      "list",     "dict",
                                         "macro",           "loop",     "function", "method"};
  if (is_list() && list().is_tuple) return "tuple";
  if (is_dict() && dict_ref().is_namespace) return "namespace";
  return kNames[data_.index()];
}

bool equal(const Value& a, const Value& b) { return equal_at(a, b, 0); }

bool less(const Value& a, const Value& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_float() || b.is_float()) return a.as_double() < b.as_double();
    return a.as_int() < b.as_int();
  }
  if (a.is_string() && b.is_string()) return a.string() < b.string();  // UTF-8 keeps the order of code points
  if (a.is_list() && b.is_list() && a.list().is_tuple == b.list().is_tuple) {
    const auto& x = a.list().items;
    const auto& y = b.list().items;
    for (std::size_t i = 0; i < std::min(x.size(), y.size()); ++i) {
      if (!equal(x[i], y[i])) return less(x[i], y[i]);
    }
    return x.size() < y.size();
  }
  if (const auto* undefined = a.get_if<Undefined>()) fail("{}", undefined->message);
  if (const auto* undefined = b.get_if<Undefined>()) fail("{}", undefined->message);
  fail("'<' between {} and {} has no meaning", a.type_name(), b.type_name());
}

std::vector<Value> iterate(const Value& value) {
  if (value.is_undefined()) return {};
  if (value.is_list()) return value.list().items;
  std::vector<Value> items;
  if (value.is_dict() && !value.dict_ref().is_namespace) {
    for (const auto& item : value.dict_ref().items) items.push_back(item.first);
    return items;
  }
  if (!value.is_string()) fail("a {} cannot be iterated over", value.type_name());
  std::string_view rest = value.string();
  while (!rest.empty()) {
    const std::size_t length = utf8_front(rest).length;
    items.emplace_back(rest.substr(0, length));
    rest.remove_prefix(length);
  }
  return items;
}

}  // namespace latent8::jinja
