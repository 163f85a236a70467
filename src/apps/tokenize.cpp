// latent8 tokenize: text to token ids, ids to text, messages to both. JSON lines in, JSON lines out.

#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/subcommands.h"
#include "base/error.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace latent8 {
namespace {

class TokenizeCommand {
 public:
  explicit TokenizeCommand(const std::string& dir)
      : dir_(dir), tokenizer_(Tokenizer::load(dir)), template_(ChatTemplate::load(dir)) {}

  OrderedJson answer(const OrderedJson& line) const {
    if (line.contains("text")) return {{"ids", tokenizer_.encode(text_from(line["text"], "text"))}};
    if (line.contains("ids")) return {{"text", tokenizer_.decode(known_ids(line["ids"]))}};
    if (line.contains("messages")) return render(line);
    throw_error(ErrorCode::kInvalidArgument, "'text', 'ids' or 'messages' expected, got {}",
                shown_json(line));
  }

 private:
  std::vector<std::int32_t> known_ids(const OrderedJson& value) const {
    std::vector<std::int32_t> ids = token_ids_from(value);
    for (const std::int32_t id : ids)
      if (id >= tokenizer_.vocab_size())
        throw_error(ErrorCode::kInvalidArgument, "'ids': token ids from 0 to {} expected, got {}",
                    tokenizer_.vocab_size() - 1, id);
    return ids;
  }

  OrderedJson render(const OrderedJson& line) const {
    if (!template_)
      throw_error(ErrorCode::kNotFound, "'messages' need a chat template, and {} has none", dir_);
    if (!line["messages"].is_array())
      throw_error(ErrorCode::kInvalidArgument, "'messages': an array expected, got {}",
                  line["messages"].type_name());
    for (const OrderedJson& message : line["messages"])
      if (!message.is_object())
        throw_error(ErrorCode::kInvalidArgument, "'messages': objects expected, got {}", shown_json(message));
    const OrderedJson flag = line.value("add_generation_prompt", OrderedJson(false));
    if (!flag.is_boolean())
      throw_error(ErrorCode::kInvalidArgument, "'add_generation_prompt': true or false expected, got {}",
                  shown_json(flag));
    const std::string text =
        template_->render(line["messages"], line.value("tools", OrderedJson()), flag.get<bool>());
    return {{"text", text}, {"ids", tokenizer_.encode(text)}};
  }

  std::string dir_;
  Tokenizer tokenizer_;
  std::optional<ChatTemplate> template_;
};

}  // namespace

void add_tokenize(CLI::App& root) {
  struct Flags {
    std::string model;
    bool json = false;
  };
  const auto flags = std::make_shared<Flags>();
  CLI::App* app = root.add_subcommand("tokenize", "convert JSON lines on stdin: text, token ids, messages");
  app->add_option("--model", flags->model, "checkpoint directory with tokenizer.json")->required();
  app->add_flag("--json", flags->json, "JSON lines, which this command prints anyway");
  app->footer(
      "A line {\"text\"} gives {\"ids\"}: no BOS is added, special tokens in the text are recognised.\n"
      "A line {\"ids\"} gives {\"text\"} with special tokens kept.\n"
      "A line {\"messages\", \"tools\", \"add_generation_prompt\"} gives {\"text\", \"ids\"} by the chat "
      "template.\n\n"
      "Examples:\n"
      "  echo '{\"text\": \"Hello\"}' | latent8 tokenize --model models/tiny\n"
      "  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"add_generation_prompt\": true}' "
      "|\n"
      "    latent8 tokenize --model models/tiny");
  app->callback([flags] {
    const TokenizeCommand command(flags->model);
    for_each_json_line(std::cin, "stdin", [&](const OrderedJson& line) {
      print_result(to_json_line(command.answer(line)));
      flush_results();
    });
  });
}

}  // namespace latent8
