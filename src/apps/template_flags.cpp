#include "apps/template_flags.h"

#include <nlohmann/json.hpp>

#include "apps/json_lines.h"
#include "base/error.h"

namespace latent8 {
namespace {

void add_given(const TemplateFlags& flags, OrderedJson& variables) {
  if (flags.kwargs.empty()) return;
  const OrderedJson given = json_object_from(flags.kwargs, "--chat-template-kwargs");
  for (const auto& [name, value] : given.items()) variables[name] = value;
}

}  // namespace

void add_template_flags(CLI::App& app, TemplateFlags& flags) {
  app.add_option("--chat-template-kwargs", flags.kwargs,
                 "JSON object of variables for the chat template, e.g. '{\"thinking\": true}'");
  auto* think =
      app.add_flag("--think", flags.think, "have the model reason, where its chat template can switch that");
  app.add_flag("--no-think", flags.no_think, "have the model answer at once")->excludes(think);
}

OrderedJson template_variables(const TemplateFlags& flags, const ChatTemplate& chat_template) {
  OrderedJson variables = OrderedJson::object();
  if (flags.think || flags.no_think) {
    variables = chat_template.thinking_variables(flags.think);
    if (variables.empty())
      throw_error(ErrorCode::kInvalidArgument,
                  "{}: the chat template reads neither 'thinking' nor 'enable_thinking'; leave the flag out",
                  flags.think ? "--think" : "--no-think");
  }
  add_given(flags, variables);
  return variables;
}

OrderedJson remote_template_variables(const TemplateFlags& flags) {
  OrderedJson variables = OrderedJson::object();
  if (flags.think || flags.no_think)
    for (const char* name : kThinkingVariables) variables[name] = flags.think;
  add_given(flags, variables);
  return variables;
}

}  // namespace latent8
