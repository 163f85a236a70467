#pragma once
// JSON of strangers: it may nest without end, and copies of a document are recursive; it may have a great
// many members.

#include <cstddef>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace latent8 {

// Members in the order of the text, the last value of a key that occurs twice. Throws:
// Error{kInvalidArgument} beginning with `where` for what is no JSON in UTF-8 or nests deeper than max_depth.
nlohmann::ordered_json parse_nested_json(std::string_view text, const std::string& where, int max_depth);
// nullopt where that throws.
std::optional<nlohmann::ordered_json> try_nested_json(std::string_view text, int max_depth);

// How deep arrays and objects nest; of a text that is no JSON, some number. Linear, without recursion.
std::size_t json_nesting(std::string_view text);

// object[key] = value without a look at the members that are there, of which an ordered_json looks at all.
// REQUIRES: there is no such key.
void append_member(nlohmann::ordered_json& object, const std::string& key, nlohmann::ordered_json value);

}  // namespace latent8
