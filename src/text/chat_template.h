#pragma once
// The chat template of a checkpoint: messages to the text that the model reads.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/jinja/template.h"
#include "text/tool_format.h"

namespace latent8 {

// What templates of this family call the switch for reasoning: DeepSeek's, and GLM's and Kimi's.
inline constexpr const char* kThinkingVariables[] = {"thinking", "enable_thinking"};

// Thread-safety: immutable after construction.
class ChatTemplate {
 public:
  // Finds the templates as `transformers` does: dir/chat_template.jinja is "default" and each
  // dir/additional_chat_templates/NAME.jinja is NAME; without these dir/chat_template.json, else
  // "chat_template" of dir/tokenizer_config.json (a text, or a list of named templates). nullopt if there is
  // none. A template that cannot be parsed is a note here and an error where it is used.
  // Throws: Error{kCorrupt} naming the file.
  static std::optional<ChatTemplate> load(const std::filesystem::path& dir);

  // A template given as text; the variables bos_token and eos_token have these values.
  ChatTemplate(std::string_view source, std::string_view name, std::string bos_token, std::string eos_token);

  // "tool_use" serves conversations with tools, where there is such a template, and "default" the others. As
  // in transformers, members of a message that are null are left out, and reasoning that comes as "reasoning"
  // or "thinking" is there as "reasoning_content" too.
  //   messages  array of objects with "role" and "content", as in OpenAI's API; at least one
  //   tools     array of tool definitions, or null
  //   extra     object with more variables (chat_template_kwargs), or null
  // Throws: Error{kInvalidArgument} with the line, or with the template's own message; Error{kUnsupported} if
  // the template needs what is not supported.
  std::string render(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                     bool add_generation_prompt, const nlohmann::ordered_json& extra) const;
  std::string render(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                     bool add_generation_prompt) const;

  // Whether a template reads this variable.
  bool mentions(std::string_view variable) const;
  // The variables that switch the model's reasoning on or off in templates of this family, as far as these
  // templates read them: {"thinking": on}, {"enable_thinking": on}, both, or {} if it cannot be switched.
  nlohmann::ordered_json thinking_variables(bool on) const;
  // How a call of a tool is written, by the marks in the templates.
  ToolFormat tool_format() const { return tool_format_; }
  // Whether the arguments of the calls in assistant messages must be JSON text: some templates join them to
  // texts. Others read the object that they stand for.
  bool reads_argument_text() const;
  // What may fail when it is reached, each with the template's name and line.
  std::vector<std::string> notes() const;

 private:
  struct Named {
    std::string name;
    std::optional<JinjaTemplate> jinja;  // nullopt: it cannot be parsed
    std::string error;                   // why
  };
  ChatTemplate() = default;
  void add(std::string name, std::string_view source, const std::string& where);
  const Named& choose(bool has_tools) const;

  std::vector<Named> templates_;
  ToolFormat tool_format_ = ToolFormat::kNone;
  std::vector<std::pair<std::string, std::string>> special_tokens_;  // variable, text
};

}  // namespace latent8
