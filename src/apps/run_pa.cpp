// latent8 run_pa: the command line of the reference's pure-model entry.
// Source: MindIE-LLM's examples/atb_models/examples/run_pa.py.

#include <array>
#include <nlohmann/json.hpp>

#include "apps/common.h"
#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/subcommands.h"
#include "base/error.h"

namespace latent8 {
namespace {

// Flags of run_pa.py that have no meaning here; each takes a value.
constexpr std::array kIgnoredOptions = {"--input_ids",
                                        "--input_file",
                                        "--input_dict",
                                        "--max_prefill_batch_size",
                                        "--max_batch_size",
                                        "--block_size",
                                        "--kw_args",
                                        "--max_input_length",
                                        "--max_position_embeddings",
                                        "--chat_template",
                                        "--load_tokenizer",
                                        "--lora_modules",
                                        "--max_prefill_tokens",
                                        "--max_loras",
                                        "--max_lora_rank",
                                        "--dp",
                                        "--tp",
                                        "--moe_tp",
                                        "--pp",
                                        "--microbatch_size",
                                        "--moe_ep",
                                        "--sp",
                                        "--cp"};
constexpr std::array kIgnoredFlags = {"--is_embedding_model", "--enable_atb_torch", "--trust_remote_code",
                                      "--distributed_enable"};

struct RunPaFlags {
  ModelFlags model;
  std::vector<std::string> input_texts = {"What's deep learning?"};
  std::int64_t max_output_length = 20;
  bool is_chat_model = false, ignore_eos = false, json = false;
};

void name_ignored(const CLI::App& app) {
  const auto name = [&](const char* flag) {
    if (app.count(flag) > 0) print_remark("latent8 run_pa: {} is ignored\n", flag);
  };
  for (const char* flag : kIgnoredOptions) name(flag);
  for (const char* flag : kIgnoredFlags) name(flag);
}

GeneratedText answer(Frontend& frontend, const RunPaFlags& flags, const std::string& text) {
  utf8_flag("--input_texts", text);
  TextRequest request;
  request.prompt = flags.is_chat_model
                       ? frontend.chat_prompt({{{"role", "user"}, {"content", text}}}, nullptr)
                       : frontend.raw_prompt(text);
  request.sampling.max_tokens = flags.max_output_length;
  request.sampling.ignore_eos = flags.ignore_eos;
  request.split_reasoning = false;
  GeneratedText out = frontend.generate(std::move(request));
  if (out.finish.reason == FinishReason::kError) throw Error(ErrorCode::kInternal, out.finish.message);
  return out;
}

void run_pa(const RunPaFlags& flags) {
  Frontend frontend = load_frontend(flags.model);
  print_remark("begin inference\n");
  for (std::size_t i = 0; i < flags.input_texts.size(); ++i) {
    const GeneratedText out = answer(frontend, flags, flags.input_texts[i]);
    const Usage& usage = out.finish.usage;
    const nlohmann::ordered_json line = {{"index", i},
                                         {"answer", out.content},
                                         {"prompt_tokens", usage.prompt_tokens},
                                         {"completion_tokens", usage.completion_tokens}};
    print_result(flags.json ? to_json_line(line)
                            : fmt::format("Answer[{}]: {}\nGenerate[{}] token num: ({}, {})\n", i,
                                          out.content, i, usage.prompt_tokens, usage.completion_tokens));
    flush_results();
  }
  print_remark("end inference\n");
}

}  // namespace

void add_run_pa(CLI::App& root) {
  const auto flags = std::make_shared<RunPaFlags>();
  CLI::App* app = root.add_subcommand("run_pa", "the reference's pure-model entry, with its flags");
  app->add_option("--model_path", flags->model.model, "checkpoint directory")->required()->type_name("DIR");
  app->add_option("--input_texts", flags->input_texts, "one or more prompts")->capture_default_str();
  app->add_option("--max_output_length", flags->max_output_length, "longest answer in tokens")
      ->check(at_least(1))
      ->capture_default_str();
  app->add_flag("--is_chat_model", flags->is_chat_model, "use the chat template");
  app->add_flag("--ignore_eos", flags->ignore_eos, "do not end answers at an EOS token");
  for (const char* name : kIgnoredOptions) app->add_option(name)->group("Ignored");
  for (const char* name : kIgnoredFlags) app->add_flag(name)->group("Ignored");
  add_runtime_flags(*app, flags->model);
  add_json_flag(*app, flags->json);
  app->footer(
      "Sampling is greedy.\n\n"
      "Example:\n"
      "  latent8 run_pa --model_path models/tiny --input_texts \"What's deep learning?\" --max_output_length "
      "128 "
      "--is_chat_model");
  app->callback([flags, app] {
    name_ignored(*app);
    run_pa(*flags);
  });
}

}  // namespace latent8
