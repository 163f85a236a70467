// The % operator of strings.

#include <algorithm>
#include <cmath>

#include "base/printable.h"
#include "text/jinja/functions.h"
#include "text/jinja/number_text.h"
#include "text/jinja/strings.h"
#include "text/utf8.h"

namespace latent8::jinja {
namespace {

struct Directive {
  std::optional<std::string_view> key;
  bool left = false, zero = false;
  std::int64_t width = 0;
  int precision = -1;
  NumberStyle style;
  char kind = 's';
};

class Formatter {
 public:
  Formatter(std::string_view text, const Value& arguments) : text_(text), arguments_(arguments) {}

  String run() {
    String out;
    while (at_ < text_.size()) {
      const std::size_t found = std::min(find_text(text_, "%", at_), text_.size());
      append(out, text_.substr(at_, found - at_));
      at_ = found + 1;
      if (found == text_.size()) break;
      const Directive directive = read();
      if (directive.kind == '%') {
        out += '%';
        continue;
      }
      append(out, one(directive, directive.key ? named(*directive.key) : next()));
    }
    const bool all_used =
        !arguments_.is_tuple() ? used_ > 0 || takes_any() : used_ == arguments_.items().size();
    if (!all_used) fail("'{}': not all arguments were used", printable(text_));
    return out;
  }

 private:
  // Python does not mind a mapping (or a list) that is not used.
  bool takes_any() const {
    const bool subscriptable = arguments_.is_sequence() && !arguments_.is_kind(SequenceKind::kIterator);
    return arguments_.is_dict() || subscriptable || arguments_.is_undefined() || keyed_;
  }

  const Value& next() {
    if (arguments_.is_tuple()) {
      if (used_ == arguments_.items().size())
        fail("'{}': not enough arguments for the format", printable(text_));
      return arguments_.items()[used_++];
    }
    if (used_++ > 0) fail("'{}': not enough arguments for the format", printable(text_));
    return arguments_;
  }

  const Value& named(std::string_view key) {
    keyed_ = true;
    if (!arguments_.is_dict()) fail("'{}': a dict expected for '%({})'", printable(text_), printable(key));
    const Value* found = arguments_.dict_if()->find(key);
    if (found == nullptr) fail("'{}': no value is called '{}'", printable(text_), printable(key));
    return *found;
  }

  char take() {
    if (at_ >= text_.size()) fail("'{}': an incomplete format", printable(text_));
    return text_[at_++];
  }

  std::int64_t number() {
    if (at_ < text_.size() && text_[at_] == '*') {
      ++at_;
      const Value& value = next();
      if (!value.is_integer()) fail("'{}': '*' needs an integer", printable(text_));
      return value.as_int();
    }
    std::int64_t value = 0;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') {
      value = value * 10 + (text_[at_++] - '0');
      checked_width(value);
    }
    return value;
  }

  Directive read() {
    Directive directive;
    if (at_ < text_.size() && text_[at_] == '(') {
      const std::size_t close = find_text(text_, ")", at_);
      if (close == std::string_view::npos) fail("'{}': an incomplete format", printable(text_));
      directive.key = text_.substr(at_ + 1, close - at_ - 1);
      at_ = close + 1;
    }
    for (; at_ < text_.size() && std::string_view("-0+ #").find(text_[at_]) != std::string_view::npos;
         ++at_) {
      const char flag = text_[at_];
      if (flag == '-') directive.left = true;
      if (flag == '0') directive.zero = true;
      if (flag == '#') directive.style.alternate = true;
      if (flag == '+' || (flag == ' ' && directive.style.sign == "-")) directive.style.sign = flag;
    }
    directive.width = number();
    if (directive.width < 0) {
      directive.left = true;
      directive.width = -std::max(directive.width, -std::int64_t{1} << 40);
    }
    if (at_ < text_.size() && text_[at_] == '.') {
      ++at_;
      directive.precision = static_cast<int>(std::clamp<std::int64_t>(number(), 0, 1 << 30));
    }
    while (at_ < text_.size() && (text_[at_] == 'l' || text_[at_] == 'h' || text_[at_] == 'L')) ++at_;
    directive.kind = take();
    return directive;
  }

  String one(const Directive& directive, const Value& value) const {
    String text = unpadded(directive, value);
    if (directive.left) return pad(text, directive.width, '<');
    const bool number =
        std::string_view("sracx").find(directive.kind) == std::string_view::npos || directive.kind == 'x';
    return directive.zero && number ? zero_padded(text, directive.width) : pad(text, directive.width, '>');
  }

  String unpadded(const Directive& directive, const Value& value) const {
    const char kind = directive.kind;
    if (kind == 's' || kind == 'r' || kind == 'a') {
      String text = kind == 's' ? value.str() : value.repr();
      if (directive.precision < 0) return text;
      const Text whole(std::move(text));
      return String(std::string_view(whole.bytes)
                        .substr(0, whole.byte_of(std::min(whole.characters,
                                                          static_cast<std::size_t>(directive.precision)))));
    }
    if (kind == 'c' && value.is_string() && value.text_if()->characters == 1) return value.string();
    if (std::string_view("diufFeEgGxXo").find(kind) == std::string_view::npos)
      fail("'{}': the format %{} is not known", printable(text_), printable(std::string_view(&kind, 1)));
    if (!value.is_number()) fail("%{} needs a number, got a {}", kind, value.type_name());
    NumberStyle style = directive.style;
    style.type = kind == 'i' || kind == 'u' ? 'd' : kind;
    style.precision = directive.precision;
    String out;
    if (style.type == 'd' && value.is_float()) {
      const double whole = std::trunc(value.as_double());
      if (!(std::abs(whole) < 9.2e18)) fail("%{}: {} is beyond 64 bits", kind, whole);
      append(out, number_text(Value(static_cast<std::int64_t>(whole)), style));
    } else {
      append(out, number_text(value, style));
    }
    return out;
  }

  std::string_view text_;
  const Value& arguments_;
  std::size_t at_ = 0;
  std::size_t used_ = 0;
  bool keyed_ = false;
};

}  // namespace

String percent_format(std::string_view text, const Value& arguments) {
  return Formatter(text, arguments).run();
}

}  // namespace latent8::jinja
