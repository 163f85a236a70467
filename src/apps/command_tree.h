#pragma once
// The program's commands and options as plain data, taken from the tables that --help prints.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

namespace latent8 {

struct CommandOption {
  enum class Value : std::uint8_t { kNone, kText, kFile, kDirectory, kChoice };
  std::vector<std::string> names;  // "-h", "--help"; of a positional its name alone
  bool positional = false, required = false;
  Value value = Value::kNone;
  std::vector<std::string> choices;  // kChoice
  std::string placeholder;           // of the value: "DIR", "INT in [0 - 4096]"
  std::string default_value, description, group;
};

struct Command {
  std::string name;  // as it is typed: "latent8 eval kld"
  std::string description, footer;
  std::vector<CommandOption> options;  // with the positional ones
  std::vector<Command> subcommands;    // without hidden ones
};

// `app` and everything below it. An option's value is a file or a directory if its type_name() is "FILE" or
// "DIR", and one of several words if a validator describes itself as "{a,b}".
Command command_tree(const CLI::App& app, const std::string& name);

}  // namespace latent8
