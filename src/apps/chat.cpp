// latent8 chat: a conversation in a terminal.

#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <functional>
#include <iostream>
#include <nlohmann/json.hpp>

#include "apps/common.h"
#include "apps/json_lines.h"
#include "apps/json_schema_flag.h"
#include "apps/output.h"
#include "apps/remote_model.h"
#include "apps/stream_printer.h"
#include "apps/subcommands.h"
#include "apps/template_flags.h"
#include "base/error.h"
#include "base/printable.h"

namespace latent8 {
namespace {

std::atomic<bool> interrupted{false};

// Ctrl-C sets `interrupted` as long as this lives. No SA_RESTART: a read of the terminal returns too.
class InterruptHandler {
 public:
  InterruptHandler() {
    struct sigaction action = {};
    action.sa_handler = [](int) { interrupted = true; };
    sigaction(SIGINT, &action, &before_);
  }
  ~InterruptHandler() { sigaction(SIGINT, &before_, nullptr); }
  InterruptHandler(const InterruptHandler&) = delete;
  InterruptHandler& operator=(const InterruptHandler&) = delete;

 private:
  struct sigaction before_ = {};
};

struct ChatFlags {
  ModelFlags model;
  RemoteFlags remote;
  SamplingFlags sampling;
  TemplateFlags chat;
  std::string system, json_schema;
  bool json = false;
};

// A model that runs in this process.
class LocalModel {
 public:
  explicit LocalModel(const ChatFlags& flags)
      : schema_(json_schema_text(flags.json_schema)),
        stop_(flags.sampling.stop),
        frontend_(load_frontend(flags.model)),
        sampling_(sampling_params(flags.sampling, flags.model.model)),
        variables_(template_variables(flags.chat, frontend_.chat_template())) {}

  GeneratedText generate(const OrderedJson& messages, TextSink* also, const std::atomic<bool>& stop_now) {
    TextRequest request;
    request.prompt = frontend_.chat_prompt(messages, nullptr, variables_);
    request.make_mask = json_schema_masks(frontend_, schema_, request.prompt);
    request.sampling = sampling_;
    request.stop = stop_;
    return frontend_.generate(std::move(request), also, &stop_now);
  }

 private:
  std::string schema_;
  std::vector<std::string> stop_;
  Frontend frontend_;
  SamplingParams sampling_;
  OrderedJson variables_;  // of the chat template
};

// Answers to the messages so far. Throws: Error.
using Generate =
    std::function<GeneratedText(const OrderedJson&, TextSink* also, const std::atomic<bool>& stop_now)>;

Generate make_model(const ChatFlags& flags) {
  if (flags.remote.url.empty()) {
    const auto model = std::make_shared<LocalModel>(flags);
    return [model](const auto&... arguments) { return model->generate(arguments...); };
  }
  const auto model =
      std::make_shared<RemoteModel>(flags.remote, flags.sampling, remote_template_variables(flags.chat),
                                    json_schema_text(flags.json_schema));
  return [model](const auto&... arguments) { return model->generate(arguments...); };
}

class Conversation {
 public:
  explicit Conversation(const ChatFlags& flags) : flags_(flags), model_(make_model(flags)) { reset(); }

  void reset() {
    messages_ = OrderedJson::array();
    if (!flags_.system.empty())
      messages_.push_back({{"role", "system"}, {"content", utf8_flag("--system", flags_.system)}});
  }

  // An error (a conversation longer than the context, say) is told and costs only this question: false.
  bool ask(const std::string& question) {
    messages_.push_back({{"role", "user"}, {"content", question}});
    try {
      const GeneratedText answer = generate();
      if (answer.finish.reason == FinishReason::kError)
        throw Error(ErrorCode::kInternal, answer.finish.message);
      if (!answer.content.empty()) {
        messages_.push_back(
            {{"role", "assistant"}, {"content", answer.content}});  // reasoning is not history
      } else {
        messages_.erase(messages_.size() - 1);
      }
      return true;
    } catch (const Error& error) {
      print_remark("latent8: error: {}\n", shown_message(error.what()));
    }
    messages_.erase(messages_.size() - 1);
    return false;
  }

 private:
  GeneratedText generate() {
    interrupted = false;
    if (!flags_.json) {
      StreamPrinter printer;
      GeneratedText answer = model_(messages_, &printer, interrupted);
      printer.check();
      return answer;
    }
    GeneratedText answer = model_(messages_, nullptr, interrupted);
    OrderedJson line = {{"reasoning", answer.reasoning}, {"answer", answer.content}};
    if (flags_.remote.url.empty()) line["ids"] = answer.ids;
    print_result(to_json_line(line));
    flush_results();
    return answer;
  }

  const ChatFlags& flags_;
  Generate model_;
  OrderedJson messages_;
};

// The next line; false at the end of input. Ctrl-C at the prompt begins the line anew.
bool read_question(std::string& line) {
  for (;;) {
    if (isatty(STDIN_FILENO) == 1) print_remark("> ");
    interrupted = false;
    if (std::getline(std::cin, line)) return true;
    if (!interrupted) return false;
    print_remark("\n");
    std::clearerr(stdin);
    std::cin.clear();
  }
}

void chat(const ChatFlags& flags) {
  Conversation conversation(flags);
  const InterruptHandler handler;
  if (isatty(STDIN_FILENO) == 1)
    print_remark("Ctrl-C stops an answer; /reset begins anew; /exit or Ctrl-D leaves.\n");
  bool all_answered = true;
  for (std::string line; read_question(line);) {
    if (line == "/exit") break;
    if (line == "/reset")
      conversation.reset();
    else if (!line.empty())
      all_answered &= conversation.ask(line);
  }
  if (isatty(STDIN_FILENO) != 1 && !all_answered)
    throw_error(ErrorCode::kInvalidArgument, "stdin: not every question could be answered");
}

}  // namespace

void add_chat(CLI::App& root) {
  const auto flags = std::make_shared<ChatFlags>();
  CLI::App* app =
      root.add_subcommand("chat", "have a conversation in a terminal, with a model here or behind a server");
  add_model_flags(*app, flags->model);
  add_speculative_flags(*app, flags->model);
  add_remote_flags(*app, flags->remote);
  CLI::Option* model = app->get_option("--model")->required(false);
  app->get_option("--url")->excludes(model);
  app->add_option("--system", flags->system, "system message");
  add_sampling_flags(*app, flags->sampling);
  add_template_flags(*app, flags->chat);
  add_json_schema_flag(*app, flags->json_schema);
  add_json_flag(*app, flags->json);
  app->footer(
      "One line is one question. Ctrl-C stops an answer, /reset begins anew, /exit or Ctrl-D leaves.\n"
      "Without a terminal every line of stdin is a question; --json prints one object per answer.\n\n"
      "Example:\n"
      "  latent8 chat --model models/tiny --temperature 0.6\n"
      "  latent8 chat --url http://127.0.0.1:8000");
  app->callback([flags] {
    if (flags->model.model.empty() && flags->remote.url.empty()) throw CLI::RequiredError("--model or --url");
    chat(*flags);
  });
}

}  // namespace latent8
