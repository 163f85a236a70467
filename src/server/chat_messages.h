#pragma once
// The messages of a chat body as a chat template reads them.

#include <nlohmann/json_fwd.hpp>

#include "server/fields.h"

namespace latent8 {

// body.messages, checked: every message an object with a role; content a text, parts of text (joined by
// newlines), or nothing where there are tool calls. "developer" becomes "system". Throws: ApiError naming the
// field.
nlohmann::ordered_json read_messages(const Fields& body);

// body.tools; null where there are none or tool_choice is "none". Throws: ApiError naming the field.
nlohmann::ordered_json read_tools(const Fields& body);

// body.chat_template_kwargs: variables of the chat template, or null. Throws: ApiError naming the field.
nlohmann::ordered_json read_variables(const Fields& body);

}  // namespace latent8
