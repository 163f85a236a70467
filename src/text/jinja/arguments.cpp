#include <algorithm>

#include "base/printable.h"
#include "text/jinja/functions.h"

namespace latent8::jinja {

Arguments Arguments::without_first() const {
  Arguments rest;
  rest.positional.assign(positional.begin() + 1, positional.end());
  rest.keywords = keywords;
  return rest;
}

BoundArguments::BoundArguments(std::string_view function, const Arguments& arguments,
                               std::initializer_list<std::string_view> names)
    : function_(function), names_(names), values_(names.size(), nullptr) {
  if (arguments.positional.size() > names_.size()) {
    fail("{}: at most {} arguments expected, got {}", function, names_.size(), arguments.positional.size());
  }
  for (std::size_t i = 0; i < arguments.positional.size(); ++i) values_[i] = &arguments.positional[i];
  for (const auto& [name, value] : arguments.keywords) {
    const auto found = std::find(names_.begin(), names_.end(), name);
    if (found == names_.end()) fail("{}: no argument is called '{}'", function, printable(name));
    const Value*& slot = values_[static_cast<std::size_t>(found - names_.begin())];
    if (slot != nullptr) fail("{}: argument '{}' is given twice", function, printable(name));
    slot = &value;
  }
}

const Value& BoundArguments::need(std::size_t index) const {
  if (values_[index] == nullptr) fail("{}: argument '{}' is missing", function_, names_[index]);
  return *values_[index];
}

std::int64_t BoundArguments::integer(std::size_t index, std::int64_t fallback) const {
  const Value* value = values_[index];
  if (value == nullptr) return fallback;
  if (!value->is_integer() && !value->is_bool()) {
    fail("{}: argument '{}' must be an integer, got a {}", function_, names_[index], value->type_name());
  }
  return value->as_int();
}

bool BoundArguments::truth(std::size_t index, bool fallback) const {
  return values_[index] == nullptr ? fallback : values_[index]->truthy();
}

std::string_view BoundArguments::text(std::size_t index, std::string_view fallback) const {
  const Value* value = values_[index];
  if (value == nullptr) return fallback;
  if (!value->is_string()) {
    fail("{}: argument '{}' must be a str, got a {}", function_, names_[index], value->type_name());
  }
  return value->string();
}

std::string_view BoundArguments::need_text(std::size_t index) const {
  need(index);
  return text(index, "");
}

}  // namespace latent8::jinja
