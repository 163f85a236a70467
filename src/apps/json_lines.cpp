#include "apps/json_lines.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <iostream>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "base/error.h"
#include "base/printable.h"
#include "formats/files.h"
#include "formats/json.h"
#include "formats/nested_json.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

OrderedJson parse_object(const std::string& line) {
  constexpr std::size_t kMaxNesting = 200;
  if (const auto offset = first_invalid_utf8(line))
    throw_error(ErrorCode::kInvalidArgument, "UTF-8 expected, got another byte at offset {}", *offset);
  if (json_nesting(line) > kMaxNesting)
    throw_error(ErrorCode::kInvalidArgument, "JSON nested more than {} levels deep", kMaxNesting);
  OrderedJson object;
  try {
    object = OrderedJson::parse(line);
  } catch (const OrderedJson::parse_error& error) {
    throw_error(ErrorCode::kInvalidArgument, "a JSON object expected, got something else at character {}",
                error.byte);
  } catch (const OrderedJson::exception&) {
    throw_error(ErrorCode::kInvalidArgument, "a JSON object expected, got something else");
  }
  if (!object.is_object())
    throw_error(ErrorCode::kInvalidArgument, "a JSON object expected, got {}", object.type_name());
  return object;
}

}  // namespace

std::unique_ptr<std::istream> open_lines(const char* flag, const std::string& path) {
  if (path == "-" || path == "/dev/stdin") return std::make_unique<std::istream>(std::cin.rdbuf());
  try {
    return std::make_unique<std::istringstream>(read_text_file(path));
  } catch (const Error& error) {
    throw Error(error.code(), fmt::format("{}: {}", flag, error.what()));
  }
}

void for_each_json_line(std::istream& in, const std::string& name,
                        const std::function<void(const OrderedJson&)>& each) {
  std::int64_t number = 0;
  for (std::string line; std::getline(in, line);) {
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      each(parse_object(line));
    } catch (const Error& error) {  // to say where; the error goes on to main()
      throw Error(error.code(), fmt::format("{}: line {}: {}", name, number, error.what()));
    }
  }
}

OrderedJson json_object_from(const std::string& text, const std::string& where) {
  try {
    return parse_object(text);
  } catch (const Error& error) {
    throw Error(error.code(), where.empty() ? error.what() : fmt::format("{}: {}", where, error.what()));
  }
}

void refuse_unknown_keys(const OrderedJson& object, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : object.items())
    if (std::find(known.begin(), known.end(), key) == known.end())
      throw_error(ErrorCode::kInvalidArgument, "the key '{}' is not known here; expected: {}", printable(key),
                  fmt::join(known, ", "));
}

std::vector<std::int32_t> token_ids_from(const OrderedJson& value) {
  if (!value.is_array())
    throw_error(ErrorCode::kInvalidArgument, "'ids': an array of token ids expected, got {}",
                value.type_name());
  std::vector<std::int32_t> ids;
  for (const OrderedJson& id : value) {
    const bool fits = id.is_number_integer() && id.get<std::int64_t>() >= 0 &&
                      id.get<std::int64_t>() <= std::numeric_limits<std::int32_t>::max();
    if (!fits) throw_error(ErrorCode::kInvalidArgument, "'ids': token ids expected, got {}", shown_json(id));
    ids.push_back(static_cast<std::int32_t>(id.get<std::int64_t>()));
  }
  return ids;
}

std::string text_from(const OrderedJson& value, const char* key) {
  if (!value.is_string())
    throw_error(ErrorCode::kInvalidArgument, "'{}': a string expected, got {}", key, value.type_name());
  return value.get<std::string>();
}

std::string to_json_line(const OrderedJson& value) { return json_text(value, -1) + "\n"; }

// A path may have bytes that are no UTF-8, which JSON cannot have.
std::string json_text(const OrderedJson& value, int indent) {
  return value.dump(indent, ' ', /*ensure_ascii=*/true, OrderedJson::error_handler_t::replace);
}

}  // namespace latent8
