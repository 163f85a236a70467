// Bodies of /v1/messages.

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "server/messages.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::size_t kMaxStops = 1024;

void add_line(std::string& text, const std::string& line) { text += (text.empty() ? "" : "\n") + line; }

// A text, or blocks of text, as one.
std::string read_text(const Fields& fields, const char* key) {
  const Json* given = fields.find(key);
  if (given == nullptr) return "";
  if (given->is_string()) return given->get<std::string>();
  const Json* blocks = fields.array(key);
  std::string text;
  for (std::size_t i = 0; i < blocks->size(); ++i) {
    const Fields block((*blocks)[i], fmt::format("{}[{}]", fields.path_of(key), i));
    if (block.text("type") != "text") block.refuse("type", "\"text\" (this model reads nothing else)");
    add_line(text, block.need_text("text"));
  }
  return text;
}

// The blocks of a user's message: results of tools are messages of their own.
void add_user_blocks(const Json& blocks, const std::string& path, Json& messages) {
  std::string text;
  const auto end_text = [&] {
    if (!text.empty()) messages.push_back({{"role", "user"}, {"content", std::exchange(text, "")}});
  };
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Fields block(blocks[i], fmt::format("{}[{}]", path, i));
    const std::string type = block.need_text("type");
    if (type == "text") {
      add_line(text, block.need_text("text"));
    } else if (type == "tool_result") {
      end_text();
      messages.push_back({{"role", "tool"},
                          {"tool_call_id", block.need_text("tool_use_id")},
                          {"content", read_text(block, "content")}});
    } else {
      block.refuse("type", "\"text\" or \"tool_result\" (this model reads nothing else)");
    }
  }
  end_text();
}

Json assistant_message(const Json& blocks, const std::string& path) {
  std::string content, reasoning;
  Json calls = Json::array();
  for (std::size_t i = 0; i < blocks.size(); ++i) {
    const Fields block(blocks[i], fmt::format("{}[{}]", path, i));
    const std::string type = block.need_text("type");
    if (type == "text") {
      add_line(content, block.need_text("text"));
    } else if (type == "thinking") {
      add_line(reasoning, block.need_text("thinking"));
    } else if (type == "tool_use") {
      const Json* input = block.object("input");
      calls.push_back(
          {{"id", block.need_text("id")},
           {"type", "function"},
           {"function",
            {{"name", block.need_text("name")}, {"arguments", input == nullptr ? Json::object() : *input}}}});
    } else if (type != "redacted_thinking") {
      block.refuse("type", "\"text\", \"thinking\" or \"tool_use\"");
    }
  }
  Json message = {{"role", "assistant"}, {"content", content}};
  if (!reasoning.empty()) message["reasoning_content"] = reasoning;
  if (!calls.empty()) message["tool_calls"] = std::move(calls);
  return message;
}

Json read_messages(const Fields& body) {
  const Json* given = body.array("messages");
  if (given == nullptr || given->empty()) body.refuse("messages", "a list of at least one message");
  Json messages = Json::array();
  if (const std::string system = read_text(body, "system"); !system.empty())
    messages.push_back({{"role", "system"}, {"content", system}});
  for (std::size_t i = 0; i < given->size(); ++i) {
    const Fields fields((*given)[i], fmt::format("messages[{}]", i));
    const std::string role = fields.need_text("role"), path = fields.path_of("content");
    if (role != "user" && role != "assistant") fields.refuse("role", "\"user\" or \"assistant\"");
    if (role == "assistant" && i + 1 == given->size())
      fields.refuse("role", "\"user\" in the last message (this server does not go on with begun answers)");
    const Json* content = fields.find("content");
    if (content == nullptr || !(content->is_string() || content->is_array()))
      fields.refuse("content", "a text or a list of blocks");
    if (content->is_string())
      messages.push_back({{"role", role}, {"content", *content}});
    else if (role == "assistant")
      messages.push_back(assistant_message(*content, path));
    else
      add_user_blocks(*content, path, messages);
  }
  return messages;
}

Json read_tools(const Fields& body) {
  Json tools = Json::array();
  const Json* given = body.array("tools");
  for (std::size_t i = 0; given != nullptr && i < given->size(); ++i) {
    const Fields tool((*given)[i], fmt::format("tools[{}]", i));
    if (tool.text("type").value_or("custom") != "custom")
      tool.refuse("type", "\"custom\" (this server runs no tools of its own)");
    Json function = {{"name", tool.need_text("name")}};
    if (const auto description = tool.text("description")) function["description"] = *description;
    if (const Json* schema = tool.object("input_schema")) function["parameters"] = *schema;
    if (const auto strict = tool.boolean("strict")) function["strict"] = *strict;
    tools.push_back({{"type", "function"}, {"function", std::move(function)}});
  }
  return tools;
}

void read_tool_choice(const Fields& body, Json& chat) {
  const Json* given = body.object("tool_choice");
  if (given == nullptr) return;
  const Fields choice(*given, "tool_choice");
  const std::string type = choice.need_text("type");
  if (type == "auto" || type == "none")
    chat["tool_choice"] = type;
  else if (type == "any")
    chat["tool_choice"] = "required";
  else if (type == "tool")
    chat["tool_choice"] = {{"type", "function"}, {"function", {{"name", choice.need_text("name")}}}};
  else
    choice.refuse("type", "\"auto\", \"any\", \"tool\" or \"none\"");
  if (choice.boolean("disable_parallel_tool_use").value_or(false)) chat["parallel_tool_calls"] = false;
}

void read_thinking(const Fields& body, Json& chat) {
  const Json* given = body.object("thinking");
  if (given == nullptr) return;
  const Fields thinking(*given, "thinking");
  const std::string type = thinking.need_text("type");
  if (type != "enabled" && type != "adaptive" && type != "disabled")
    thinking.refuse("type", "\"enabled\", \"adaptive\" or \"disabled\"");
  chat["reasoning_effort"] = type == "disabled" ? "none" : "high";
  if (const auto budget = thinking.integer("budget_tokens", 1); budget && type == "enabled")
    chat["thinking_budget"] = *budget;
}

}  // namespace

Json chat_body_of_messages(const Fields& body) {
  Json chat = {{"messages", read_messages(body)}};
  if (Json tools = read_tools(body); !tools.empty()) chat["tools"] = std::move(tools);
  read_tool_choice(body, chat);
  read_thinking(body, chat);
  for (const char* same : {"model", "max_tokens", "temperature", "top_p", "top_k", "seed", "stream"})
    if (const Json* value = body.find(same)) chat[same] = *value;
  if (const std::vector<std::string> stops = body.texts("stop_sequences", kMaxStops); !stops.empty())
    chat["stop"] = stops;
  return chat;
}

}  // namespace latent8
