#pragma once
// The chat template of a checkpoint: messages to the text that the model reads.

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/jinja/template.h"

namespace latent8 {

// Thread-safety: immutable after construction.
class ChatTemplate {
 public:
  // Finds the template as `transformers` does: dir/chat_template.jinja, else dir/chat_template.json, else
  // "chat_template" of dir/tokenizer_config.json (a text, or a list of named templates, of which "tool_use"
  // serves conversations with tools and "default" the others). nullopt if there is none.
  // Throws: Error{kCorrupt | kInvalidArgument | kUnsupported} naming the file, and the line of the template.
  static std::optional<ChatTemplate> load(const std::filesystem::path& dir);

  // A template given as text; the variables bos_token and eos_token have these values.
  ChatTemplate(std::string_view source, std::string_view name, std::string bos_token, std::string eos_token);

  // messages  array of objects with "role" and "content", as in OpenAI's API
  // tools     array of tool definitions, or null
  // extra     object with more variables (chat_template_kwargs), or null; it wins over the others
  // Throws: Error{kInvalidArgument} with the line, or with the template's own message.
  std::string render(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                     bool add_generation_prompt, const nlohmann::ordered_json& extra) const;
  std::string render(const nlohmann::ordered_json& messages, const nlohmann::ordered_json& tools,
                     bool add_generation_prompt) const;

 private:
  struct Named {
    std::string name;
    JinjaTemplate jinja;
  };
  ChatTemplate() = default;

  std::vector<Named> templates_;
  std::vector<std::pair<std::string, std::string>> special_tokens_;  // variable, text
};

}  // namespace latent8
