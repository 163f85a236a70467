#pragma once
// The fields of a request's JSON body: unknown ones are ignored, wrong types and ranges refused by name.

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace latent8 {

// Of JSON in a body, and of JSON in a text of it: copies are recursive.
inline constexpr int kMaxBodyDepth = 64;

// The body as one JSON object. Throws: ApiError 400 for anything else, and for nesting deeper than that.
nlohmann::ordered_json parse_body(std::string_view body);

// A view of one object, which must outlive it. A member that is null counts as absent. All methods throw
// ApiError 400 with the field's path for a value of another type or out of range; bounds are inclusive.
class Fields {
 public:
  // path: of the object in the body: "" for the body, "messages[0]" ...
  explicit Fields(const nlohmann::ordered_json& object, std::string path = "");

  const nlohmann::ordered_json* find(const char* key) const;  // nullptr if absent or null
  std::optional<bool> boolean(const char* key) const;
  std::optional<std::int64_t> integer(const char* key, std::int64_t low,
                                      std::int64_t high = std::numeric_limits<std::int64_t>::max()) const;
  std::optional<double> number(const char* key, double low, double high) const;
  std::optional<std::string> text(const char* key) const;
  std::string need_text(const char* key) const;  // which must be there
  const nlohmann::ordered_json* array(const char* key) const;
  const nlohmann::ordered_json* object(const char* key) const;
  // Each of 0 or more, and below `end`.
  std::optional<std::vector<std::int32_t>> token_ids(
      const char* key, std::int64_t end = std::int64_t{std::numeric_limits<std::int32_t>::max()} + 1) const;
  // A text or a list of texts, none of them empty.
  std::vector<std::string> texts(const char* key, std::size_t most) const;

  std::string path_of(const char* key) const;
  [[noreturn]] void refuse(const char* key, std::string_view expected) const;

 private:
  const nlohmann::ordered_json& object_;
  std::string path_;
};

}  // namespace latent8
