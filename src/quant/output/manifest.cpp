#include "quant/output/manifest.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json.h"
#include "quant/output/state_file.h"

namespace latent8 {
namespace {

using SortedJson = nlohmann::json;

constexpr std::int64_t kFormatVersion = 3;
constexpr const char* kFileName = "manifest.json";

// Calls visit(name, field) for every field that is a number, a text or a flag; for reading and writing alike.
template <class Report, class Visit>
void for_each_field(Report& r, const Visit& visit) {
  visit("layer", r.layer);
  visit("mtp", r.mtp);
  visit("fa", r.fa);
  visit("fold", r.fold);
  visit("latent_amax", r.latent_amax);
  visit("latent_rms", r.latent_rms);
  visit("stored_amax", r.stored_amax);
  visit("stored_rms", r.stored_rms);
  visit("k_scale", r.k_scale);
  visit("clipped", r.clipped);
  visit("error_before", r.error_before);
  visit("error_after", r.error_after);
  visit("output_error_before", r.output_error_before);
  visit("output_error_after", r.output_error_after);
  visit("tensors", r.tensors);
  visit("bytes_in", r.bytes_in);
  visit("bytes_out", r.bytes_out);
  visit("seconds", r.seconds);
}

template <class Result, class Visit>
void for_each_result_field(Result& r, const Visit& visit) {
  visit("layers", r.layers);
  visit("fa_layers", r.fa_layers);
  visit("mtp", r.mtp);
  visit("prompts", r.prompts);
  visit("tokens", r.tokens);
  visit("bytes_in", r.bytes_in);
  visit("bytes_out", r.bytes_out);
  visit("tensors", r.tensors);
  visit("peak_memory", r.peak_memory);
  visit("seconds", r.seconds);
  visit("warnings", r.warnings);
  visit("copied", r.copied);
}

SortedJson to_json(const LayerReport& report) {
  SortedJson out;
  for_each_field(report, [&](const char* name, const auto& field) { out[name] = field; });
  for (const LayerReport::Candidate& candidate : report.candidates)
    out["candidates"].push_back({{"name", candidate.name}, {"error", candidate.error}});
  for (const LayerReport::Smoothed& s : report.smoothed)
    out["smoothed"].push_back(
        {{"source", s.source}, {"alpha", s.alpha}, {"beta", s.beta}, {"error", s.error}});
  return out;
}

LayerReport layer_report(const SortedJson& json) {
  LayerReport out;
  for_each_field(out, [&](const char* name, auto& field) { json.at(name).get_to(field); });
  if (json.contains("candidates"))
    for (const SortedJson& candidate : json.at("candidates"))
      out.candidates.push_back(
          {candidate.at("name").get<std::string>(), candidate.at("error").get<double>()});
  if (json.contains("smoothed"))
    for (const SortedJson& s : json.at("smoothed"))
      out.smoothed.push_back({s.at("source").get<std::string>(), s.at("alpha").get<double>(),
                              s.at("beta").get<double>(), s.at("error").get<double>()});
  return out;
}

Manifest manifest(const SortedJson& json) {
  Manifest out;
  json.at("inputs").get_to(out.inputs);
  json.at("finished").get_to(out.finished);
  json.at("fallbacks").get_to(out.fallbacks);
  json.at("sums").get_to(out.sums);
  for_each_result_field(out.result,
                        [&](const char* name, auto& field) { json.at("result").at(name).get_to(field); });
  for (const SortedJson& report : json.at("layers")) out.result.per_layer.push_back(layer_report(report));
  return out;
}

}  // namespace

std::optional<Manifest> read_manifest(const std::filesystem::path& state) {
  const std::filesystem::path path = state / kFileName;
  if (!std::filesystem::exists(path)) return {};
  try {
    const SortedJson json = parse_json(read_state_text(path), path.string());
    if (json.at("version").get<std::int64_t>() == kFormatVersion) return manifest(json);
  } catch (const SortedJson::exception& error) {
    throw_error(ErrorCode::kCorrupt,
                "'{}': the state of an interrupted run expected: {}; start afresh (latent8 quantize "
                "--no-resume, or remove the unfinished folder)",
                path.string(), error.what());
  }
  throw_error(ErrorCode::kCorrupt,
              "'{}': the state of an interrupted run of this version expected; start afresh (latent8 "
              "quantize --no-resume, or remove the unfinished folder)",
              path.string());
}

void write_manifest(const std::filesystem::path& state, const Manifest& manifest) {
  SortedJson json{{"version", kFormatVersion},
                  {"inputs", manifest.inputs},
                  {"finished", manifest.finished},
                  {"fallbacks", manifest.fallbacks},
                  {"sums", manifest.sums}};
  for_each_result_field(manifest.result,
                        [&](const char* name, const auto& field) { json["result"][name] = field; });
  json["layers"] = SortedJson::array();
  for (const LayerReport& report : manifest.result.per_layer) json["layers"].push_back(to_json(report));
  write_state_text(state / kFileName, json.dump(1) + "\n");
}

std::vector<std::string> differences(const Manifest& then, const Manifest& now) {
  const auto value = [](const Manifest& manifest, const std::string& name) -> std::string {
    const auto found = std::find_if(manifest.inputs.begin(), manifest.inputs.end(),
                                    [&](const auto& input) { return input.first == name; });
    return found == manifest.inputs.end() ? "absent" : found->second;
  };
  std::vector<std::string> out;
  const auto compare = [&](const std::string& name) {
    if (value(then, name) != value(now, name))
      out.push_back(fmt::format("{}: {}, now {}", name, value(then, name), value(now, name)));
  };
  for (const auto& input : now.inputs) compare(input.first);
  for (const auto& input : then.inputs)
    if (value(now, input.first) == "absent") compare(input.first);
  return out;
}

}  // namespace latent8
