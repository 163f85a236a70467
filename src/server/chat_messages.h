#pragma once
// The messages and tools of a chat body as a chat template reads them.

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "server/fields.h"
#include "text/chat_template.h"

namespace latent8 {

// body.messages, checked: every message an object with a role; content a text, parts of text (joined by
// newlines), or nothing in an assistant's message (""). "developer" becomes "system"; calls of tools have an
// id, a type and a name. Throws: ApiError naming the field.
nlohmann::ordered_json read_messages(const Fields& body);

bool has_tool_calls(const nlohmann::ordered_json& messages);
// Makes the arguments of all calls in messages JSON text, or else the objects that they stand for. Throws:
// ApiError naming arguments that are no JSON object where objects are wanted.
void fit_arguments(nlohmann::ordered_json& messages, bool as_text);

// body.tools; null where there are none or tool_choice is "none". Throws: ApiError naming the field.
nlohmann::ordered_json read_tools(const Fields& body);

struct ToolChoice {
  enum class Mode : std::uint8_t { kAuto, kNone, kRequired, kNamed };
  Mode mode = Mode::kAuto;
  std::string name;  // of kNamed
};
// body.tool_choice. Throws: ApiError naming the field, also for a tool that is not among `tools`.
ToolChoice read_tool_choice(const Fields& body, const nlohmann::ordered_json& tools);

// Variables of the chat template: body.chat_template_kwargs, and what body.reasoning_effort ("none", or
// another word to reason) means to it. Throws: ApiError naming the field.
nlohmann::ordered_json read_variables(const Fields& body, const ChatTemplate& chat_template);

}  // namespace latent8
