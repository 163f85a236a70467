#include "text/chat_template.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/printable.h"
#include "formats/files.h"
#include "formats/foreign_file.h"
#include "formats/nested_json.h"
#include "text/json_file.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kDefault = "default";
constexpr std::string_view kToolUse = "tool_use";

struct Source {
  std::string name;
  std::string text;
};

std::vector<Source> sources_of(const nlohmann::json& value, const std::string& where) {
  std::vector<Source> sources;
  if (value.is_string()) {
    sources.push_back({std::string(kDefault), value.get<std::string>()});
  } else if (value.is_array()) {
    for (const auto& entry : value) {
      const bool named = entry.is_object() && entry.contains("name") && entry["name"].is_string() &&
                         entry.contains("template") && entry["template"].is_string();
      if (!named)
        throw_error(ErrorCode::kCorrupt,
                    "{}: 'chat_template': a list of objects with 'name' and 'template' expected", where);
      sources.push_back({entry["name"].get<std::string>(), entry["template"].get<std::string>()});
    }
  } else if (!value.is_null()) {
    throw_error(ErrorCode::kCorrupt, "{}: 'chat_template': a string or a list expected, got {}", where,
                value.type_name());
  }
  return sources;
}

Source read_template(std::string name, const std::filesystem::path& path) {
  std::string text = read_text_file(path);
  refuse_foreign(text, path.string());
  return {std::move(name), std::move(text)};
}

// chat_template.jinja and additional_chat_templates/*.jinja, in order of names.
std::vector<Source> template_files(const std::filesystem::path& dir) {
  std::vector<Source> sources;
  if (const auto path = dir / "chat_template.jinja"; is_named(path))
    sources.push_back(read_template(std::string(kDefault), path));
  const auto more = dir / "additional_chat_templates";
  if (!std::filesystem::is_directory(more)) return sources;
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(more))
    if (entry.path().extension() == ".jinja") paths.push_back(entry.path());
  std::sort(paths.begin(), paths.end());
  for (const auto& path : paths) sources.push_back(read_template(path.stem().string(), path));
  return sources;
}

std::vector<Source> find_sources(const std::filesystem::path& dir, const nlohmann::json& config) {
  if (std::vector<Source> files = template_files(dir); !files.empty()) return files;
  auto path = dir / "chat_template.json";
  const bool own_file = is_named(path);
  const nlohmann::json holder = own_file ? read_json_file(path) : config;
  if (!own_file) path = dir / "tokenizer_config.json";
  if (!holder.is_object()) throw_error(ErrorCode::kCorrupt, "{}: an object expected", path.string());
  return sources_of(holder.value("chat_template", nlohmann::json()), path.string());
}

nlohmann::json read_object(const std::filesystem::path& path) {
  if (!is_named(path)) return nlohmann::json::object();
  nlohmann::json object = read_json_file(path);
  if (!object.is_object()) throw_error(ErrorCode::kCorrupt, "{}: an object expected", path.string());
  return object;
}

// As transformers hands messages to a template: without members that are null, and with reasoning under the
// name that templates read.
Json template_messages(const Json& messages) {
  Json out = Json::array();
  for (const Json& message : messages) {
    if (!message.is_object())
      throw_error(ErrorCode::kInvalidArgument, "messages: objects expected, got {}", message.type_name());
    Json kept = Json::object();
    for (const auto& [key, value] : message.items())
      if (!value.is_null()) append_member(kept, key, value);
    for (const char* name : {"reasoning_content", "thinking", "reasoning"}) {
      if (!kept.contains(name)) continue;
      const Json reasoning = kept[name];
      kept["reasoning_content"] = reasoning;
      if (!kept.contains("thinking")) kept["thinking"] = reasoning;
      break;
    }
    out.push_back(std::move(kept));
  }
  return out;
}

}  // namespace

ChatTemplate::ChatTemplate(std::string_view source, std::string_view name, std::string bos_token,
                           std::string eos_token)
    : special_tokens_{{"bos_token", std::move(bos_token)}, {"eos_token", std::move(eos_token)}} {
  templates_.push_back({std::string(kDefault), JinjaTemplate(source, name), ""});
  tool_format_ = detect_tool_format(source);
}

void ChatTemplate::add(std::string name, std::string_view source, const std::string& where) {
  Named named{std::move(name), std::nullopt, ""};
  const std::string shown =
      named.name == kDefault ? where : fmt::format("{} ('{}')", where, printable(named.name));
  try {
    named.jinja.emplace(source, shown);
  } catch (const Error& error) {
    named.error = error.what();
  }
  if (tool_format_ == ToolFormat::kNone) tool_format_ = detect_tool_format(source);
  templates_.push_back(std::move(named));
}

std::optional<ChatTemplate> ChatTemplate::load(const std::filesystem::path& dir) {
  const nlohmann::json config = read_object(dir / "tokenizer_config.json");
  const std::vector<Source> sources = find_sources(dir, config);
  if (sources.empty()) return std::nullopt;
  ChatTemplate chat;
  for (const Source& source : sources) chat.add(source.name, source.text, "chat template of " + dir.string());
  // An older file names the tokens that tokenizer_config.json does not.
  const nlohmann::json map = read_object(dir / "special_tokens_map.json");
  for (const char* key :
       {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token"}) {
    std::string text = token_text(config, key, (dir / "tokenizer_config.json").string());
    if (text.empty() && !config.contains(key))
      text = token_text(map, key, (dir / "special_tokens_map.json").string());
    if (!text.empty()) chat.special_tokens_.emplace_back(key, std::move(text));
  }
  return chat;
}

const ChatTemplate::Named& ChatTemplate::choose(bool has_tools) const {
  const Named* chosen = nullptr;
  for (const Named& named : templates_) {
    if (chosen == nullptr && named.name == kDefault) chosen = &named;
    if (has_tools && named.name == kToolUse) chosen = &named;
  }
  if (chosen == nullptr) {
    throw_error(ErrorCode::kUnsupported, "the checkpoint has {} chat templates, none is called 'default'",
                templates_.size());
  }
  if (!chosen->jinja) throw Error(ErrorCode::kInvalidArgument, chosen->error);
  return *chosen;
}

std::string ChatTemplate::render(const Json& messages, const Json& tools, bool add_generation_prompt,
                                 const Json& extra) const {
  if (!messages.is_array())
    throw_error(ErrorCode::kInvalidArgument, "messages: an array expected, got {}", messages.type_name());
  if (messages.empty()) throw_error(ErrorCode::kInvalidArgument, "messages: at least one message expected");
  if (!tools.is_null() && !tools.is_array())
    throw_error(ErrorCode::kInvalidArgument, "tools: an array expected, got {}", tools.type_name());
  if (!extra.is_null() && !extra.is_object()) {
    throw_error(ErrorCode::kInvalidArgument, "chat_template_kwargs: an object expected, got {}",
                extra.type_name());
  }
  const Named& chosen = choose(tools.is_array());
  Json variables = Json::object();
  for (const auto& [name, text] : special_tokens_)
    if (!extra.contains(name)) variables[name] = text;
  for (const auto& [name, value] : extra.items()) {
    for (const std::string_view own : {"messages", "tools", "documents", "add_generation_prompt"})
      if (name == own)
        throw_error(ErrorCode::kInvalidArgument,
                    "chat_template_kwargs: '{}' has a place of its own in the request", own);
    append_member(variables, name, value);
  }
  variables["messages"] = template_messages(messages);
  variables["tools"] = tools;
  variables["documents"] = Json();
  variables["add_generation_prompt"] = add_generation_prompt;
  return chosen.jinja->render(variables);
}

std::string ChatTemplate::render(const Json& messages, const Json& tools, bool add_generation_prompt) const {
  return render(messages, tools, add_generation_prompt, Json());
}

bool ChatTemplate::mentions(std::string_view variable) const {
  return std::any_of(templates_.begin(), templates_.end(),
                     [&](const Named& named) { return named.jinja && named.jinja->mentions(variable); });
}

Json ChatTemplate::thinking_variables(bool on) const {
  Json variables = Json::object();
  for (const char* name : kThinkingVariables)
    if (mentions(name)) variables[name] = on;
  return variables;
}

bool ChatTemplate::reads_argument_text() const {
  const Json call = {{"id", "functions.f:0"},
                     {"type", "function"},
                     {"function", {{"name", "f"}, {"arguments", {{"key", "value"}}}}}};
  const Json messages = {
      {{"role", "user"}, {"content", "x"}},
      {{"role", "assistant"}, {"content", ""}, {"tool_calls", Json::array({call})}},
      {{"role", "tool"}, {"name", "f"}, {"tool_call_id", "functions.f:0"}, {"content", "y"}}};
  try {
    // An object that is printed shows Python's form of it.
    return render(messages, Json::array(), /*add_generation_prompt=*/true).find("{'key'") !=
           std::string::npos;
  } catch (const Error&) {
    return true;
  }
}

std::vector<std::string> ChatTemplate::notes() const {
  std::vector<std::string> out;
  for (const Named& named : templates_) {
    if (!named.jinja) out.push_back(named.error);
    if (!named.jinja) continue;
    for (const std::string& note : named.jinja->notes())
      out.push_back(fmt::format("chat template '{}' {}", printable(named.name), note));
  }
  return out;
}

}  // namespace latent8
