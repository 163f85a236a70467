#include "server/chat_messages.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "formats/json.h"
#include "server/api_error.h"
#include "text/tool_format.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

[[noreturn]] void refuse(const std::string& path, const std::string& expected, const Json& got) {
  throw ApiError{.status = 400,
                 .message = fmt::format("'{}': {} expected, got {}", path, expected, shown_json(got)),
                 .param = path,
                 .code = ""};
}

std::string read_content(const Json& content, const std::string& path) {
  if (content.is_string()) return content.get<std::string>();
  if (!content.is_array()) refuse(path, "a text or a list of parts", content);
  std::string text;
  for (std::size_t i = 0; i < content.size(); ++i) {
    const std::string at = fmt::format("{}[{}]", path, i);
    const Fields part(content[i], at);
    const std::string type = part.text("type").value_or("text");
    if (type != "text") refuse(at + ".type", "\"text\" (this model reads nothing else)", Json(type));
    text += (i == 0 ? "" : "\n") + part.need_text("text");
  }
  return text;
}

// A call of an assistant's message, with all that templates read.
Json read_tool_call(const Json& given, const std::string& path, std::size_t number) {
  const Fields fields(given, path);
  const Json* function = fields.object("function");
  if (function == nullptr) fields.refuse("function", "an object");
  const Fields function_fields(*function, fields.path_of("function"));
  function_fields.need_text("name");
  const Json* arguments = function_fields.find("arguments");
  if (arguments != nullptr && !arguments->is_string() && !arguments->is_object())
    function_fields.refuse("arguments", "JSON as a text, or an object");
  Json call = given;
  call["type"] = fields.text("type").value_or("function");
  call["id"] = fields.text("id").value_or(fmt::format("call_{}", number));
  if (arguments == nullptr || *arguments == "") call["function"]["arguments"] = "{}";
  return call;
}

Json read_message(const Json& given, const std::string& path) {
  const Fields fields(given, path);
  Json message = given;
  const std::string role = fields.need_text("role");
  if (role == "developer") message["role"] = "system";
  if (role == "function") fields.refuse("role", "\"tool\" (the older form is not read)");
  // Templates pass over a role that they do not know, and its text with it.
  constexpr std::array kRoles = {"system", "developer", "user", "assistant", "tool"};
  if (std::find(kRoles.begin(), kRoles.end(), role) == kRoles.end())
    fields.refuse("role", "\"system\", \"developer\", \"user\", \"assistant\" or \"tool\"");
  if (fields.find("function_call") != nullptr)
    fields.refuse("function_call", "'tool_calls' in its place (the older form is not read)");
  if (const Json* content = fields.find("content"))
    message["content"] = read_content(*content, fields.path_of("content"));
  else if (role != "assistant")
    fields.refuse("content", "a text or a list of parts");
  else
    message["content"] = "";
  const Json* calls = fields.array("tool_calls");
  if (calls == nullptr || calls->empty()) {
    message.erase("tool_calls");
    return message;
  }
  for (std::size_t i = 0; i < calls->size(); ++i)
    message["tool_calls"][i] =
        read_tool_call((*calls)[i], fmt::format("{}[{}]", fields.path_of("tool_calls"), i), i);
  return message;
}

}  // namespace

Json read_messages(const Fields& body) {
  const Json* given = body.array("messages");
  if (given == nullptr || given->empty()) body.refuse("messages", "a list of at least one message");
  Json messages = Json::array();
  for (std::size_t i = 0; i < given->size(); ++i)
    messages.push_back(read_message((*given)[i], fmt::format("messages[{}]", i)));
  return messages;
}

bool has_tool_calls(const Json& messages) {
  return std::any_of(messages.begin(), messages.end(),
                     [](const Json& message) { return message.contains("tool_calls"); });
}

void fit_arguments(Json& messages, bool as_text) {
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (!messages[i].contains("tool_calls")) continue;
    Json& calls = messages[i]["tool_calls"];
    for (std::size_t k = 0; k < calls.size(); ++k) {
      Json& arguments = calls[k]["function"]["arguments"];
      if (arguments.is_string() == as_text) continue;
      Json fitted = as_text ? Json(arguments.dump())
                            : Json::parse(arguments.get<std::string>(), nullptr, /*allow_exceptions=*/false);
      if (!as_text && !fitted.is_object())
        refuse(fmt::format("messages[{}].tool_calls[{}].function.arguments", i, k),
               "a JSON object as a text (this model's chat template reads objects)", arguments);
      arguments = std::move(fitted);
    }
  }
}

Json read_tools(const Fields& body) {
  for (const char* old : {"functions", "function_call"})
    if (body.find(old) != nullptr)
      body.refuse(old, "'tools' and 'tool_choice' in its place (the older form is not read)");
  const Json* given = body.array("tools");
  const Json* choice = body.find("tool_choice");
  if (given == nullptr || given->empty() || (choice != nullptr && *choice == "none")) return nullptr;
  Json tools = *given;
  for (std::size_t i = 0; i < tools.size(); ++i) {
    const Fields tool((*given)[i], fmt::format("tools[{}]", i));
    if (tool.text("type").value_or("function") != "function") tool.refuse("type", "\"function\"");
    tools[i]["type"] = "function";
    const Json* function = tool.object("function");
    if (function == nullptr) tool.refuse("function", "an object");
    const Fields fields(*function, tool.path_of("function"));
    if (!is_tool_name(fields.text("name").value_or("")))
      fields.refuse("name", "a name of 1 to 256 bytes without white space and <>{}\"");
    fields.object("parameters");
  }
  return tools;
}

ToolChoice read_tool_choice(const Fields& body, const Json& tools) {
  using Mode = ToolChoice::Mode;
  const Json* given = body.find("tool_choice");
  if (given == nullptr || *given == "auto") return {};
  if (*given == "none") return {.mode = Mode::kNone, .name = ""};
  if (*given == "required") return {.mode = Mode::kRequired, .name = ""};
  constexpr const char* kExpected =
      R"("auto", "none", "required" or {"type": "function", "function": {"name": ...}})";
  if (!given->is_object()) body.refuse("tool_choice", kExpected);
  const Fields choice(*given, "tool_choice");
  const Json* function = choice.object("function");
  if (choice.text("type").value_or("function") != "function" || function == nullptr)
    body.refuse("tool_choice", kExpected);
  const Fields named(*function, "tool_choice.function");
  const std::string name = named.text("name").value_or("");
  for (const Json& tool : tools)
    if (tool["function"]["name"] == name) return {.mode = Mode::kNamed, .name = name};
  named.refuse("name", "the name of one of the tools");
}

Json read_variables(const Fields& body, const ChatTemplate& chat_template) {
  const Json* given = body.object("chat_template_kwargs");
  Json variables = given == nullptr ? Json::object() : *given;
  if (const auto effort = body.text("reasoning_effort")) {
    const Json thinking = chat_template.thinking_variables(*effort != "none");
    for (const auto& [name, value] : thinking.items())
      if (!variables.contains(name)) variables[name] = value;
  }
  return variables;
}

}  // namespace latent8
