// latent8 completion: what a shell needs to complete the program's command lines.

#include "apps/command_tree.h"
#include "apps/output.h"
#include "apps/subcommands.h"

namespace latent8 {
namespace {

// Walks over the words before the one that is typed: commands lengthen the path, an option that takes a value
// owns the next word. bash makes "=" a word of its own.
constexpr const char* kWalk = R"sh(
_latent8() {
  local path=latent8 option='' offer word i current=${COMP_WORDS[COMP_CWORD]}
  [[ ${COMP_WORDS[0]##*/} == quant_deepseek_w8a8 ]] && path='latent8 quant_deepseek_w8a8'
  for ((i = 1; i < COMP_CWORD; ++i)); do
    word=${COMP_WORDS[i]}
    if [[ $word == '=' ]]; then continue
    elif [[ -n $option ]]; then option=''
    elif [[ $word == -* ]]; then [[ -n $(_latent8_values "$path $word") ]] && option=$word
    elif [[ " $(_latent8_commands "$path") " == *" $word "* ]]; then path+=" $word"
    fi
  done
  [[ $current == '=' ]] && current=''
  if [[ -n $option ]]; then offer=$(_latent8_values "$path $option")
  elif [[ $current == -* ]]; then offer=$(_latent8_options "$path")
  else
    offer=$(_latent8_commands "$path")
    [[ -z $offer ]] && offer=$(_latent8_values "$path")
    [[ -z $offer ]] && offer=$(_latent8_options "$path")
  fi
  COMPREPLY=()
  case $offer in
    @text) ;;
    @file) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -f -- "$current") ;;
    @dir) compopt -o filenames 2>/dev/null; mapfile -t COMPREPLY < <(compgen -d -- "$current") ;;
    *) mapfile -t COMPREPLY < <(compgen -W "$offer" -- "$current") ;;
  esac
}
complete -F _latent8 latent8 quant_deepseek_w8a8
)sh";

struct BashTables {
  std::string commands, options, values;  // branches of `case`
};

void add_branch(std::string& to, const std::string& key, const std::string& words) {
  to += fmt::format("    '{}') echo '{}' ;;\n", key, words);
}

std::string value_of(const CommandOption& option) {
  switch (option.value) {
    case CommandOption::Value::kNone:
      return "";
    case CommandOption::Value::kText:
      return "@text";
    case CommandOption::Value::kFile:
      return "@file";
    case CommandOption::Value::kDirectory:
      return "@dir";
    case CommandOption::Value::kChoice:
      break;
  }
  return fmt::format("{}", fmt::join(option.choices, " "));
}

void add_command(BashTables& tables, const Command& command) {
  std::vector<std::string> below, names;
  for (const Command& sub : command.subcommands) below.push_back(sub.name.substr(command.name.size() + 1));
  for (const CommandOption& option : command.options) {
    const std::string value = value_of(option);
    if (option.positional) {
      add_branch(tables.values, command.name, value);
      continue;
    }
    for (const std::string& name : option.names) {
      names.push_back(name);
      if (!value.empty()) add_branch(tables.values, command.name + " " + name, value);
    }
  }
  if (!below.empty()) add_branch(tables.commands, command.name, fmt::format("{}", fmt::join(below, " ")));
  add_branch(tables.options, command.name, fmt::format("{}", fmt::join(names, " ")));
  for (const Command& sub : command.subcommands) add_command(tables, sub);
}

std::string bash_completion(const Command& root) {
  BashTables tables;
  add_command(tables, root);
  const auto function = [](const char* name, const std::string& branches) {
    return fmt::format("{}() {{\n  case $1 in\n{}  esac\n}}\n", name, branches);
  };
  return "# bash completion of latent8 and quant_deepseek_w8a8, printed by `latent8 completion bash`.\n\n" +
         function("_latent8_commands", tables.commands) + function("_latent8_options", tables.options) +
         function("_latent8_values", tables.values) + kWalk;
}

}  // namespace

void add_completion(CLI::App& root) {
  CLI::App* app = root.add_subcommand("completion", "print the completion script of a shell");
  app->group("")->require_subcommand(1);
  CLI::App* bash = app->add_subcommand("bash", "for bash; make install puts it where bash finds it");
  bash->footer("Example:\n  source <(latent8 completion bash)");
  bash->callback([&root] { print_result(bash_completion(command_tree(root, root.get_name()))); });
}

}  // namespace latent8
