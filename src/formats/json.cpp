#include "formats/json.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/printable.h"
#include "formats/foreign_file.h"

namespace latent8 {
namespace {

using nlohmann::json;

// "line 3, column 7" of the byte before `end`, both from 1.
std::string place_of(std::string_view text, std::size_t end) {
  const std::string_view before = text.substr(0, end > 0 ? std::min(end, text.size()) - 1 : 0);
  const auto line = std::count(before.begin(), before.end(), '\n');
  const std::size_t begin = before.rfind('\n');
  return fmt::format("line {}, column {}", line + 1,
                     before.size() - (begin == std::string_view::npos ? 0 : begin + 1) + 1);
}

// Checks syntax, depth and keys, and collects the members of the outermost object if it is asked to.
class NestingChecker : public nlohmann::json_sax<json> {
 public:
  NestingChecker(std::string_view text, const std::string& where, std::vector<FlatJsonMember>* members)
      : text_(text), where_(where), members_(members) {}

  bool null() override { return add(FlatJsonMember::Kind::kNull, "null"); }
  bool boolean(bool v) override { return add(FlatJsonMember::Kind::kBool, v ? "true" : "false"); }
  bool number_integer(number_integer_t v) override {
    return add(FlatJsonMember::Kind::kNumber, std::to_string(v));
  }
  bool number_unsigned(number_unsigned_t v) override {
    return add(FlatJsonMember::Kind::kNumber, std::to_string(v));
  }
  bool number_float(number_float_t, const string_t& text) override {
    return add(FlatJsonMember::Kind::kNumber, text);
  }
  bool string(string_t& v) override { return add(FlatJsonMember::Kind::kString, std::move(v)); }
  bool binary(binary_t&) override { return false; }
  bool start_object(std::size_t) override {
    open();
    if (seen_.size() <= depth_) seen_.resize(depth_ + 1);
    return true;
  }
  bool start_array(std::size_t) override {
    if (depth_ == 0 && members_ != nullptr) refuse_outermost();
    open();
    return true;
  }
  bool key(string_t& v) override {
    if (!seen_[depth_].insert(v).second)
      throw_error(ErrorCode::kCorrupt, "{}: key '{}' once expected, got it twice", where_, v);
    if (depth_ == 1 && members_ != nullptr) key_ = std::move(v);
    return true;
  }
  bool end_object() override {
    constexpr std::size_t kSmall = 64;  // clearing a set costs its buckets, not its keys
    if (seen_[depth_].bucket_count() > kSmall)
      seen_[depth_] = {};
    else
      seen_[depth_].clear();
    return close();
  }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string& last,
                   const nlohmann::detail::exception& e) override {
    constexpr std::size_t kLongest = 80;
    refuse_foreign(text_, where_);
    if (text_.find_first_not_of(" \t\r\n") == std::string_view::npos)
      throw_error(ErrorCode::kCorrupt, "{}: JSON expected, got an empty file; fetch it again", where_);
    const bool not_utf8 = std::string_view(e.what()).find("UTF-8") != std::string_view::npos;
    const bool closed = last.ends_with('}') || last.ends_with(']');  // too early: behind a comma
    const bool ended = !not_utf8 && position >= text_.size() && !closed;
    throw_error(ErrorCode::kCorrupt, "{}: JSON expected, got something else at {}{}", where_,
                place_of(text_, position),
                ended ? std::string(", where it ends; it is truncated: fetch it again")
                      : fmt::format(" ('{}'{})", cut_middle(printable(last), kLongest),
                                    not_utf8 ? ", which is no UTF-8" : ""));
  }

 private:
  bool add(FlatJsonMember::Kind kind, std::string value) {
    if (members_ == nullptr) return true;
    if (depth_ == 0) refuse_outermost();
    if (depth_ == 1) members_->push_back({std::move(key_), kind, std::move(value)});
    return true;
  }
  void open() {
    if (++depth_ > kMaxJsonDepth)
      throw_error(ErrorCode::kCorrupt, "{}: nesting of at most {} levels expected, got more", where_,
                  kMaxJsonDepth);
  }
  bool close() {
    --depth_;
    if (depth_ == 1) add(FlatJsonMember::Kind::kNested, "");
    return true;
  }
  [[noreturn]] void refuse_outermost() const {
    throw_error(ErrorCode::kCorrupt, "{}: a JSON object expected, got another value", where_);
  }

  std::string_view text_;
  const std::string& where_;
  std::vector<FlatJsonMember>* members_;  // may be nullptr
  std::size_t depth_ = 0;
  std::string key_;
  std::vector<std::unordered_set<std::string>> seen_;  // the keys of the open object of each depth
};

}  // namespace

// Two passes: the parser's own callback, which could check in one, takes quadratic time on big objects.
json parse_json(std::string_view text, const std::string& where) {
  NestingChecker checker(text, where, nullptr);
  json::sax_parse(text.begin(), text.end(), &checker);
  return json::parse(text.begin(), text.end());
}

std::vector<FlatJsonMember> parse_flat_json(std::string_view text, const std::string& where) {
  std::vector<FlatJsonMember> members;
  NestingChecker checker(text, where, &members);
  json::sax_parse(text.begin(), text.end(), &checker);
  return members;
}

std::string json_quote(std::string_view text) {
  return json(text).dump(-1, ' ', true, json::error_handler_t::replace);
}

JsonFields::JsonFields(const json& object, std::string where) : object_(object), where_(std::move(where)) {
  if (!object.is_object())
    throw_error(ErrorCode::kCorrupt, "{}: a JSON object expected, got {}", where_, object.type_name());
}

const json* JsonFields::find(const char* key) const {
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool JsonFields::has(const char* key) const { return find(key) != nullptr; }

bool JsonFields::is_null(const char* key) const {
  const auto it = object_.find(key);
  return it != object_.end() && it->is_null();
}

namespace {

constexpr std::size_t kShown = 96;  // bytes of a value in a message

template <class AnyJson>
std::string shown(const AnyJson& value) {
  return cut_middle(value.dump(-1, ' ', true, AnyJson::error_handler_t::replace), kShown);
}

}  // namespace

std::string json_utf8(const nlohmann::ordered_json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/false, nlohmann::ordered_json::error_handler_t::replace);
}

std::string shown_json(const json& value) { return shown(value); }
std::string shown_json(const nlohmann::ordered_json& value) { return shown(value); }
std::string shown_json(const std::string& text) { return shown(json(text)); }

void JsonFields::refuse(const char* key, std::string_view expected) const {
  const json* value = find(key);
  std::string got = "nothing";
  if (value != nullptr && value->is_string())
    got = cut_middle(printable("'" + value->get<std::string>() + "'"), kShown);
  else if (value != nullptr)
    got = shown_json(*value);
  throw_error(value == nullptr ? ErrorCode::kCorrupt : ErrorCode::kUnsupported,
              "{}: '{}': {} expected, got {}", where_, key, expected, got);
}

std::int64_t JsonFields::integer(const char* key, std::int64_t low, std::int64_t high,
                                 std::optional<std::int64_t> fallback) const {
  const json* value = find(key);
  if (value == nullptr && fallback) return *fallback;
  const bool fits = value != nullptr && value->is_number_integer() &&
                    !(value->is_number_unsigned() && value->get<std::uint64_t>() > INT64_MAX);
  const std::int64_t got = fits ? value->get<std::int64_t>() : 0;
  if (!fits || got < low || got > high) refuse(key, fmt::format("an integer from {} to {}", low, high));
  return got;
}

double JsonFields::number(const char* key, std::optional<double> fallback) const {
  const json* value = find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_number() || !std::isfinite(value->get<double>()))
    refuse(key, "a finite number");
  return value->get<double>();
}

double JsonFields::positive_number(const char* key, std::optional<double> fallback, double most) const {
  const double got = number(key, fallback);
  if (!(got > 0 && got <= most)) refuse(key, fmt::format("a number above 0 and at most {:g}", most));
  return got;
}

bool JsonFields::boolean(const char* key, std::optional<bool> fallback) const {
  const json* value = find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_boolean()) refuse(key, "true or false");
  return value->get<bool>();
}

std::string JsonFields::text(const char* key, std::optional<std::string> fallback) const {
  const json* value = find(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_string()) refuse(key, "a string");
  return value->get<std::string>();
}

std::string JsonFields::one_of(const char* key, const std::vector<std::string>& choices,
                               std::optional<std::string> fallback) const {
  if (!has(key) && fallback) return *fallback;
  const json* value = find(key);
  if (value != nullptr && value->is_string())
    for (const std::string& choice : choices)
      if (value->get_ref<const std::string&>() == choice) return choice;
  std::string expected = choices.size() == 1 ? "" : "one of ";
  for (const std::string& choice : choices)
    expected += (&choice == choices.data() ? "'" : ", '") + choice + "'";
  refuse(key, expected);
}

}  // namespace latent8
