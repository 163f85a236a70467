#include "text/jinja/json.h"

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "text/jinja/functions.h"
#include "text/jinja/sorting.h"
#include "text/jinja/strings.h"
#include "text/utf8.h"

namespace latent8::jinja {
namespace {

Value convert(const nlohmann::ordered_json& json, std::uint32_t depth) {
  if (depth > kMaxHeight) fail("JSON nested more than {} levels deep", kMaxHeight);
  step();
  if (json.is_null()) return Value();
  if (json.is_boolean()) return Value(json.get<bool>());
  if (json.is_number_unsigned() && json.get<std::uint64_t>() > std::numeric_limits<std::int64_t>::max()) {
    fail("JSON: the number {} does not fit 64 bits with sign", json.get<std::uint64_t>());
  }
  if (json.is_number_integer()) return Value(json.get<std::int64_t>());
  if (json.is_number_float()) return Value(json.get<double>());
  if (json.is_string()) return Value(std::string_view(json.get_ref<const std::string&>()));
  if (json.is_array()) {
    Vector<Value> items;
    items.reserve(json.size());
    for (const auto& item : json) items.push_back(convert(item, depth + 1));
    return Value::list(std::move(items));
  }
  Dict dict;
  for (const auto& [key, item] : json.items())
    dict.set(Value(std::string_view(key)), convert(item, depth + 1));
  return Value::dict(std::move(dict));
}

void append_escaped(String& out, std::string_view text, bool ascii) {
  constexpr std::string_view kPlain = "\"\\\b\f\n\r\t";
  constexpr std::string_view kEscape = "\"\\bfnrt";
  step(text.size() / 8);
  out += '"';
  for (; !text.empty(); text.remove_prefix(utf8_front(text).length)) {
    const Utf8Step front = utf8_front(text);
    const char32_t c = front.code_point;
    const std::size_t named = c < 0x80 ? kPlain.find(static_cast<char>(c)) : std::string_view::npos;
    if (named != std::string_view::npos) {
      out += '\\';
      out += kEscape[named];
    } else if (c < 0x20 || (ascii && c > 0x7E && c < 0x10000)) {
      append(out, fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c)));
    } else if (ascii && c >= 0x10000) {
      const std::uint32_t pair = static_cast<std::uint32_t>(c) - 0x10000;
      append(out, fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + (pair >> 10), 0xDC00 + (pair & 0x3FF)));
    } else {
      append(out, text.substr(0, front.length));
    }
  }
  out += '"';
}

class Dumper {
 public:
  explicit Dumper(const JsonStyle& style) : style_(style) {}

  void dump(const Value& value) {
    step();
    if (value.is_none()) {
      out_ += "null";
    } else if (value.is_bool()) {
      out_ += value.truthy() ? "true" : "false";
    } else if (value.is_float() && !std::isfinite(value.as_double())) {
      out_ += std::isnan(value.as_double()) ? "NaN" : (value.as_double() < 0 ? "-Infinity" : "Infinity");
    } else if (value.is_number()) {
      out_ += value.repr();
    } else if (value.is_string()) {
      append_escaped(out_, value.string(), style_.ensure_ascii);
    } else if (value.is_list() || value.is_tuple()) {
      list(value.items());
    } else if (value.is_dict()) {
      dict(*value.dict_if());
    } else {
      if (const auto* undefined = value.undefined_if()) fail("tojson: {}", undefined->message);
      fail("tojson: a {} is not JSON", value.type_name());
    }
  }

  String take() { return std::move(out_); }

 private:
  void line() {
    if (!style_.pretty) return;
    out_ += '\n';
    for (int i = 0; i < depth_; ++i) out_ += style_.indent;
  }

  void list(const Vector<Value>& items) {
    out_ += '[';
    ++depth_;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      line();
      dump(items[i]);
    }
    --depth_;
    if (!items.empty()) line();
    out_ += ']';
  }

  void dict(const Dict& dict) {
    Vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict.items()) items.push_back(&item);
    if (style_.sort_keys) {
      merge_sort(items, [](auto* a, auto* b) { return less(a->first, b->first); });
    }
    out_ += '{';
    ++depth_;
    for (std::size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_ += style_.item_separator;
      line();
      key(items[i]->first);
      out_ += style_.key_separator;
      dump(items[i]->second);
    }
    --depth_;
    if (!items.empty()) line();
    out_ += '}';
  }

  void key(const Value& key) {
    if (key.is_string()) return append_escaped(out_, key.string(), style_.ensure_ascii);
    if (!key.is_number() && !key.is_none()) fail("tojson: a {} is no key of JSON", key.type_name());
    out_ += '"';
    dump(key);
    out_ += '"';
  }

  const JsonStyle& style_;
  String out_;
  int depth_ = 0;
};

}  // namespace

Value from_json(const nlohmann::ordered_json& json) { return convert(json, 1); }

String dump_json(const Value& value, const JsonStyle& style) {
  Dumper dumper(style);
  dumper.dump(value);
  return dumper.take();
}

}  // namespace latent8::jinja
