#include "server/mindie/config_tree.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json.h"
#include "server/mindie/relaxed_json.h"

namespace latent8 {
namespace {

using SortedJson = nlohmann::json;

bool is_integer_in(const SortedJson& value, std::int64_t low, std::int64_t high) {
  if (!value.is_number_integer() || (value.is_number_unsigned() && value.get<std::uint64_t>() > INT64_MAX))
    return false;
  return value.get<std::int64_t>() >= low && value.get<std::int64_t>() <= high;
}

bool is_texts(const SortedJson& value) {
  constexpr std::size_t kMost = 3;
  return value.is_array() && value.size() <= kMost &&
         std::all_of(value.begin(), value.end(), [](const SortedJson& item) { return item.is_string(); });
}

// "" where the value is fit for the key, else what is expected.
std::string expected_for(const ConfigKey& key, const SortedJson& value) {
  switch (key.kind) {
    case ConfigKind::kSection:
      return value.is_object() ? "" : "an object";
    case ConfigKind::kSectionList:
      return value.is_array() && !value.empty() ? "" : "a list of objects";
    case ConfigKind::kText:
      return value.is_string() ? "" : "a text";
    case ConfigKind::kInteger:
      return is_integer_in(value, key.low, key.high)
                 ? ""
                 : fmt::format("a whole number from {} to {}", key.low, key.high);
    case ConfigKind::kBoolean:
      return value.is_boolean() ? "" : "true or false";
    case ConfigKind::kTextList:
      return is_texts(value) ? "" : "a list of at most 3 texts";
    case ConfigKind::kList:
      return value.is_array() ? "" : "a list";
    case ConfigKind::kTruncation:
      return value.is_boolean() || is_integer_in(value, -1, 1) ? "" : "true, false, -1, 0 or 1";
    case ConfigKind::kObject:
      return value.is_object() || value.is_string() ? "" : "an object, or a text with one";
    case ConfigKind::kAnything:
      return "";
  }
  return "";
}

}  // namespace

ConfigTree::ConfigTree(std::string_view text, const std::string& file)
    : root_(std::make_unique<const SortedJson>(parse_json(plain_json(text), file))) {
  if (!root_->is_object())
    throw_error(ErrorCode::kCorrupt, "{}: a JSON object expected, got {}", file, root_->type_name());
  visit(*root_, "", "");
}

ConfigTree::~ConfigTree() = default;

void ConfigTree::visit(const SortedJson& section, const std::string& path, const std::string& pattern) {
  for (const auto& [name, value] : section.items())
    if (!value.is_null()) visit_value(name, value, path, pattern);
}

void ConfigTree::visit_value(const std::string& name, const SortedJson& value, const std::string& section,
                             const std::string& pattern_section) {
  const std::string path = section + name, pattern = pattern_section + name;
  const bool one_name = name.find_first_of(".[") == std::string::npos;  // as paths understand it
  const ConfigKey* key = one_name ? find_config_key(pattern) : nullptr;
  if (key == nullptr) {
    unknown_.push_back(path);
    return;
  }
  if (const std::string expected = expected_for(*key, value); !expected.empty())
    return refuse(path, expected);
  if (key->no_effect != nullptr) no_effect(key->no_effect, key->name);
  if (key->kind == ConfigKind::kSection) visit(value, path + ".", pattern + ".");
  if (key->kind != ConfigKind::kSectionList) return;
  for (std::size_t i = 0; i < value.size(); ++i) {
    const std::string item = fmt::format("{}[{}]", path, i);
    if (value[i].is_object())
      visit(value[i], item + ".", pattern + "[].");
    else
      refuse(item, "an object");
  }
}

const SortedJson* ConfigTree::find(std::string_view path) const {
  if (wrong_.contains(path)) return nullptr;
  const SortedJson* at = root_.get();
  while (!path.empty()) {
    const std::size_t end = std::min(path.find_first_of(".["), path.size());
    const auto member = at->is_object() ? at->find(std::string(path.substr(0, end))) : at->end();
    if (member == at->end() || member->is_null()) return nullptr;
    at = &*member;
    path.remove_prefix(end);
    if (path.starts_with('[')) {
      const std::size_t close = path.find(']');
      const auto index = static_cast<std::size_t>(std::stoul(std::string(path.substr(1, close - 1))));
      if (!at->is_array() || index >= at->size()) return nullptr;
      at = &(*at)[index];
      path.remove_prefix(close + 1);
    }
    if (path.starts_with('.')) path.remove_prefix(1);
  }
  return at;
}

void ConfigTree::refuse(std::string_view path, std::string_view expected) {
  const SortedJson* value = find(path);
  problems_.push_back(fmt::format("'{}': {} expected, got {}", path, expected,
                                  value == nullptr ? "nothing" : shown_json(*value)));
  wrong_.emplace(path);
}

std::string ConfigTree::text(std::string_view path, const std::string& fallback) const {
  const SortedJson* value = find(path);
  return value == nullptr ? fallback : value->get<std::string>();
}

std::int64_t ConfigTree::integer(std::string_view path, std::int64_t fallback) const {
  const SortedJson* value = find(path);
  return value == nullptr ? fallback : value->get<std::int64_t>();
}

bool ConfigTree::boolean(std::string_view path, bool fallback) const {
  const SortedJson* value = find(path);
  return value == nullptr ? fallback : value->get<bool>();
}

std::vector<std::string> ConfigTree::texts(std::string_view path,
                                           const std::vector<std::string>& fallback) const {
  const SortedJson* value = find(path);
  return value == nullptr ? fallback : value->get<std::vector<std::string>>();
}

}  // namespace latent8
