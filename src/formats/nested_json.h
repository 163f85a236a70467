#pragma once
// Objects of many members in the order of their text: see nested_json.cpp for parse_nested_json.

#include <nlohmann/json_fwd.hpp>
#include <string>

namespace latent8 {

// object[key] = value without a look at the members that are there, of which an ordered_json looks at all.
// REQUIRES: there is no such key.
void append_member(nlohmann::ordered_json& object, const std::string& key, nlohmann::ordered_json value);

}  // namespace latent8
