#pragma once
// JSON as values of the template language.

#include <nlohmann/json_fwd.hpp>

#include "text/jinja/value.h"

namespace latent8::jinja {

// Keeps the order of keys. Throws: Error{kInvalidArgument} for a document nested more than kMaxHeight levels
// deep or a number that a signed 64-bit integer cannot hold.
Value from_json(const nlohmann::ordered_json& json);

}  // namespace latent8::jinja
