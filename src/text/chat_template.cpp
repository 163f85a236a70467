#include "text/chat_template.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/files.h"
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
      sources.push_back({entry.at("name").get<std::string>(), entry.at("template").get<std::string>()});
    }
  } else if (!value.is_null()) {
    throw_error(ErrorCode::kCorrupt, "{}: 'chat_template': a string or a list expected, got {}", where,
                value.type_name());
  }
  return sources;
}

std::vector<Source> find_sources(const std::filesystem::path& dir, const nlohmann::json& config) {
  if (const auto path = dir / "chat_template.jinja"; std::filesystem::exists(path)) {
    return {{std::string(kDefault), read_text_file(path)}};
  }
  auto path = dir / "chat_template.json";
  const bool own_file = std::filesystem::exists(path);
  const nlohmann::json holder = own_file ? read_json_file(path) : config;
  if (!own_file) path = dir / "tokenizer_config.json";
  try {
    return sources_of(holder.value("chat_template", nlohmann::json()), path.string());
  } catch (const nlohmann::json::exception& error) {
    throw_error(ErrorCode::kCorrupt, "{}: 'chat_template': {}", path.string(), error.what());
  }
}

}  // namespace

ChatTemplate::ChatTemplate(std::string_view source, std::string_view name, std::string bos_token,
                           std::string eos_token)
    : special_tokens_{{"bos_token", std::move(bos_token)}, {"eos_token", std::move(eos_token)}} {
  templates_.push_back({std::string(kDefault), JinjaTemplate(source, name)});
}

std::optional<ChatTemplate> ChatTemplate::load(const std::filesystem::path& dir) {
  const std::filesystem::path config_path = dir / "tokenizer_config.json";
  nlohmann::json config = nlohmann::json::object();
  if (std::filesystem::exists(config_path)) config = read_json_file(config_path);
  if (!config.is_object()) throw_error(ErrorCode::kCorrupt, "{}: an object expected", config_path.string());
  const std::vector<Source> sources = find_sources(dir, config);
  if (sources.empty()) return std::nullopt;
  ChatTemplate chat;
  for (const Source& source : sources) {
    chat.templates_.push_back({source.name, JinjaTemplate(source.text, "chat template of " + dir.string())});
  }
  for (const char* key : {"bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token"}) {
    std::string text = token_text(config, key, config_path.string());
    if (!text.empty()) chat.special_tokens_.emplace_back(key, std::move(text));
  }
  return chat;
}

std::string ChatTemplate::render(const Json& messages, const Json& tools, bool add_generation_prompt,
                                 const Json& extra) const {
  if (!messages.is_array())
    throw_error(ErrorCode::kInvalidArgument, "messages: an array expected, got {}", messages.type_name());
  if (!extra.is_null() && !extra.is_object()) {
    throw_error(ErrorCode::kInvalidArgument, "chat template variables: an object expected, got {}",
                extra.type_name());
  }
  const Named* chosen = nullptr;
  const bool has_tools = tools.is_array() && !tools.empty();
  for (const Named& named : templates_) {
    if (chosen == nullptr && named.name == kDefault) chosen = &named;
    if (has_tools && named.name == kToolUse) chosen = &named;
  }
  if (chosen == nullptr) {
    throw_error(ErrorCode::kUnsupported, "the checkpoint has {} chat templates, none is called 'default'",
                templates_.size());
  }
  Json variables = Json::object();
  for (const auto& [name, text] : special_tokens_) variables[name] = text;
  variables["messages"] = messages;
  variables["tools"] = has_tools ? tools : Json();
  variables["documents"] = Json();
  variables["add_generation_prompt"] = add_generation_prompt;
  for (const auto& [name, value] : extra.items()) variables[name] = value;
  return chosen->jinja.render(variables);
}

std::string ChatTemplate::render(const Json& messages, const Json& tools, bool add_generation_prompt) const {
  return render(messages, tools, add_generation_prompt, Json());
}

}  // namespace latent8
