// latent8 verify: whether a quantised checkpoint is what it says, and how far its weights are from the
// source's.

#include "latent8/verify.h"

#include <nlohmann/json.hpp>

#include "apps/common.h"
#include "apps/json_lines.h"
#include "apps/output.h"
#include "apps/subcommands.h"
#include "base/error.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

// More lines than this of one sort say nothing more on a screen; --json has them all.
constexpr std::size_t kShown = 50;

struct VerifyFlags {
  std::string checkpoint, source;
  int threads = 0;
  bool json = false, ignore_unread_tensors = false;
};

Json findings_json(const std::vector<VerifyFinding>& findings) {
  Json out = Json::array();
  for (const VerifyFinding& f : findings) {
    Json entry = {{"where", f.where}};
    if (f.got.empty()) {
      entry["what"] = f.expected;
    } else {
      entry["expected"] = f.expected;
      entry["got"] = f.got;
    }
    out.push_back(std::move(entry));
  }
  return out;
}

Json to_json(const VerifyFlags& flags, const VerifyResult& r) {
  Json kinds = Json::array();
  for (const VerifyKind& k : r.kinds)
    kinds.push_back({{"kind", k.kind},
                     {"tensors", k.tensors},
                     {"error", k.error},
                     {"worst_error", k.worst_error},
                     {"worst", k.worst},
                     {"worst_steps", k.worst_steps},
                     {"by_product", k.by_product},
                     {"by_norm", k.by_norm}});
  return {{"path", flags.checkpoint},
          {"source", flags.source.empty() ? Json() : Json(flags.source)},
          {"ok", r.problems.empty()},
          {"dialect", r.dialect},
          {"description", r.description_file},
          {"model_quant_type", r.model_quant_type},
          {"fa_quant_type", r.fa_quant_type},
          {"layers", r.layers},
          {"fa_layers", r.fa_layers},
          {"mtp", r.mtp},
          {"files", r.files},
          {"tensors", r.tensors},
          {"bytes", r.bytes},
          {"has_sums", r.has_sums},
          {"problems", findings_json(r.problems)},
          {"notes", findings_json(r.notes)},
          {"kinds", std::move(kinds)},
          {"folds", findings_json(r.folds)},
          {"not_comparable", r.not_comparable},
          {"seconds", r.seconds}};
}

void print_list(const char* title, const std::vector<VerifyFinding>& findings) {
  if (findings.empty()) return;
  print_result(fmt::format("\n{}\n", title));
  for (std::size_t i = 0; i < std::min(findings.size(), kShown); ++i)
    print_result("  " + to_string(findings[i]) + "\n");
  if (findings.size() > kShown)
    print_result(fmt::format("  and {} more (--json lists all)\n", findings.size() - kShown));
}

void print_kinds(const VerifyResult& r) {
  if (r.kinds.empty()) return;
  print_result(fmt::format("\n{:<28} {:>8} {:>9} {:>9} {:>7}  {}\n", "weights against the source", "tensors",
                           "error", "worst", "steps", "worst tensor"));
  std::string equal;
  std::int64_t equal_tensors = 0;
  for (const VerifyKind& k : r.kinds) {
    if (k.error == 0.0 && k.by_norm == 0) {
      equal += (equal.empty() ? "" : ", ") + k.kind;
      equal_tensors += k.tensors;
      continue;
    }
    print_result(fmt::format("{:<28} {:>8} {:>7.3f} % {:>7.3f} % {:>7}  {}{}\n", k.kind, k.tensors,
                             100.0 * k.error, 100.0 * k.worst_error,
                             k.worst_steps > 0.0 ? fmt::format("{:.2f}", k.worst_steps) : "", k.worst,
                             k.by_norm > 0      ? " (by norms)"
                             : k.by_product > 0 ? " (kv_b_proj * kv_a_proj)"
                                                : ""));
  }
  if (!equal.empty())
    print_result(fmt::format("{:<28} {:>8}  {}\n", "equal to the source", equal_tensors, equal));
}

void print(const VerifyFlags& flags, const VerifyResult& r) {
  print_result(fmt::format("checkpoint  {}\n", flags.checkpoint));
  if (!r.dialect.empty())
    print_result(fmt::format("            {} dialect, {}{} ({})\n", r.dialect, r.model_quant_type,
                             r.fa_quant_type.empty() ? "" : " + " + r.fa_quant_type, r.description_file));
  print_result(
      fmt::format("            {} tensors in {} file(s), {}\n", r.tensors, r.files, format_bytes(r.bytes)));
  if (r.has_sums) print_result("            every file compared with SHA256SUMS\n");
  if (!r.dialect.empty())
    print_result(
        fmt::format("            {} layers, {} with an int8 cache; MTP: {}\n", r.layers, r.fa_layers, r.mtp));
  if (!flags.source.empty()) print_result(fmt::format("source      {}\n", flags.source));
  print_kinds(r);
  for (const std::string& what : r.not_comparable) print_result(fmt::format("not comparable: {}\n", what));
  print_list("folded into the weights", r.folds);
  print_list("notes", r.notes);
  print_list("problems", r.problems);
  if (r.problems.empty()) print_result(fmt::format("\nno problem found in {:.1f} s\n", r.seconds));
}

void run(const VerifyFlags& flags) {
  VerifyResult result;
  {
    Progress progress("verify");
    VerifyOptions options;
    options.checkpoint = flags.checkpoint;
    options.source = flags.source;
    options.threads = flags.threads;
    options.ignore_unread_tensors = flags.ignore_unread_tensors;
    options.progress = [&](const VerifyProgress& p) {
      progress.update(p.bytes, p.total_bytes, fmt::format("layer {} of {}", p.layer, p.n_layers));
    };
    result = verify(options);
  }
  if (flags.json)
    print_result(to_json_line(to_json(flags, result)));
  else
    print(flags, result);
  if (result.problems.empty()) return;
  flush_results();
  throw_error(ErrorCode::kCorrupt, "'{}': {} problem(s) found", flags.checkpoint, result.problems.size());
}

}  // namespace

void add_verify(CLI::App& root) {
  const auto flags = std::make_shared<VerifyFlags>();
  CLI::App* app = root.add_subcommand("verify", "check every tensor of a quantised checkpoint");
  app->add_option("dir", flags->checkpoint, "quantised checkpoint directory")->required()->type_name("DIR");
  app->add_option("--source", flags->source, "the float checkpoint it was made of, to compare weights with")
      ->type_name("DIR");
  app->add_option("--threads", flags->threads, "threads; 0 means one per physical core")
      ->check(CLI::Range(0, 4096))
      ->capture_default_str();
  app->add_flag("--ignore-unread-tensors", flags->ignore_unread_tensors,
                "a source with tensors that its model does not read is no problem");
  add_json_flag(*app, flags->json);
  app->footer(
      "Exits with 1 and a list if anything is off.\n\n"
      "Examples:\n"
      "  latent8 verify build/tiny-w8a8-fa3\n"
      "  latent8 verify build/tiny-w8a8-fa3 --source models/tiny");
  app->callback([flags] { run(*flags); });
}

}  // namespace latent8
