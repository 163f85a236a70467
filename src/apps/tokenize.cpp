// latent8 tokenize: text to token ids, ids to text, messages to both. JSON lines in, JSON lines out.

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/subcommands.h"
#include "apps/template_flags.h"
#include "base/error.h"
#include "base/printable.h"
#include "formats/files.h"
#include "formats/json.h"
#include "formats/model_config.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace latent8 {
namespace {

struct TokenizeFlags {
  std::string model;
  TemplateFlags chat;
  bool add_special_tokens = false;
  bool json = false;
};

class TokenizeCommand {
 public:
  explicit TokenizeCommand(const TokenizeFlags& flags)
      : dir_(flags.model),
        add_special_tokens_(flags.add_special_tokens),
        tokenizer_(Tokenizer::load(dir_)),
        template_(ChatTemplate::load(dir_)),
        vocab_size_(tokenizer_.vocab_size()) {
    // A model's vocabulary may be padded; a folder may have a tokenizer and no model.
    const std::filesystem::path config = std::filesystem::path(dir_) / "config.json";
    if (std::filesystem::exists(config))
      vocab_size_ =
          std::max(vocab_size_, parse_model_config(read_text_file(config), config.string()).vocab_size);
    if (!flags.chat.given()) return;
    if (!template_)
      throw_error(ErrorCode::kNotFound, "{} has no chat template, whose variables are given", dir_);
    variables_ = template_variables(flags.chat, *template_);
  }

  OrderedJson answer(const OrderedJson& line) const {
    if (line.contains("text")) {
      refuse_unknown_keys(line, {"text"});
      return {{"ids", encode(text_from(line["text"], "text"))}};
    }
    if (line.contains("ids")) {
      refuse_unknown_keys(line, {"ids"});
      return {{"text", tokenizer_.decode(known_ids(line["ids"]))}};
    }
    if (line.contains("messages")) return render(line);
    throw_error(ErrorCode::kInvalidArgument, "'text', 'ids' or 'messages' expected, got {}",
                shown_json(line));
  }

 private:
  std::vector<std::int32_t> known_ids(const OrderedJson& value) const {
    std::vector<std::int32_t> ids = token_ids_from(value);
    for (const std::int32_t id : ids)
      if (id >= vocab_size_)
        throw_error(ErrorCode::kInvalidArgument, "'ids': token ids from 0 to {} expected, got {}",
                    vocab_size_ - 1, id);
    return ids;
  }

  OrderedJson render(const OrderedJson& line) const {
    refuse_unknown_keys(line, {"messages", "tools", "add_generation_prompt", "chat_template_kwargs"});
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
    const std::string text = template_->render(line["messages"], line.value("tools", OrderedJson()),
                                               flag.get<bool>(), variables(line));
    return {{"text", text}, {"ids", tokenizer_.encode(text)}};
  }

  // Those of the flags; a line's own win.
  OrderedJson variables(const OrderedJson& line) const {
    OrderedJson all = variables_;
    const OrderedJson own = line.value("chat_template_kwargs", OrderedJson());
    if (!own.is_null() && !own.is_object())
      throw_error(ErrorCode::kInvalidArgument, "'chat_template_kwargs': an object expected, got {}",
                  own.type_name());
    for (const auto& [name, value] : own.items()) all[name] = value;
    return all;
  }

  std::vector<std::int32_t> encode(const std::string& text) const {
    return add_special_tokens_ ? tokenizer_.encode_prompt(text) : tokenizer_.encode(text);
  }

  std::string dir_;
  bool add_special_tokens_;
  Tokenizer tokenizer_;
  std::optional<ChatTemplate> template_;
  std::int64_t vocab_size_;
  OrderedJson variables_ = OrderedJson::object();
};

}  // namespace

void add_tokenize(CLI::App& root) {
  const auto flags = std::make_shared<TokenizeFlags>();
  CLI::App* app = root.add_subcommand("tokenize", "convert JSON lines on stdin: text, token ids, messages");
  app->add_option("--model", flags->model, "checkpoint directory with tokenizer.json or tiktoken.model")
      ->required()
      ->type_name("DIR");
  add_template_flags(*app, flags->chat);
  app->add_flag("--add-special-tokens", flags->add_special_tokens,
                "put BOS (and EOS) around a text where the tokenizer does so for a whole prompt");
  app->add_flag("--json", flags->json, "JSON lines, which this command prints anyway");
  app->footer(
      "A line {\"text\"} gives {\"ids\"}: special tokens in the text are recognised; no BOS is added "
      "without\n"
      "--add-special-tokens.\n"
      "A line {\"ids\"} gives {\"text\"} with special tokens kept.\n"
      "A line {\"messages\", \"tools\", \"add_generation_prompt\", \"chat_template_kwargs\"} gives "
      "{\"text\", "
      "\"ids\"}\nby the chat template. Any other key is an error.\n\n"
      "Examples:\n"
      "  echo '{\"text\": \"Hello\"}' | latent8 tokenize --model models/tiny\n"
      "  echo '{\"messages\": [{\"role\": \"user\", \"content\": \"Hi\"}], \"add_generation_prompt\": true}' "
      "|\n"
      "    latent8 tokenize --model models/tiny");
  app->callback([flags] {
    const TokenizeCommand command(*flags);
    for_each_json_line(std::cin, "stdin", [&](const OrderedJson& line) {
      print_result(to_json_line(command.answer(line)));
      flush_results();
    });
  });
}

}  // namespace latent8
