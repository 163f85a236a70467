// latent8 run: one prompt, one answer.

#include <nlohmann/json.hpp>

#include "apps/common.h"
#include "apps/json_lines.h"
#include "apps/json_schema_flag.h"
#include "apps/output.h"
#include "apps/stream_printer.h"
#include "apps/subcommands.h"
#include "apps/template_flags.h"
#include "base/error.h"
#include "server/stats.h"

namespace latent8 {
namespace {

struct RunFlags {
  ModelFlags model;
  SamplingFlags sampling;
  TemplateFlags chat;
  std::string prompt, json_schema;
  bool raw = false, json = false, check = false;
};

const char* to_string(FinishReason reason) {
  switch (reason) {
    case FinishReason::kStop:
      return "stop";
    case FinishReason::kLength:
      return "length";
    case FinishReason::kCancelled:
      return "cancelled";
    case FinishReason::kError:
      return "error";
  }
  return "error";
}

nlohmann::ordered_json to_json(const GeneratedText& answer, const CacheBytes& cache, const Engine& engine) {
  const TextFinish& finish = answer.finish;
  return {{"reasoning", answer.reasoning},
          {"answer", answer.content},
          {"ids", answer.ids},
          {"finish_reason", to_string(finish.reason)},
          {"prompt_tokens", finish.usage.prompt_tokens},
          {"completion_tokens", finish.usage.completion_tokens},
          {"prefill_tok_per_s", finish.prefill_rate()},
          {"decode_tok_per_s", finish.decode_rate()},
          {"speculative", speculation_json(engine)},
          {"cache_bytes_per_token", cache.per_token},
          {"cache_bytes_per_token_fp16", cache.fp16_per_token}};
}

void print_speed(const TextFinish& finish, const CacheBytes& cache) {
  print_remark("\nprefill {} tokens, {:.1f} tok/s; decode {} tokens, {:.1f} tok/s\n",
               finish.usage.prompt_tokens, finish.prefill_rate(), finish.usage.completion_tokens,
               finish.decode_rate());
  print_remark("cache {} bytes per token; fp16 would be {} ({:.1f} %)\n", cache.per_token,
               cache.fp16_per_token,
               100.0 * static_cast<double>(cache.per_token) / static_cast<double>(cache.fp16_per_token));
}

void run(const RunFlags& flags) {
  const std::string prompt = utf8_flag("--prompt", flags.prompt);
  if (flags.raw && flags.chat.given())
    throw_error(ErrorCode::kInvalidArgument, "--raw applies no chat template: leave its variables out");
  const std::string schema = json_schema_text(flags.json_schema);
  if (flags.check) check_sha256sums(flags.model);
  const auto checkpoint = open_checkpoint(flags.model);
  const CacheBytes cache = cache_bytes(*checkpoint, float_cache_type(flags.model, *checkpoint));
  Frontend frontend = load_frontend(flags.model, checkpoint);
  TextRequest request;
  request.prompt = flags.raw ? frontend.raw_prompt(prompt)
                             : frontend.chat_prompt({{{"role", "user"}, {"content", prompt}}}, nullptr,
                                                    template_variables(flags.chat, frontend.chat_template()));
  request.make_mask = json_schema_masks(frontend, schema, request.prompt);
  request.sampling = sampling_params(flags.sampling, flags.model.model);
  request.stop = flags.sampling.stop;
  request.split_reasoning = !flags.raw;
  StreamPrinter printer;
  const GeneratedText answer = frontend.generate(std::move(request), flags.json ? nullptr : &printer);
  printer.check();
  if (answer.finish.reason == FinishReason::kError) throw Error(ErrorCode::kInternal, answer.finish.message);
  if (flags.json) print_result(to_json_line(to_json(answer, cache, frontend.engine())));
  print_speed(answer.finish, cache);
  if (frontend.engine().info().max_speculative_tokens > 0)
    print_remark("MTP {:.2f} tokens per step\n", tokens_per_step(frontend.engine().stats()));
}

}  // namespace

void add_run(CLI::App& root) {
  const auto flags = std::make_shared<RunFlags>();
  CLI::App* app = root.add_subcommand("run", "answer one prompt");
  add_model_flags(*app, flags->model);
  add_speculative_flags(*app, flags->model);
  app->add_option("--prompt", flags->prompt, "the question, or with --raw the text to continue")->required();
  app->add_flag("--raw", flags->raw, "continue the text as it is, without the chat template");
  add_check_flag(*app, flags->check);
  add_sampling_flags(*app, flags->sampling);
  add_template_flags(*app, flags->chat);
  add_json_schema_flag(*app, flags->json_schema);
  add_json_flag(*app, flags->json);
  app->footer(
      "Reasoning and answer go to stdout as they come, speed and cache size to stderr at the end.\n\n"
      "Examples:\n"
      "  latent8 run --model models/tiny --prompt \"What's deep learning?\" --temperature 0\n"
      "  latent8 run --model models/tiny --raw --prompt \"The key of\" --max-tokens 32 --stop \".\"\n"
      "  latent8 run --model models/tiny --prompt \"A person?\" --json-schema person.schema.json");
  app->callback([flags] { run(*flags); });
}

}  // namespace latent8
