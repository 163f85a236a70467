// Python's str() and repr(). What is written is allocated from the budget, which bounds the work.

#include <cmath>

#include "text/jinja/strings.h"
#include "text/jinja/value.h"
#include "text/utf8.h"

namespace latent8::jinja {
namespace {

void append_string(String& out, std::string_view text) {
  step(text.size() / 4);
  const bool single = text.find('\'') == std::string_view::npos || text.find('"') != std::string_view::npos;
  const char quote = single ? '\'' : '"';
  out += quote;
  while (!text.empty()) {
    const Utf8Step front = utf8_front(text);
    const char32_t c = front.code_point;
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (is_printable(c)) {
      append(out, text.substr(0, front.length));
    } else if (c < 0x100) {
      append(out, fmt::format("\\x{:02x}", static_cast<std::uint32_t>(c)));
    } else if (c < 0x10000) {
      append(out, fmt::format("\\u{:04x}", static_cast<std::uint32_t>(c)));
    } else {
      append(out, fmt::format("\\U{:08x}", static_cast<std::uint32_t>(c)));
    }
    text.remove_prefix(front.length);
  }
  out += quote;
}

std::string float_text(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  std::string text = fmt::format("{}", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

void append_repr(String& out, const Value& value);

void append_items(String& out, const Vector<Value>& items) {
  for (std::size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    append_repr(out, items[i]);
  }
}

void append_sequence(String& out, const Sequence& sequence) {
  switch (sequence.kind) {
    case SequenceKind::kTuple:
      out += '(';
      append_items(out, sequence.items);
      out += sequence.items.size() == 1 ? ",)" : ")";
      return;
    case SequenceKind::kRange: {
      const auto& items = sequence.items;
      const std::int64_t start = items.empty() ? 0 : items.front().as_int();
      const std::int64_t stride = items.size() < 2 ? 1 : items[1].as_int() - start;
      const std::int64_t stop = items.empty() ? 0 : items.back().as_int() + (stride > 0 ? 1 : -1);
      append(out, stride == 1 ? fmt::format("range({}, {})", start, stop)
                              : fmt::format("range({}, {}, {})", start, stop, stride));
      return;
    }
    case SequenceKind::kIterator:
      out += "<generator object>";
      return;
    case SequenceKind::kList:
      break;
    case SequenceKind::kKeys:
      out += "dict_keys(";
      break;
    case SequenceKind::kValues:
      out += "dict_values(";
      break;
    case SequenceKind::kItems:
      out += "dict_items(";
      break;
  }
  out += '[';
  append_items(out, sequence.items);
  out += sequence.kind == SequenceKind::kList ? "]" : "])";
}

void append_dict(String& out, const Dict& dict) {
  out += '{';
  bool first = true;
  for (const auto& [key, item] : dict.items()) {
    if (!first) out += ", ";
    first = false;
    append_repr(out, key);
    out += ": ";
    append_repr(out, item);
  }
  out += '}';
}

void append_repr(String& out, const Value& value) {
  step();
  if (value.is_undefined()) return append(out, "Undefined");
  if (value.is_none()) return append(out, "None");
  if (const bool* b = value.get_if<bool>()) return append(out, *b ? "True" : "False");
  if (const auto* i = value.get_if<std::int64_t>()) return append(out, fmt::format("{}", *i));
  if (const double* d = value.get_if<double>()) return append(out, float_text(*d));
  if (value.is_string()) return append_string(out, value.string());
  // A namespace may hold itself, and each adds the height of what it holds.
  const Budget::Nesting nesting;
  if (const Sequence* sequence = value.sequence_if()) return append_sequence(out, *sequence);
  if (const Dict* dict = value.dict_if()) return append_dict(out, *dict);
  if (const Namespace* names = value.namespace_if()) {
    out += "<Namespace ";
    append_dict(out, names->attributes);
    out += '>';
    return;
  }
  if (const LoopState* loop = value.loop_if())
    return append(out, fmt::format("<LoopContext {}/{}>", loop->index + 1, loop->items->size()));
  if (value.callable_if()->kind == Callable::Kind::kMacro)
    return append(out, fmt::format("<Macro '{}'>", value.callable_if()->name));
  fail("a {} cannot be printed", value.type_name());
}

}  // namespace

String Value::str() const {
  if (is_undefined()) return {};
  return is_string() ? string() : repr();
}

String Value::repr() const {
  String out;
  append_repr(out, *this);
  return out;
}

}  // namespace latent8::jinja
