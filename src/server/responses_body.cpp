// Bodies of /v1/responses.

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "server/responses.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

// A text, or parts of text, joined by newlines.
std::string read_text(const Fields& fields, const char* key) {
  const Json* given = fields.find(key);
  if (given == nullptr) fields.refuse(key, "a text or a list of parts");
  if (given->is_string()) return given->get<std::string>();
  const Json* parts = fields.array(key);
  std::string text;
  for (std::size_t i = 0; i < parts->size(); ++i) {
    const Fields part((*parts)[i], fmt::format("{}[{}]", fields.path_of(key), i));
    const std::string type = part.need_text("type");
    if (type != "input_text" && type != "output_text" && type != "reasoning_text" && type != "text")
      part.refuse("type", "\"input_text\" or \"output_text\" (this model reads nothing else)");
    text += (i == 0 ? "" : "\n") + part.need_text("text");
  }
  return text;
}

// Items of the input to messages: what the model did between two other items is one message.
class Messages {
 public:
  void add(const Json& item, const std::string& path) {
    const Fields fields(item, path);
    const std::string type = fields.text("type").value_or("message");
    if (type == "message")
      add_message(fields);
    else if (type == "function_call")
      add_call(fields);
    else if (type == "function_call_output")
      messages_.push_back({{"role", "tool"},
                           {"tool_call_id", fields.need_text("call_id")},
                           {"content", read_text(fields, "output")}});
    else if (type == "reasoning")
      add_reasoning(fields);
    else
      fields.refuse("type", "\"message\", \"function_call\", \"function_call_output\" or \"reasoning\"");
  }
  void add_text(const char* role, const std::string& text) {
    messages_.push_back({{"role", role}, {"content", text}});
  }
  Json take() { return std::move(messages_); }

 private:
  // The assistant's message that is under way; a new one if it has `taken` already.
  Json& turn(const char* taken) {
    if (messages_.empty() || messages_.back()["role"] != "assistant" || messages_.back().contains(taken))
      messages_.push_back({{"role", "assistant"}});
    return messages_.back();
  }
  void add_message(const Fields& fields) {
    const std::string role = fields.need_text("role"), text = read_text(fields, "content");
    if (role != "user" && role != "assistant" && role != "system" && role != "developer")
      fields.refuse("role", "\"user\", \"assistant\", \"system\" or \"developer\"");
    if (role == "assistant" && !messages_.empty() && !messages_.back().contains("tool_calls"))
      turn("content")["content"] = text;
    else
      messages_.push_back({{"role", role}, {"content", text}});
  }
  void add_call(const Fields& fields) {
    const Json call = {
        {"id", fields.need_text("call_id")},
        {"type", "function"},
        {"function", {{"name", fields.need_text("name")}, {"arguments", fields.need_text("arguments")}}}};
    turn("")["tool_calls"].push_back(call);
  }
  void add_reasoning(const Fields& fields) {
    if (const Json* content = fields.array("content"); content != nullptr && !content->empty())
      turn("reasoning_content")["reasoning_content"] = read_text(fields, "content");
  }

  Json messages_ = Json::array();
};

Json read_input(const Fields& body) {
  Messages messages;
  if (const auto instructions = body.text("instructions")) messages.add_text("system", *instructions);
  const Json* input = body.find("input");
  if (input == nullptr || !(input->is_string() || input->is_array()))
    body.refuse("input", "a text or a list of items");
  if (input->is_string()) messages.add_text("user", input->get<std::string>());
  for (std::size_t i = 0; input->is_array() && i < input->size(); ++i)
    messages.add((*input)[i], fmt::format("input[{}]", i));
  Json read = messages.take();
  if (read.empty()) body.refuse("input", "a text or a list of at least one item");
  return read;
}

// From {"type", "name", ...} to {"type", "function": {"name", ...}}.
Json nested_function(const Json& flat) {
  Json function = flat;
  function.erase("type");
  return {{"type", "function"}, {"function", std::move(function)}};
}

void read_tools(const Fields& body, Json& chat) {
  const Json* tools = body.array("tools");
  for (std::size_t i = 0; tools != nullptr && i < tools->size(); ++i) {
    const Fields tool((*tools)[i], fmt::format("tools[{}]", i));
    if (tool.need_text("type") != "function")
      tool.refuse("type", "\"function\" (this server runs no tools of its own)");
    tool.need_text("name");
    chat["tools"].push_back(nested_function((*tools)[i]));
  }
  const Json* choice = body.find("tool_choice");
  if (choice == nullptr) return;
  const bool named = choice->is_object() && Fields(*choice, "tool_choice").text("type") == "function";
  chat["tool_choice"] = named ? nested_function(*choice) : *choice;
}

// text.format to response_format.
void read_format(const Fields& body, Json& chat) {
  const Json* text = body.object("text");
  const Json* format = text == nullptr ? nullptr : Fields(*text, "text").object("format");
  if (format == nullptr) return;
  const Fields fields(*format, "text.format");
  const std::string type = fields.need_text("type");
  Json schema = *format;
  schema.erase("type");
  chat["response_format"] = {{"type", type}};
  if (type == "json_schema") chat["response_format"]["json_schema"] = std::move(schema);
}

// What would change an answer, or what a client would rely on, and is not here.
void refuse_what_is_missing(const Fields& body) {
  for (const char* key : {"previous_response_id", "conversation", "prompt"})
    if (body.find(key) != nullptr)
      body.refuse(key, "nothing (this server keeps no responses: send all items in 'input')");
  if (body.boolean("background").value_or(false)) body.refuse("background", "false");
  if (body.text("truncation").value_or("disabled") != "disabled") body.refuse("truncation", "\"disabled\"");
  const Json* include = body.array("include");
  for (std::size_t i = 0; include != nullptr && i < include->size(); ++i)
    if ((*include)[i] == "message.output_text.logprobs")
      body.refuse("include", "no \"message.output_text.logprobs\" (/v1/chat/completions has them)");
}

}  // namespace

Json chat_body_of_response(const Fields& body) {
  refuse_what_is_missing(body);
  Json chat = {{"messages", read_input(body)}};
  read_tools(body, chat);
  read_format(body, chat);
  for (const char* same : {"model", "temperature", "top_p", "stream", "parallel_tool_calls", "seed"})
    if (const Json* value = body.find(same)) chat[same] = *value;
  if (const auto most = body.integer("max_output_tokens", 1)) chat["max_tokens"] = *most;
  if (const Json* reasoning = body.object("reasoning"))
    if (const auto effort = Fields(*reasoning, "reasoning").text("effort"))
      chat["reasoning_effort"] = *effort;
  return chat;
}

}  // namespace latent8
