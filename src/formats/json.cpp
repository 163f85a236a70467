#include "formats/json.h"

#include <cmath>
#include <nlohmann/json.hpp>
#include <unordered_set>
#include <utility>

#include "base/error.h"

namespace latent8 {
namespace {

using nlohmann::json;

std::string without_prefix(
    const json::exception& e) {  // "[json.exception.parse_error.101] parse error at ..."
  const std::string_view what = e.what();
  const auto end = what.find("] ");
  return std::string(end == std::string_view::npos ? what : what.substr(end + 2));
}

[[noreturn]] void refuse_depth(const std::string& where) {
  throw_error(ErrorCode::kCorrupt, "{}: nesting of at most {} levels expected, got more", where,
              kMaxJsonDepth);
}

[[noreturn]] void refuse_duplicate(const std::string& where, std::string_view key) {
  throw_error(ErrorCode::kCorrupt, "{}: key '{}' once expected, got it twice", where, key);
}

// Collects the members of the outermost object; what is nested in a member is checked and dropped.
class FlatReader : public nlohmann::json_sax<json> {
 public:
  explicit FlatReader(const std::string& where) : where_(where) {}
  std::vector<FlatJsonMember> members;

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
  bool start_object(std::size_t) override { return open(); }
  bool start_array(std::size_t) override {
    if (depth_ == 0) refuse_outermost();
    return open();
  }
  bool key(string_t& v) override {
    if (depth_ != 1) return true;
    if (!seen_.insert(v).second) refuse_duplicate(where_, v);
    key_ = std::move(v);
    return true;
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t, const std::string&, const nlohmann::detail::exception& e) override {
    throw_error(ErrorCode::kCorrupt, "{}: {}", where_,
                without_prefix(static_cast<const json::exception&>(e)));
  }

 private:
  bool add(FlatJsonMember::Kind kind, std::string value) {
    if (depth_ == 0) refuse_outermost();
    if (depth_ == 1) members.push_back({std::move(key_), kind, std::move(value)});
    return true;
  }
  bool open() {
    if (++depth_ > kMaxJsonDepth) refuse_depth(where_);
    return true;
  }
  bool close() {
    if (--depth_ == 1) members.push_back({std::move(key_), FlatJsonMember::Kind::kNested, ""});
    return true;
  }
  [[noreturn]] void refuse_outermost() const {
    throw_error(ErrorCode::kCorrupt, "{}: a JSON object expected, got another value", where_);
  }

  const std::string& where_;
  int depth_ = 0;
  std::string key_;
  std::unordered_set<std::string> seen_;
};

}  // namespace

json parse_json(std::string_view text, const std::string& where) {
  std::vector<std::unordered_set<std::string>> keys;  // of the open objects
  const auto watch = [&](int depth, json::parse_event_t event, json& parsed) {
    if (depth >= kMaxJsonDepth) refuse_depth(where);
    if (event == json::parse_event_t::object_start) keys.emplace_back();
    if (event == json::parse_event_t::object_end) keys.pop_back();
    if (event == json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      refuse_duplicate(where, parsed.get<std::string>());
    return true;
  };
  try {
    return json::parse(text.begin(), text.end(), watch);
  } catch (const json::exception& e) {
    throw_error(ErrorCode::kCorrupt, "{}: {}", where, without_prefix(e));
  }
}

std::vector<FlatJsonMember> parse_flat_json(std::string_view text, const std::string& where) {
  FlatReader reader(where);
  json::sax_parse(text.begin(), text.end(), &reader);
  return std::move(reader.members);
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

void JsonFields::refuse(const char* key, std::string_view expected) const {
  constexpr std::size_t kLongest = 80;
  const json* value = find(key);
  std::string got = "nothing";
  if (value != nullptr && value->is_string())
    got = "'" + value->get<std::string>() + "'";
  else if (value != nullptr)
    got = value->dump(-1, ' ', true, json::error_handler_t::replace);
  if (got.size() > kLongest) got = got.substr(0, kLongest) + "...";
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

double JsonFields::positive_number(const char* key, std::optional<double> fallback) const {
  const double got = number(key, fallback);
  if (!(got > 0)) refuse(key, "a number above 0");
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
