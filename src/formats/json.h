#pragma once
// Reading JSON that somebody else wrote: parsing with a place in every message, and checked access to the
// members of an object.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace latent8 {

// Deeper nesting is refused: no file of a checkpoint comes near it.
inline constexpr std::size_t kMaxJsonDepth = 64;

// One JSON value and nothing after it; a key that occurs twice in an object is refused. `where` (a path)
// begins every message.
// Throws: Error{kCorrupt} with line and column.
nlohmann::json parse_json(std::string_view text, const std::string& where);

// Called once per member of the outermost object, in the order of the file. Values that are not strings,
// numbers, booleans or null are passed as their JSON text.
struct FlatJsonMember {
  enum class Kind { kString, kNumber, kBool, kNull, kNested };
  std::string key;
  Kind kind;
  std::string value;  // a string's characters; "" for kNested
};

// The members of a flat object in the order of the file, in linear time: descriptions of big models have
// hundreds of thousands. Throws as parse_json.
std::vector<FlatJsonMember> parse_flat_json(std::string_view text, const std::string& where);

// `text` as a JSON string literal in ASCII, as Python's json.dumps writes it.
std::string json_quote(std::string_view text);

// A value in a message: its JSON in ASCII, without its middle if it is long.
std::string shown_json(const nlohmann::json& value);
std::string shown_json(const nlohmann::ordered_json& value);
std::string shown_json(const std::string& text);  // as a JSON string

// Compact, in UTF-8; what is none becomes U+FFFD.
std::string json_utf8(const nlohmann::ordered_json& value);

// Members of one object, checked: every refusal reads "WHERE: 'KEY': EXPECTED expected, got VALUE". A member
// that is null counts as absent. A view: the object must outlive it.
class JsonFields {
 public:
  // Throws: Error{kCorrupt} if `object` is not an object.
  JsonFields(const nlohmann::json& object, std::string where);

  bool has(const char* key) const;                    // present and not null
  bool is_null(const char* key) const;                // present and null
  const nlohmann::json* find(const char* key) const;  // nullptr if absent or null
  // With no fallback the member must be there. Bounds are inclusive.
  std::int64_t integer(const char* key, std::int64_t low, std::int64_t high,
                       std::optional<std::int64_t> fallback = {}) const;
  double positive_number(const char* key, std::optional<double> fallback = {},
                         double most = 1e12) const;                           // > 0 and <= most
  double number(const char* key, std::optional<double> fallback = {}) const;  // finite
  bool boolean(const char* key, std::optional<bool> fallback = {}) const;
  std::string text(const char* key, std::optional<std::string> fallback = {}) const;
  // The member's text, which must be one of `choices`.
  std::string one_of(const char* key, const std::vector<std::string>& choices,
                     std::optional<std::string> fallback = {}) const;
  [[noreturn]] void refuse(const char* key, std::string_view expected) const;

 private:
  const nlohmann::json& object_;
  std::string where_;
};

}  // namespace latent8
