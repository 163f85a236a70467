#pragma once
// Flags of the subcommands that apply a chat template.

#include <CLI/CLI.hpp>
#include <nlohmann/json_fwd.hpp>
#include <string>

#include "text/chat_template.h"

namespace latent8 {

// --chat-template-kwargs, --think, --no-think.
struct TemplateFlags {
  std::string kwargs;  // JSON
  bool think = false, no_think = false;
  bool given() const { return !kwargs.empty() || think || no_think; }
};
void add_template_flags(CLI::App& app, TemplateFlags& flags);

// The variables that the flags give to the template: an object.
// Throws: Error{kInvalidArgument} if --chat-template-kwargs is no JSON object, or if --think or --no-think is
// given and the template reads no variable that switches reasoning.
nlohmann::ordered_json template_variables(const TemplateFlags& flags, const ChatTemplate& chat_template);
// The same for a template that a server has: whether it reads them is not known here.
nlohmann::ordered_json remote_template_variables(const TemplateFlags& flags);

}  // namespace latent8
