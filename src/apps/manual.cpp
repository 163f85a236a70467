// latent8 manual: the manual page of the program, in roff.

#include "apps/command_tree.h"
#include "apps/output.h"
#include "apps/subcommands.h"
#include "latent8/version.h"

namespace latent8 {
namespace {

// Text that roff prints as it is. A dot or an apostrophe at the beginning of a line would be a request, and a
// bare minus a typographic hyphen, which nobody can paste into a shell.
std::string escaped(const std::string& text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const bool line_begins = i == 0 || text[i - 1] == '\n';
    if (line_begins && (text[i] == '.' || text[i] == '\'')) out += "\\&";
    if (text[i] == '\\')
      out += "\\e";
    else if (text[i] == '-')
      out += "\\-";
    else if (text[i] == '\'')
      out += "\\(aq";
    else if (text[i] == '^')
      out += "\\(ha";
    else if (text[i] == '~')
      out += "\\(ti";
    else
      out += text[i];
  }
  return out;
}

std::string option_line(const CommandOption& option) {
  std::string line;
  for (const std::string& name : option.names)
    line += fmt::format("{}\\fB{}\\fR", line.empty() ? "" : ", ", escaped(name));
  if (!option.positional && !option.placeholder.empty())
    line += " \\fI" + escaped(option.placeholder) + "\\fR";
  return line;
}

std::string option_text(const CommandOption& option) {
  std::string text = escaped(option.description);
  if (option.required) text += " (required)";
  if (!option.default_value.empty())
    text += fmt::format(" (default: \\fB{}\\fR)", escaped(option.default_value));
  return text.empty() ? "\\&" : text;
}

std::string options_text(const Command& command) {
  std::string text;
  for (const CommandOption& option : command.options)
    text += fmt::format(".TP\n{}\n{}\n", option_line(option), option_text(option));
  return text;
}

// Footers are laid out by hand.
std::string footer_text(const std::string& footer) {
  return footer.empty() ? "" : fmt::format(".PP\n.nf\n{}\n.fi\n", escaped(footer));
}

std::string synopsis(const Command& command) {
  std::string line = ".B " + escaped(command.name) + "\n";
  for (const CommandOption& option : command.options) {
    if (!option.required) continue;
    if (option.positional)
      line += ".I " + escaped(option.names[0]) + "\n";
    else
      line +=
          fmt::format("\\fB{}\\fR \\fI{}\\fR\n", escaped(option.names.back()), escaped(option.placeholder));
  }
  return line + "[\\fIoptions\\fR]\n";
}

std::string command_text(const Command& command) {
  std::string text;
  if (command.subcommands.empty() || command.options.size() > 1) {
    text += fmt::format(".SS {}\n{}\n", escaped(command.name), escaped(command.description));
    text += options_text(command) + footer_text(command.footer);
  }
  for (const Command& sub : command.subcommands) text += command_text(sub);
  return text;
}

constexpr const char* kEnd = R"(.SH ENVIRONMENT
.TP
.B LATENT8_ISA
the kernel table to use: scalar, avx2, avx512_vnni or avx512_zen4; by default the fastest that the CPU runs.
.SH EXIT STATUS
.TP
.B 0
success
.TP
.B 1
the input or the machine cannot be used; the message on standard error says what and where
.TP
.B 2
the command line cannot be used
.PP
Results go to standard output, everything else to standard error.
)";

std::string page(const Command& command, const std::string& name) {
  std::string text = fmt::format(".TH {} 1 \"\" \"latent8 {}\" \"User Commands\"\n", name, kVersion);
  std::string title = command.description;
  if (title.starts_with(name + ": ")) title.erase(0, name.size() + 2);
  text += fmt::format(".SH NAME\n{} \\- {}\n.SH SYNOPSIS\n", name, escaped(title));
  if (command.subcommands.empty()) {
    text += synopsis(command) + ".SH OPTIONS\n" + options_text(command);
    text += ".SH EXAMPLES\n" + footer_text(command.footer);
  } else {
    text += fmt::format(".B {}\n.I command\n[\\fIoptions\\fR]\n.SH COMMANDS\n", name);
    for (const Command& sub : command.subcommands)
      text += fmt::format(".TP\n.B {}\n{}\n", escaped(sub.name.substr(command.name.size() + 1)),
                          escaped(sub.description));
    text += ".SH OPTIONS OF THE COMMANDS\n";
    for (const Command& sub : command.subcommands) text += command_text(sub);
  }
  return text + kEnd;
}

void print_page(const CLI::App& root, const std::string& command) {
  if (command.empty()) return print_result(page(command_tree(root, root.get_name()), root.get_name()));
  print_result(page(command_tree(*root.get_subcommand(command), command), command));
}

}  // namespace

void add_manual(CLI::App& root) {
  const auto command = std::make_shared<std::string>();
  CLI::App* app = root.add_subcommand("manual", "print the manual page in roff");
  app->group("");
  app->add_option("command", *command, "a command with a name of its own")
      ->check(CLI::IsMember({"quant_deepseek_w8a8"}));
  app->footer("Example:\n  latent8 manual | man -l -");
  app->callback([&root, command] { print_page(root, *command); });
}

}  // namespace latent8
