#include "quant/calibrate/calibration.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/files.h"
#include "formats/json.h"

namespace latent8 {
namespace {

constexpr std::int64_t kBlockSize = 16;
constexpr std::string_view kSeparator = "====\n";

std::int64_t blocks_of(std::size_t tokens) {
  return (static_cast<std::int64_t>(tokens) + kBlockSize - 1) / kBlockSize;
}

std::vector<std::string> builtin_prompts() {
  std::vector<std::string> prompts;
  std::string_view text = builtin_calibration_text();
  while (!text.empty()) {
    const std::size_t end = std::min(text.find(kSeparator), text.size());
    prompts.emplace_back(text.substr(0, end));
    text.remove_prefix(std::min(end + kSeparator.size(), text.size()));
  }
  return prompts;
}

void add_count(const CalibrationPrompt& prompt, bool counts, CalibrationStep::Counts& out) {
  out.statistics.push_back(counts && prompt.statistics ? 1 : 0);
  out.smoothing.push_back(counts && prompt.smoothing ? 1 : 0);
}

void add_tokens(const CalibrationPrompt& prompt, CalibrationStep& step) {
  for (std::size_t i = 0; i < prompt.ids.size(); ++i) {
    const bool last = i + 1 == prompt.ids.size(), counts = prompt.counts[i] != 0;
    step.next_ids.push_back(prompt.ids[last ? i : i + 1]);
    add_count(prompt, counts, step.counts);
    add_count(prompt, !last && counts && prompt.counts[i + 1] != 0, step.next_counts);
  }
}

CalibrationStep make_step(std::span<const CalibrationPrompt> prompts, std::int64_t begin) {
  CalibrationStep step;
  step.begin = begin;
  std::int32_t next_block = 0;
  for (const CalibrationPrompt& prompt : prompts) {
    std::vector<std::int32_t>& table = step.block_tables.emplace_back();
    for (std::int64_t b = 0; b < blocks_of(prompt.ids.size()); ++b) table.push_back(next_block++);
    add_tokens(prompt, step);
  }
  for (std::size_t i = 0; i < prompts.size(); ++i)
    step.batch.add(prompts[i].ids, 0, step.block_tables[i], kBlockSize, true);
  return step;
}

std::vector<CalibrationStep> make_steps(const std::vector<CalibrationPrompt>& prompts,
                                        std::int64_t step_tokens) {
  const auto length = [&](std::size_t i) { return static_cast<std::int64_t>(prompts[i].ids.size()); };
  std::vector<CalibrationStep> steps;
  std::int64_t row = 0;
  for (std::size_t begin = 0, end = 0; begin < prompts.size(); begin = end) {
    std::int64_t tokens = 0;
    do {
      tokens += length(end++);
    } while (end < prompts.size() && tokens + length(end) <= step_tokens);
    steps.push_back(make_step(std::span(prompts).subspan(begin, end - begin), row));
    row += tokens;
  }
  return steps;
}

std::int64_t most_tokens(const std::vector<CalibrationStep>& steps) {
  std::int64_t most = 0;
  for (const CalibrationStep& step : steps) most = std::max(most, step.tokens());
  return most;
}

}  // namespace

std::vector<std::string> read_prompts(const std::filesystem::path& calib) {
  if (calib.empty()) return builtin_prompts();
  const std::string where = calib.string();
  const nlohmann::json list = parse_json(read_text_file(calib), where);
  if (!list.is_array() || list.empty())
    throw_error(ErrorCode::kInvalidArgument, "{}: a list of strings expected, got {}{}", where,
                list.is_array() ? "an empty " : "", list.type_name());
  std::vector<std::string> prompts;
  for (const nlohmann::json& entry : list) {
    if (!entry.is_string() || entry.get_ref<const std::string&>().empty())
      throw_error(ErrorCode::kInvalidArgument, "{}: entry {}: a string that is not empty expected, got {}",
                  where, prompts.size(), entry.is_string() ? "\"\"" : entry.type_name());
    prompts.push_back(entry.get<std::string>());
  }
  return prompts;
}

std::vector<CalibrationPrompt> tokenize_prompts(const Tokenizer& tokenizer, const ModelConfig& config,
                                                const std::vector<std::string>& prompts) {
  std::vector<CalibrationPrompt> out;
  for (const std::string& text : prompts) {
    CalibrationPrompt prompt;
    if (const auto bos = tokenizer.bos_id()) prompt.ids.push_back(*bos);
    for (const std::int32_t id : tokenizer.encode(text)) prompt.ids.push_back(id);
    if (const ContextLimit limit = config.context_limit();
        static_cast<std::int64_t>(prompt.ids.size()) > limit.tokens)
      throw_error(ErrorCode::kInvalidArgument,
                  "calibration prompt {}: at most {} tokens expected ({}), got {}; split it", out.size(),
                  limit.tokens, limit.reason, prompt.ids.size());
    for (const std::int32_t id : prompt.ids) {
      if (id >= config.vocab_size)
        throw_error(ErrorCode::kInvalidArgument,
                    "calibration prompt {}: token ids below {} expected (config.json: 'vocab_size'), got {}",
                    out.size(), config.vocab_size, id);
      prompt.counts.push_back(tokenizer.is_special(id) || tokenizer.bos_id() == id ? 0 : 1);
    }
    out.push_back(std::move(prompt));
  }
  // One token attends to itself alone, and an MTP layer reads each token with the next one.
  const bool any = std::any_of(out.begin(), out.end(), [](const CalibrationPrompt& prompt) {
    return std::search_n(prompt.counts.begin(), prompt.counts.end(), 2, 1) != prompt.counts.end();
  });
  if (!any)
    throw_error(ErrorCode::kInvalidArgument,
                "calibration prompts: a text of two ordinary tokens or more expected, got {} of one or none; "
                "sentences of the kind that the model will see calibrate it best",
                out.size());
  return out;
}

std::vector<CalibrationPrompt> tokenize_prompts(const Tokenizer& tokenizer, const ModelConfig& config,
                                                const std::vector<std::string>& statistics,
                                                const std::vector<std::string>& smoothing) {
  std::vector<CalibrationPrompt> out = tokenize_prompts(tokenizer, config, statistics);
  std::vector<CalibrationPrompt> others = tokenize_prompts(tokenizer, config, smoothing);
  for (CalibrationPrompt& prompt : out) prompt.smoothing = false;
  for (std::size_t i = 0; i < others.size(); ++i) {
    const auto same = std::find(statistics.begin(), statistics.end(), smoothing[i]);
    if (same != statistics.end()) {
      out[static_cast<std::size_t>(same - statistics.begin())].smoothing = true;
      continue;
    }
    others[i].statistics = false;
    out.push_back(std::move(others[i]));
  }
  return out;
}

CalibrationRun::CalibrationRun(const ModelConfig& config, ThreadPool& pool,
                               const std::vector<CalibrationPrompt>& prompts, std::int64_t step_tokens)
    : config_(config),
      ctx_(pool),
      rope_(config),
      steps_(make_steps(prompts, step_tokens)),
      scratch_(config, most_tokens(steps_)) {
  std::size_t most_blocks = 0;
  for (const CalibrationStep& step : steps_) {
    tokens_ += step.tokens();
    for (const std::int32_t position : step.batch.positions)
      positions_ = std::max(positions_, std::int64_t{position} + 1);
    std::size_t blocks = 0;
    for (const auto& table : step.block_tables) blocks += table.size();
    most_blocks = std::max(most_blocks, blocks);
  }
  const LatentLayout layout{CacheType::kF16, config.kv_lora_rank, config.qk_rope_head_dim};
  cache_ = std::make_unique<LatentCache>(std::vector<LatentCache::Layer>{{layout, 1.0F}}, kBlockSize,
                                         static_cast<std::int32_t>(most_blocks));
}

}  // namespace latent8
