#include "server/mindie/service_config.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/files.h"
#include "formats/json.h"
#include "server/mindie/config_listeners.h"
#include "server/mindie/config_tree.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using SortedJson = nlohmann::json;

const std::string kDeployPath = "BackendConfig.ModelDeployConfig.",
                  kModelPath = kDeployPath + "ModelConfig[0].",
                  kSchedulePath = "BackendConfig.ScheduleConfig.";

// Values that one process on this machine cannot have.
class Unavailable {
 public:
  Unavailable(ConfigTree& tree, bool adapt) : tree_(tree), adapt_(adapt) {}

  // Where the value at `path` is not as it must be: `why`, and what --adapt puts in its place.
  void need(bool holds, std::string_view path, const std::string& instead, std::string_view why) {
    if (holds) return;
    const SortedJson* value = tree_.find(path);
    const std::string got = value == nullptr ? "nothing" : shown_json(*value);
    refusals_.push_back(fmt::format("'{}': {} expected ({}), got {}", path, instead, why, got));
    changes_.push_back(fmt::format("'{}': {} instead of {} ({})", path, instead, got, why));
  }
  std::vector<std::string> changes() const { return adapt_ ? changes_ : std::vector<std::string>{}; }
  std::vector<std::string> refusals() const { return adapt_ ? std::vector<std::string>{} : refusals_; }

 private:
  ConfigTree& tree_;
  bool adapt_;
  std::vector<std::string> refusals_, changes_;
};

// Rules of the reference between its own values.
void check_rules(ConfigTree& tree) {
  const auto rule = [&](bool holds, const std::string& path, const std::string& expected) {
    if (!holds && tree.find(path) != nullptr) tree.refuse(path, expected);
  };
  const std::int64_t batch = tree.integer(kSchedulePath + "maxBatchSize", 200);
  const std::int64_t seq = tree.integer(kDeployPath + "maxSeqLen", 2560);
  const std::int64_t input = tree.integer(kDeployPath + "maxInputTokenLen", 2048);
  const std::int64_t preempt = tree.integer(kSchedulePath + "maxPreemptCount", 0);
  rule(tree.integer(kSchedulePath + "cacheBlockSize", 128) % 16 == 0, kSchedulePath + "cacheBlockSize",
       "a multiple of 16");
  rule(tree.integer(kSchedulePath + "maxPrefillTokens", 8192) >= input, kSchedulePath + "maxPrefillTokens",
       fmt::format("at least maxInputTokenLen, {},", input));
  rule(tree.integer(kSchedulePath + "maxPrefillBatchSize", 0) <= batch, kSchedulePath + "maxPrefillBatchSize",
       fmt::format("at most maxBatchSize, {},", batch));
  rule(tree.integer(kSchedulePath + "maxN", 1) <= batch, kSchedulePath + "maxN",
       fmt::format("at most maxBatchSize, {},", batch));
  rule(tree.integer(kSchedulePath + "maxIterTimes", 1) <= seq, kSchedulePath + "maxIterTimes",
       fmt::format("at most maxSeqLen, {},", seq));
  rule(preempt <= batch, kSchedulePath + "maxPreemptCount", fmt::format("at most maxBatchSize, {},", batch));
  rule(preempt == 0 || tree.integer(kModelPath + "cpuMemSize", 5) > 0, kModelPath + "cpuMemSize",
       "more than 0 beside a maxPreemptCount");
  rule(tree.integer(kModelPath + "npuMemSize", -1) != 0, kModelPath + "npuMemSize", "-1 or more than 0");
}

bool is_model_name(const std::string& name) {
  constexpr std::size_t kLongest = 256;
  const auto is_inner = [](char c) { return c == '-' || c == '.' || c == '_'; };
  const auto fits = [&](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || is_inner(c);
  };
  return !name.empty() && name.size() <= kLongest && std::all_of(name.begin(), name.end(), fits) &&
         !is_inner(name.front()) && !is_inner(name.back());
}

void check_texts(ConfigTree& tree) {
  const auto one_of = [&](const std::string& path, std::vector<std::string> choices) {
    if (const SortedJson* value = tree.find(path);
        value != nullptr &&
        std::find(choices.begin(), choices.end(), value->get<std::string>()) == choices.end())
      tree.refuse(path, fmt::format("'{}'", fmt::join(choices, "' or '")));
  };
  one_of("Version", {"1.0.0"});
  one_of("ServerConfig.inferMode", {"standard", "dmi"});
  one_of("BackendConfig.backendName", {"mindieservice_llm_engine"});
  one_of(kModelPath + "backendType", {"atb", "torch"});
  one_of(kModelPath + "modelInstanceType", {"Standard", "StandardMock"});
  one_of(kSchedulePath + "templateType", {"Standard", "Mix"});
  one_of(kSchedulePath + "templateName", {"Standard_LLM"});
  if (!is_model_name(tree.text(kModelPath + "modelName", "")))
    tree.refuse(kModelPath + "modelName",
                "at most 256 letters, digits, '-', '.' and '_', the last three not at either end,");
  if (tree.text(kModelPath + "modelWeightPath", "").empty())
    tree.refuse(kModelPath + "modelWeightPath", "the folder of a checkpoint");
}

// How the reference spreads a model over its cards, by its own rules, and on one process.
void check_parallel(const ConfigTree& tree, Unavailable& unavailable) {
  const auto ways = [&](const char* key) {
    return std::max<std::int64_t>(tree.integer(kModelPath + key, 1), 1);  // -1: off
  };
  const std::int64_t world = tree.integer(kModelPath + "worldSize", 1);
  const std::int64_t dp = ways("dp"), tp = ways("tp"), cp = ways("cp"), sp = ways("sp");
  const std::int64_t moe_tp = ways("moe_tp"), moe_ep = ways("moe_ep");
  const bool many_nodes = tree.boolean("BackendConfig.multiNodesInferEnabled", false);
  std::string rule;  // the first that is broken; with many nodes worldSize comes from the rank table
  if (!many_nodes && dp * tp * cp != 1 && dp * tp * cp != world)
    rule = fmt::format("; and dp * tp * cp = {} is not worldSize, as the reference has it on one node",
                       dp * tp * cp);
  else if (!many_nodes && moe_tp * moe_ep != 1 && moe_tp * moe_ep != world)
    rule = fmt::format("; and moe_tp * moe_ep = {} is not worldSize, as the reference has it on one node",
                       moe_tp * moe_ep);
  else if (sp != 1 && sp != tp)
    rule = fmt::format("; and sp = {} is not tp, as the reference has it", sp);
  else if (cp > 2 || (cp == 2 && dp != 1))
    rule = "; and cp is 1, or 2 beside dp = 1, in the reference";
  unavailable.need(world == 1, kModelPath + "worldSize", "1", "one process, no NPU" + rule);
  for (const char* key : {"dp", "tp", "cp", "sp", "pp", "moe_tp", "moe_ep"})
    unavailable.need(ways(key) == 1, kModelPath + key, "1", "one process");
}

void check_services(const ConfigTree& tree, Unavailable& unavailable) {
  const auto off = [&](const std::string& path, const char* why) {
    unavailable.need(!tree.boolean(path, false), path, "false", why);
  };
  unavailable.need(tree.text("ServerConfig.inferMode", "standard") == "standard", "ServerConfig.inferMode",
                   "'standard'", "prefill and decode share one process");
  off("ServerConfig.distDPServerEnabled", "one process");
  off("ServerConfig.layerwiseDisaggregated", "one process");
  off("BackendConfig.multiNodesInferEnabled", "one process");
  unavailable.need(tree.integer("BackendConfig.modelInstanceNumber", 1) == 1,
                   "BackendConfig.modelInstanceNumber", "1", "one engine per process");
  unavailable.need(tree.text("BackendConfig.kvPoolConfig.backend", "").empty(),
                   "BackendConfig.kvPoolConfig.backend", "''", "there is no pool of caches");
  const SortedJson* models = tree.find(kDeployPath + "ModelConfig");
  unavailable.need(models == nullptr || models->size() == 1, kDeployPath + "ModelConfig", "the first entry",
                   "one model per process");
  const SortedJson* lora = tree.find(kDeployPath + "LoraModules");
  unavailable.need(lora == nullptr || lora->empty(), kDeployPath + "LoraModules", "[]", "there is no LoRA");
  unavailable.need(tree.text(kModelPath + "modelInstanceType", "Standard") == "Standard",
                   kModelPath + "modelInstanceType", "'Standard'",
                   "a server without a model answers nothing");
}

// The drafts of a step that plugin_params ask for, as a number or as its text.
void read_drafts(ConfigTree& tree, const std::string& path, const SortedJson& params, ServiceConfig& out) {
  const auto given = params.find("num_speculative_tokens");
  const SortedJson number =
      given == params.end() ? SortedJson(1)
      : given->is_string() ? SortedJson::parse(given->get<std::string>(), nullptr, /*allow_exceptions=*/false)
                           : *given;
  if (!number.is_number_integer() || number < 1 || number > kMaxSpeculativeTokens)
    return tree.refuse(path, fmt::format("num_speculative_tokens from 1 to {}", kMaxSpeculativeTokens));
  out.speculative = Speculative::kMtp;
  out.num_speculative_tokens = number.get<int>();
}

// plugin_params: what it names changes speed, not answers.
void read_plugins(ConfigTree& tree, ServiceConfig& out) {
  const std::string path = kModelPath + "plugin_params";
  const SortedJson* given = tree.find(path);
  if (given == nullptr || *given == "") return;
  const SortedJson params =
      given->is_string() ? SortedJson::parse(given->get<std::string>(), nullptr, /*allow_exceptions=*/false)
                         : *given;
  if (!params.is_object() || !params.contains("plugin_type") || !params["plugin_type"].is_string())
    return tree.refuse(path, "an object with 'plugin_type', as such or as a text,");
  std::string types = params["plugin_type"].get<std::string>();
  while (!types.empty()) {
    const std::size_t end = std::min(types.find(','), types.size());
    const std::string type = types.substr(0, end);
    types.erase(0, end + 1);
    if (type == "mtp")
      read_drafts(tree, path, params, out);
    else if (type == "la" || type == "memory_decoding")
      tree.no_effect("only mtp drafts tokens; the answers are the same without", "plugin_params " + type);
    else if (type == "prefix_cache")
      tree.no_effect("it is there unless --no-prefix-cache says otherwise", "plugin_params " + type);
    else if (type == "splitfuse")
      tree.no_effect("prompts always come in chunks", "plugin_params " + type);
    else
      return tree.refuse(path, "plugin_type of mtp, prefix_cache, splitfuse, la and memory_decoding");
  }
}

Truncation truncation_of(const ConfigTree& tree) {
  const SortedJson* value = tree.find(kDeployPath + "truncation");
  if (value == nullptr || *value == 0 || *value == false) return Truncation::kRefuse;
  return *value == 1 ? Truncation::kKeepEnd : Truncation::kKeepBegin;
}

void read_values(const ConfigTree& tree, const fs::path& base, ServiceConfig& out) {
  constexpr std::int64_t kGiB = std::int64_t{1} << 30, kMiB = std::int64_t{1} << 20;
  out.model = (base / tree.text(kModelPath + "modelWeightPath", "")).lexically_normal();
  out.model_name = tree.text(kModelPath + "modelName", "");
  out.enable_nz = tree.boolean(kModelPath + "models.deepseekv2.kv_cache_options.enable_nz", true);
  out.max_seq_len = tree.integer(kDeployPath + "maxSeqLen", 2560);
  out.max_input_tokens = std::min(tree.integer(kDeployPath + "maxInputTokenLen", 2048), out.max_seq_len - 1);
  out.truncation = truncation_of(tree);
  out.max_output_tokens = tree.integer(kSchedulePath + "maxIterTimes", 512);
  out.block_size = tree.integer(kSchedulePath + "cacheBlockSize", 128);
  out.max_batch_size = tree.integer(kSchedulePath + "maxBatchSize", 200);
  out.max_n = std::min(tree.integer(kSchedulePath + "maxN", 128), out.max_batch_size);
  out.max_prefill_tokens = tree.integer(kSchedulePath + "maxPrefillTokens", 8192);
  out.cache_bytes = std::max<std::int64_t>(tree.integer(kModelPath + "npuMemSize", -1), 0) * kGiB;
  out.max_requests = 3 * tree.integer("ServerConfig.maxLinkNum", 1000);  // N under way, 2 N waiting
  out.max_body_bytes = static_cast<std::size_t>(tree.integer("ServerConfig.maxRequestLength", 40) * kMiB);
  const bool longest = tree.boolean("EnableDynamicAdjustTimeoutConfig", false);
  out.token_timeout_s = static_cast<double>(longest ? 3600 : tree.integer("ServerConfig.tokenTimeout", 600));
  out.e2e_timeout_s = static_cast<double>(longest ? 65535 : tree.integer("ServerConfig.e2eTimeout", 600));
  out.text_threads = static_cast<int>(tree.integer("BackendConfig.tokenizerProcessNumber", 8));
  out.full_text = tree.boolean("ServerConfig.fullTextEnabled", false);
}

std::vector<std::string> notes_of(const ConfigTree& tree, bool https) {
  std::vector<std::string> notes;
  for (const auto& [reason, keys] : tree.without_effect())
    if (!(https && reason == kWithoutHttps))
      notes.push_back(fmt::format("no effect here ({}): {}", reason, fmt::join(keys, ", ")));
  if (!tree.unknown().empty())
    notes.push_back(fmt::format("not known, ignored: {}", fmt::join(tree.unknown(), ", ")));
  return notes;
}

}  // namespace

ServiceConfig parse_service_config(std::string_view text, const fs::path& file, bool adapt) {
  ConfigTree tree(text, file.string());
  const fs::path folder = fs::absolute(file).parent_path();
  const fs::path base = folder.filename() == "conf" ? folder.parent_path() : folder;

  Unavailable unavailable(tree, adapt);
  check_texts(tree);
  check_rules(tree);
  check_parallel(tree, unavailable);
  check_services(tree, unavailable);
  ServiceConfig out;
  read_plugins(tree, out);
  std::vector<std::string> problems = add_listeners(tree, base, out);
  problems.insert(problems.begin(), tree.problems().begin(), tree.problems().end());

  const std::vector<std::string> refusals = unavailable.refusals();
  problems.insert(problems.end(), refusals.begin(), refusals.end());
  if (!problems.empty())
    throw_error(ErrorCode::kInvalidArgument, "{}: {} that cannot be used:\n  {}{}", file.string(),
                problems.size() == 1 ? "a value" : fmt::format("{} values", problems.size()),
                fmt::join(problems, "\n  "), refusals.empty() ? "" : "\nchange them, or start with --adapt");
  read_values(tree, base, out);
  out.changes = unavailable.changes();
  out.notes = notes_of(tree, tree.boolean("ServerConfig.httpsEnabled", true));
  return out;
}

void fit_drafts_to_model(ServiceConfig& config, bool has_mtp, bool adapt) {
  if (config.speculative != Speculative::kMtp || has_mtp) return;
  const std::string path = kModelPath + "plugin_params";
  if (!adapt)
    throw_error(ErrorCode::kInvalidArgument,
                "'{}': a checkpoint with an MTP layer expected by plugin_type mtp, got one without; change "
                "either, or start with --adapt",
                path);
  config.changes.push_back(
      fmt::format("'{}': no drafts instead of mtp (the checkpoint has no MTP layer)", path));
  config.speculative = Speculative::kAuto;
  config.num_speculative_tokens = 0;
}

void fit_to_model(ServiceConfig& config, const ContextLimit& limit, bool adapt) {
  if (config.max_seq_len <= limit.tokens) return;
  const std::string path = kDeployPath + "maxSeqLen";
  if (!adapt)
    throw_error(ErrorCode::kInvalidArgument,
                "'{}': at most {} expected ({}), got {}; change it, or start with --adapt", path,
                limit.tokens, limit.reason, config.max_seq_len);
  config.changes.push_back(
      fmt::format("'{}': {} instead of {} ({})", path, limit.tokens, config.max_seq_len, limit.reason));
  config.max_seq_len = limit.tokens;
  config.max_input_tokens = std::min(config.max_input_tokens, config.max_seq_len - 1);
  config.max_output_tokens = std::min(config.max_output_tokens, config.max_seq_len);
}

ServiceConfig read_service_config(const fs::path& file, bool adapt) {
  return parse_service_config(read_text_file(file), file, adapt);
}

}  // namespace latent8
