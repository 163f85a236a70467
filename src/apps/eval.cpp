// latent8 eval: logits, perplexity and KL divergence of a checkpoint.

#include <algorithm>
#include <istream>
#include <memory>
#include <nlohmann/json.hpp>

#include "apps/common.h"
#include "apps/files.h"
#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/subcommands.h"
#include "base/error.h"
#include "base/log.h"
#include "eval/divergence.h"
#include "eval/draft_acceptance.h"
#include "eval/logits.h"
#include "formats/files.h"
#include "formats/json.h"
#include "formats/safetensors.h"
#include "text/tokenizer.h"
#include "text/utf8.h"

namespace latent8 {
namespace {

struct EvalFlags {
  ModelFlags model;
  std::string path = "prefill";
};

void add_path_flag(CLI::App& app, std::string& path) {
  app.add_option("--path", path, "prefill: all tokens of a prompt at once; decode: token by token")
      ->check(CLI::IsMember({"prefill", "decode"}))
      ->capture_default_str();
}

EvalOptions eval_options(const EvalFlags& flags, const Checkpoint& checkpoint) {
  EvalOptions options;
  options.path = flags.path == "decode" ? EvalPath::kDecode : EvalPath::kPrefill;
  options.attention = attention_options(flags.model);
  options.float_cache = float_cache_type(flags.model, checkpoint);
  return options;
}

struct LogitsFlags : EvalFlags {
  std::string tokens, out;
  std::int64_t last = 0;
  bool json = false;
};

// {"ids"} or {"text"} per line; a text is preceded by BOS where the tokenizer adds one.
std::vector<std::vector<std::int32_t>> read_sequences(const std::string& path, const std::string& model_dir,
                                                      const ModelConfig& config) {
  const std::unique_ptr<std::istream> in = open_lines("--tokens", path);
  std::optional<Tokenizer> tokenizer;
  std::vector<std::vector<std::int32_t>> sequences;
  for_each_json_line(*in, path, [&](const OrderedJson& line) {
    if (line.contains("ids")) {
      sequences.push_back(token_ids_from(line["ids"]));
    } else if (line.contains("text")) {
      if (!tokenizer) tokenizer = Tokenizer::load(model_dir);
      sequences.push_back(tokenizer->encode_prompt(text_from(line["text"], "text")));
    } else {
      throw_error(ErrorCode::kInvalidArgument, "'ids' or 'text' expected, got {}", shown_json(line));
    }
    check_sequence(config, sequences.back(), "tokens");
  });
  return sequences;
}

// Whether a file is one of write_logits(): nothing but "0.logits", "0.mtp", ...
bool holds_logits(const std::filesystem::path& path) {
  try {
    const SafetensorsFile file(path);
    return std::all_of(file.tensors().begin(), file.tensors().end(), [](const auto& tensor) {
      return tensor.first.ends_with(".logits") || tensor.first.ends_with(".mtp");
    });
  } catch (const Error&) {
    return false;
  }
}

void run_logits(const LogitsFlags& flags) {
  check_output_file("--out", flags.out, {flags.model.model}, holds_logits);
  const auto checkpoint = open_checkpoint(flags.model);
  const auto sequences = read_sequences(flags.tokens, flags.model.model, checkpoint->config());
  const auto model = load_model(flags.model, checkpoint);
  ThreadPool pool(flags.model.threads);
  OpContext ctx(pool);
  Progress progress("eval logits");
  std::int64_t tokens = 0;
  write_logits(*model, ctx, sequences, flags.last, eval_options(flags, *checkpoint), flags.out,
               [&](std::int64_t done, std::int64_t total) {
                 tokens = total;
                 progress.update(done, total);
               });
  const OrderedJson summary = {
      {"out", flags.out}, {"sequences", sequences.size()}, {"tokens", tokens}, {"mtp", model->has_mtp()}};
  print_result(flags.json ? to_json_line(summary)
                          : fmt::format("{}: logits of {} sequences, {} tokens\n", flags.out,
                                        sequences.size(), tokens));
}

void add_logits(CLI::App& eval) {
  const auto flags = std::make_shared<LogitsFlags>();
  CLI::App* app = eval.add_subcommand("logits", "write the logits of token sequences to a safetensors file");
  add_model_flags(*app, flags->model);
  app->add_option("--tokens", flags->tokens, "JSON lines: {\"ids\": [...]} or {\"text\": \"...\"}")
      ->required()
      ->type_name("FILE");
  app->add_option("--out", flags->out, "safetensors file to write")->required()->type_name("FILE");
  app->add_option("--last", flags->last, "only the last K positions of each sequence; 0: all")
      ->check(at_least(0))
      ->capture_default_str();
  add_path_flag(*app, flags->path);
  add_json_flag(*app, flags->json);
  app->footer(
      "Writes N.logits [K, vocab_size] f32 for line N from 0 (blank lines do not count) and, if the model "
      "has MTP\n"
      "and K > 1, N.mtp [K-1, vocab_size]: the prediction of the token after the next.\n"
      "A text gets a BOS in front where tokenizer_config.json says add_bos_token.\n\n"
      "Example:\n"
      "  echo '{\"text\": \"The cache of a layer\"}' > t.jsonl\n"
      "  latent8 eval logits --model models/tiny --tokens t.jsonl --out logits.safetensors --last 8");
  app->callback([flags] { run_logits(*flags); });
}

struct TextFlags : EvalFlags {
  std::string reference, text;
  std::int64_t windows = 0;
  bool json = false;
};

std::vector<std::vector<std::int32_t>> read_windows(const TextFlags& flags) {
  const std::string text = read_text_file(flags.text);
  if (const auto offset = first_invalid_utf8(text))
    throw_error(ErrorCode::kInvalidArgument, "{}: UTF-8 expected, got another byte at offset {}", flags.text,
                *offset);
  return text_windows(Tokenizer::load(flags.model.model).encode(text), flags.windows, flags.text);
}

OrderedJson to_json(const Divergence& d) {
  return {{"kld_mean", d.kld_mean}, {"kld_p99", d.kld_p99},
          {"kld_max", d.kld_max},   {"top1", d.top1},
          {"ppl", d.ppl},           {"ppl_reference", d.ppl_reference},
          {"windows", d.windows},   {"predictions", d.predictions}};
}

OrderedJson to_json(const Perplexity& p) {
  return {{"ppl", p.ppl}, {"windows", p.windows}, {"predictions", p.predictions}};
}

void print_measurement(const OrderedJson& result, bool json) {
  if (json) return print_result(to_json_line(result));
  for (const auto& [name, value] : result.items())
    print_result(
        fmt::format("{:<14} {}\n", name,
                    value.is_number_float() ? fmt::format("{:.6g}", value.get<double>()) : value.dump()));
}

void run_text(const TextFlags& flags, const std::string& task) {
  const auto checkpoint = open_checkpoint(flags.model);
  const auto windows = read_windows(flags);
  const auto model = load_model(flags.model, checkpoint);
  const EvalModel measured{*model, eval_options(flags, *checkpoint)};
  ThreadPool pool(flags.model.threads);
  OpContext ctx(pool);
  Progress progress(task);
  const auto report = [&](std::int64_t done, std::int64_t total) { progress.update(done, total); };
  if (flags.reference.empty())
    return print_measurement(to_json(measure_perplexity(ctx, measured, windows, report)), flags.json);
  ModelFlags reference_flags;
  reference_flags.model = flags.reference;
  reference_flags.prefill = "float";
  const auto reference_checkpoint = open_checkpoint(reference_flags);
  if (reference_checkpoint->quant() != nullptr)
    log_warn(fmt::format(
        "--reference '{}' is not a float checkpoint but quantised itself ({}): divergences from it "
        "do not say what quantisation costs",
        flags.reference, reference_checkpoint->quant()->file_name));
  const auto reference = load_model(reference_flags, reference_checkpoint);
  EvalOptions reference_options;
  reference_options.attention = attention_options(reference_flags);
  reference_options.float_cache = CacheType::kF32;
  print_measurement(
      to_json(measure_divergence(ctx, {*reference, reference_options}, measured, windows, report)),
      flags.json);
}

void add_text_flags(CLI::App& app, TextFlags& flags) {
  app.add_option("--text", flags.text, "UTF-8 text file")->required()->type_name("FILE");
  app.add_option("--windows", flags.windows, "only the first N windows; 0: all")
      ->check(at_least(0))
      ->capture_default_str();
  add_path_flag(app, flags.path);
  add_json_flag(app, flags.json);
}

void add_text_command(CLI::App& eval, const char* name, const char* help, bool needs_reference) {
  const auto flags = std::make_shared<TextFlags>();
  CLI::App* app = eval.add_subcommand(name, help);
  add_model_flags(*app, flags->model);
  app->add_option("--reference", flags->reference,
                  "float checkpoint to compare with; runs in float by prefill")
      ->required(needs_reference)
      ->type_name("DIR");
  add_text_flags(*app, *flags);
  app->footer(
      fmt::format("The text is cut into windows of {} tokens without BOS; the first {} of each are context "
                  "and not scored.\n"
                  "Divergences are in nats, from reference to model.\n\n"
                  "Example:\n"
                  "  latent8 eval {} --model models/tiny-w8a8 --reference models/tiny --text heldout.txt "
                  "--path decode --json",
                  kWindowTokens, kWindowUnscored, name));
  app->callback([flags, name] { run_text(*flags, fmt::format("eval {}", name)); });
}

OrderedJson to_json(const DraftAcceptance& d) {
  return {{"accepted", d.accepted},
          {"mtp_top1", d.text},
          {"model_top1", d.model_text},
          {"windows", d.windows},
          {"predictions", d.predictions}};
}

void run_mtp(const TextFlags& flags) {
  const auto checkpoint = open_checkpoint(flags.model);
  need_mtp(*checkpoint);
  const auto windows = read_windows(flags);
  const auto model = load_model(flags.model, checkpoint);
  ThreadPool pool(flags.model.threads);
  OpContext ctx(pool);
  Progress progress("eval mtp");
  print_measurement(to_json(measure_draft_acceptance(
                        ctx, {*model, eval_options(flags, *checkpoint)}, windows,
                        [&](std::int64_t done, std::int64_t total) { progress.update(done, total); })),
                    flags.json);
}

void add_mtp(CLI::App& eval) {
  const auto flags = std::make_shared<TextFlags>();
  CLI::App* app = eval.add_subcommand("mtp", "how often the MTP layer guesses the model's next token");
  add_model_flags(*app, flags->model);
  add_text_flags(*app, *flags);
  app->footer(
      "The text is cut as for eval kld. accepted: the share of tokens where the layer's likeliest token is\n"
      "the model's, as a greedy draft must be; mtp_top1 and model_top1: where theirs is the text's.\n\n"
      "Example:\n"
      "  latent8 eval mtp --model models/tiny --text heldout.txt --json");
  app->callback([flags] { run_mtp(*flags); });
}

}  // namespace

void add_eval(CLI::App& root) {
  CLI::App* app =
      root.add_subcommand("eval", "measure a checkpoint: logits, perplexity, KL divergence, needle");
  app->require_subcommand(1);
  app->footer(
      "Examples:\n"
      "  latent8 eval kld --model models/tiny-w8a8 --reference models/tiny --text heldout.txt\n"
      "  latent8 eval logits --help");
  add_logits(*app);
  add_text_command(*app, "ppl", "perplexity on a text", false);
  add_text_command(*app, "kld", "KL divergence from a reference on a text", true);
  add_mtp(*app);
  add_eval_needle(*app);
}

}  // namespace latent8
