// latent8 doctor: what this machine offers, and whether a checkpoint fits.

#include <nlohmann/json.hpp>
#include <set>
#include <string>
#include <vector>

#include "apps/common.h"
#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/subcommands.h"
#include "base/error.h"
#include "base/printable.h"
#include "benchmark/serving_plan.h"
#include "formats/folder_check.h"
#include "formats/sha256sums.h"
#include "kernels/kernel_table.h"
#include "model/unread_tensors.h"
#include "sys/cpu_features.h"
#include "sys/topology.h"
#include "text/chat_template.h"
#include "text/tokenizer.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

// What would make this machine faster or is missing for it to run well.
Json machine_advice(const MemoryInfo& memory) {
  Json advice = Json::array();
  const std::uint32_t features = cpu_features();
  if ((features & kAvx2) == 0)
    advice.push_back("the CPU has no AVX2: every kernel runs in scalar code, very slowly");
  else if ((features & kAvx512Vnni) == 0)
    advice.push_back("the CPU has no AVX-512 VNNI: int8 products run at a half or less of what they could");
  if (memory.huge_page_bytes == 0)
    advice.push_back(
        "transparent huge pages are off: write 'madvise' to /sys/kernel/mm/transparent_hugepage/enabled");
  return advice;
}

Json machine_json() {
  const MemoryInfo memory = memory_info();
  Json tables = Json::array();
  for (const KernelTable* table : all_tables())
    if (is_supported(*table)) tables.push_back(table->name);
  return {{"cpu", cpu_name()},
          {"features", feature_names(cpu_features())},
          {"isa", kernels().name},
          {"isa_supported", tables},
          {"threads", physical_cores().size()},
          {"last_level_cache_bytes", last_level_cache_bytes()},
          {"memory_bytes", memory.total_bytes},
          {"memory_available_bytes", memory.available_bytes},
          {"huge_page_bytes", memory.huge_page_bytes},
          {"advice", machine_advice(memory)}};
}

// What the reference tool asks for before it quantises, and why nobody has to do it here.
// Source: msModelSlim's example/DeepSeek/README.md, the checks before a run.
Json pre_run_checks() {
  const auto item = [](const char* check, const char* why) {
    return Json{{"check", check}, {"needed", false}, {"why", why}};
  };
  return Json::array({item("take flash_attn out of modeling_deepseek.py", "no Python of a checkpoint is run"),
                      item("install transformers 4.48.2", "the model's layers are part of this program"),
                      item("delete quantization_config from an fp8 checkpoint's config.json",
                           "fp8 blocks are detected and read; the written config.json does not have the key"),
                      item("convert fp8 weights to bf16", "they are widened as they are read")});
}

// Runs a step of the check; what it throws is one problem of several.
template <class Step>
void attempt(std::vector<std::string>& problems, const Step& step) {
  try {
    step();
  } catch (const Error& error) {
    problems.emplace_back(error.what());
  }
}

// Sizes, and whether they fit.
void add_sizes(Json& out, const ModelFlags& flags, const Checkpoint& checkpoint) {
  const std::int64_t weights = checkpoint.tensor_bytes();
  const CacheBytes cache = cache_bytes(checkpoint, float_cache_type(flags, checkpoint));
  const std::int64_t context = checkpoint.config().context_limit().tokens;
  const std::int64_t available = memory_info().available_bytes;
  out["weights_bytes"] = weights;
  out["cache_bytes_per_1k_tokens"] = cache.per_token * 1024;
  out["cache_bytes_full_context"] = cache.per_token * context;
  out["context"] = context;
  out["int8_cache"] = has_int8_cache(checkpoint);
  out["vocab_size"] = checkpoint.config().vocab_size;
  out["fits"] = weights + cache.per_token * 1024 <= available;
  if (weights > available)
    out["advice"].push_back(
        "the weights are larger than the memory available: they are read from disk again and again");
  else if (weights + cache.per_token * context > available)
    out["advice"].push_back(
        "weights and the cache of one sequence at full context do not fit together: use shorter contexts");
}

// At full context, beside the weights, as `latent8 plan` counts them.
std::int64_t sequences_that_fit(const DeepseekModel& model, const Checkpoint& checkpoint) {
  const ServingPlan plan = plan_serving(model, checkpoint.tensor_bytes(),
                                        {.memory = memory_info().available_bytes,
                                         .context = model.config().context_limit().tokens,
                                         .threads = static_cast<int>(physical_cores().size())});
  return (has_int8_cache(checkpoint) ? plan.int8 : plan.fp16).sequences;
}

// Everything of a checkpoint is opened and checked: files, weights' names, shapes, types and values, scales,
// tensors that nobody reads, tokenizer, template. What is wrong is collected.
Json checkpoint_json(const ModelFlags& flags) {
  Json out = {{"path", flags.model}, {"advice", Json::array()}};
  out["sha256sums"] = std::filesystem::exists(std::filesystem::path(flags.model) / kSumsFile);
  FolderCheck files = check_folder(flags.model);
  std::vector<std::string> problems = std::move(files.problems);
  if (problems.empty())
    attempt(problems, [&] {
      const auto checkpoint = open_checkpoint(flags);
      add_sizes(out, flags, *checkpoint);
      attempt(problems, [&] { refuse_unread_tensors(*checkpoint, false); });
      attempt(problems, [&] {
        ModelFlags all = flags;
        all.ignore_unread_tensors = true;  // told already
        if (!problems.empty()) return;
        const auto model = load_model(all, checkpoint);
        out["mtp"] = model->has_mtp();
        out["sequences_full_context"] = sequences_that_fit(*model, *checkpoint);
      });
    });
  attempt(problems, [&] { out["tokenizer_vocab_size"] = Tokenizer::load(flags.model).vocab_size(); });
  attempt(problems, [&] {
    const std::optional<ChatTemplate> chat_template = ChatTemplate::load(flags.model);
    out["chat_template"] = chat_template.has_value();
    if (!chat_template) return out["advice"].push_back("no chat template: use run --raw");
    for (const std::string& note : chat_template->notes())
      out["advice"].push_back(note + "; conversations that reach it fail");
  });
  for (std::string& note : files.notes) out["advice"].push_back(std::move(note));
  // A file can be in the way of two steps.
  std::set<std::string> seen;
  out["problems"] = Json::array();
  for (const std::string& text : problems)
    if (seen.insert(text).second) out["problems"].push_back(text);
  return out;
}

void print_advice(const Json& advice) {
  for (const Json& line : advice) print_result(fmt::format("  ! {}\n", line.get<std::string>()));
}

std::string bytes(const Json& value) { return format_bytes(value.get<std::int64_t>()); }

void print_machine(const Json& m) {
  std::string tables;
  for (const Json& name : m["isa_supported"]) tables += " " + name.get<std::string>();
  print_result(fmt::format("CPU             {}\n", m["cpu"].get<std::string>()));
  print_result(fmt::format("features        {}\n", m["features"].get<std::string>()));
  print_result(fmt::format("kernels         {} (supported:{})\n", m["isa"].get<std::string>(), tables));
  print_result(fmt::format("threads         {} physical cores\n", m["threads"].dump()));
  print_result(fmt::format("cache           {} last level\n", bytes(m["last_level_cache_bytes"])));
  print_result(fmt::format("memory          {} of {} available\n", bytes(m["memory_available_bytes"]),
                           bytes(m["memory_bytes"])));
  print_result(fmt::format("huge pages      {}\n",
                           m["huge_page_bytes"] == 0 ? "off" : bytes(m["huge_page_bytes"]) + " transparent"));
  print_advice(m["advice"]);
}

void print_sizes(const Json& c) {
  print_result(fmt::format("weights         {}\n", bytes(c["weights_bytes"])));
  print_result(fmt::format("latent cache    {}, {} per 1,024 tokens, {} at the full context of {}\n",
                           c["int8_cache"].get<bool>() ? "int8" : "float",
                           bytes(c["cache_bytes_per_1k_tokens"]), bytes(c["cache_bytes_full_context"]),
                           c["context"].dump()));
  print_result(fmt::format("fits in memory  {}\n", c["fits"].get<bool>() ? "yes" : "no"));
}

void print_checkpoint(const Json& c) {
  print_result(fmt::format("\ncheckpoint      {}\n", c["path"].get<std::string>()));
  if (c.contains("weights_bytes")) print_sizes(c);
  if (c.contains("sequences_full_context"))
    print_result(fmt::format("at once         {} sequences at full context (latent8 plan says more)\n",
                             c["sequences_full_context"].dump()));
  if (c.contains("mtp"))
    print_result(fmt::format("MTP layer       {}\n", c["mtp"].get<bool>() ? "yes" : "no"));
  if (c.contains("chat_template"))
    print_result(fmt::format("chat template   {}\n", c["chat_template"].get<bool>() ? "yes" : "no"));
  print_result(
      fmt::format("checksums       {}\n", c["sha256sums"].get<bool>()
                                              ? "SHA256SUMS is there (verify and run --check read it)"
                                              : "none: there is no SHA256SUMS"));
  print_advice(c["advice"]);
  if (!c["problems"].empty()) print_result("problems\n");
  for (const Json& problem : c["problems"])
    print_result(fmt::format("  {}\n", shown_message(problem.get<std::string>())));
}

void print_pre_run_checks(const Json& checks) {
  print_result("\nbefore quantising, msModelSlim asks to; here none of it is needed\n");
  for (const Json& c : checks)
    print_result(fmt::format("  {}: {}\n", c["check"].get<std::string>(), c["why"].get<std::string>()));
}

void print_report(const Json& report) {
  print_machine(report["machine"]);
  print_pre_run_checks(report["pre_run_checks"]);
  if (report.contains("checkpoint")) print_checkpoint(report["checkpoint"]);
}

}  // namespace

void add_doctor(CLI::App& root) {
  struct DoctorFlags {
    ModelFlags model;
    bool json = false;
  };
  const auto flags = std::make_shared<DoctorFlags>();
  CLI::App* app = root.add_subcommand("doctor", "show what this machine offers, and check a checkpoint");
  app->add_option("dir", flags->model.model, "checkpoint directory to check")->type_name("DIR");
  add_json_flag(*app, flags->json);
  app->footer(
      "Examples:\n"
      "  latent8 doctor\n"
      "  latent8 doctor models/tiny");
  app->callback([flags] {
    Json report = {{"machine", machine_json()}, {"pre_run_checks", pre_run_checks()}};
    if (!flags->model.model.empty()) report["checkpoint"] = checkpoint_json(flags->model);
    if (flags->json)
      print_result(json_text(report, 2) + "\n");
    else
      print_report(report);
    const std::size_t problems = report.contains("checkpoint") ? report["checkpoint"]["problems"].size() : 0;
    flush_results();
    if (problems > 0)
      throw_error(ErrorCode::kCorrupt, "'{}': {} problem(s) found", flags->model.model, problems);
  });
}

}  // namespace latent8
