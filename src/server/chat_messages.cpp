#include "server/chat_messages.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "formats/json.h"
#include "server/api_error.h"

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
    if (part.find("text") == nullptr) part.refuse("text", "a text");
    text += (i == 0 ? "" : "\n") + *part.text("text");
  }
  return text;
}

void check_tool_calls(const Json& calls, const std::string& path) {
  if (!calls.is_array()) refuse(path, "a list", calls);
  for (std::size_t i = 0; i < calls.size(); ++i) {
    const Fields call(calls[i], fmt::format("{}[{}]", path, i));
    const Json* function = call.object("function");
    if (function == nullptr) call.refuse("function", "an object");
    const Fields fields(*function, call.path_of("function"));
    if (!fields.text("name")) fields.refuse("name", "a text");
  }
}

Json read_message(const Json& given, const std::string& path) {
  const Fields fields(given, path);
  Json message = given;
  const std::optional<std::string> role = fields.text("role");
  if (!role) fields.refuse("role", "a text");
  if (*role == "developer") message["role"] = "system";
  if (const Json* content = fields.find("content"))
    message["content"] = read_content(*content, fields.path_of("content"));
  else if (*role != "assistant")
    fields.refuse("content", "a text or a list of parts");
  else if (!message.contains("content"))
    message["content"] = nullptr;
  if (const Json* calls = fields.find("tool_calls"))
    check_tool_calls(*calls, fields.path_of("tool_calls"));
  else
    message.erase("tool_calls");
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

Json read_tools(const Fields& body) {
  const Json* tools = body.array("tools");
  const Json* choice = body.find("tool_choice");
  if (tools == nullptr || tools->empty() || (choice != nullptr && *choice == "none")) return nullptr;
  for (std::size_t i = 0; i < tools->size(); ++i) {
    const Fields tool((*tools)[i], fmt::format("tools[{}]", i));
    const Json* function = tool.object("function");
    if (function == nullptr) tool.refuse("function", "an object");
    if (!Fields(*function, tool.path_of("function")).text("name"))
      tool.refuse("function", "an object with a name");
  }
  return *tools;
}

Json read_variables(const Fields& body) {
  const Json* variables = body.object("chat_template_kwargs");
  return variables == nullptr ? Json(nullptr) : *variables;
}

}  // namespace latent8
