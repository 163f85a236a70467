#include "apps/command_tree.h"

namespace latent8 {
namespace {

std::vector<std::string> names_of(const CLI::Option& option) {
  if (option.get_positional()) return {option.get_name(true)};
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) names.push_back("-" + name);
  for (const std::string& name : option.get_lnames()) names.push_back("--" + name);
  return names;
}

// type_name() and the descriptions of validators, joined by ':', say what a value may be.
void read_value(const CLI::Option& option, CommandOption& out) {
  using Value = CommandOption::Value;
  if (option.get_items_expected_max() == 0) return;
  const std::string text = option.get_type_name();
  const std::size_t colon = text.find(':');
  const std::string type = text.substr(0, colon);
  const std::string rule = colon == std::string::npos ? "" : text.substr(colon + 1);
  out.placeholder = rule.empty() ? type : rule;
  if (type == "FILE") out.value = Value::kFile;
  if (type == "DIR") out.value = Value::kDirectory;
  if (type == "FILE" || type == "DIR") return;
  out.value = Value::kText;
  if (rule.size() < 2 || rule.front() != '{' || rule.back() != '}') return;
  out.value = Value::kChoice;
  out.choices = CLI::detail::split(rule.substr(1, rule.size() - 2), ',');
}

CommandOption command_option(const CLI::Option& option) {
  CommandOption out;
  out.names = names_of(option);
  out.positional = option.get_positional();
  out.required = option.get_required();
  out.default_value = option.get_default_str();
  out.description = option.get_description();
  out.group = option.get_group();
  read_value(option, out);
  return out;
}

}  // namespace

Command command_tree(const CLI::App& app, const std::string& name) {
  Command out{name, app.get_description(), app.get_footer(), {}, {}};
  for (const CLI::Option* option : app.get_options())
    if (!option->get_group().empty()) out.options.push_back(command_option(*option));
  for (const CLI::App* below : app.get_subcommands([](const CLI::App*) { return true; }))
    if (!below->get_group().empty())
      out.subcommands.push_back(command_tree(*below, name + " " + below->get_name()));
  return out;
}

}  // namespace latent8
