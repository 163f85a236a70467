#include "eval/sequence_runner.h"

#include <algorithm>
#include <memory>

#include "base/error.h"
#include "kv/block_pool.h"
#include "model/step_runner.h"

namespace latent8 {
namespace {

constexpr std::int64_t kBlockSize = 128;

// Tokens [begin, end) of one sequence.
struct Range {
  std::size_t seq;
  std::int64_t begin, end;
};
using Steps = std::vector<std::vector<Range>>;

// A sequence is cut only where it is longer than a whole step, so that its numbers do not depend on what
// runs beside it, not even where prompts attend in float.
Steps prefill_steps(std::span<const std::int64_t> lengths, std::int64_t max_tokens) {
  Steps steps;
  std::int64_t used = max_tokens;
  for (std::size_t b = 0; b < lengths.size(); ++b)
    for (std::int64_t begin = 0; begin < lengths[b];) {
      const std::int64_t count = std::min(lengths[b] - begin, max_tokens);
      if (used + count > max_tokens) {
        steps.emplace_back();
        used = 0;
      }
      steps.back().push_back({b, begin, begin + count});
      begin += count;
      used += count;
    }
  return steps;
}

Steps decode_steps(std::span<const std::int64_t> lengths, std::int64_t max_tokens) {
  Steps steps;
  const std::int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  for (std::int64_t t = 0; t < longest; ++t) {
    steps.emplace_back();
    for (std::size_t b = 0; b < lengths.size(); ++b) {
      if (t >= lengths[b]) continue;
      if (static_cast<std::int64_t>(steps.back().size()) == max_tokens) steps.emplace_back();
      steps.back().push_back({b, t, t + 1});
    }
  }
  return steps;
}

std::int64_t count_tokens(const std::vector<Range>& ranges) {
  std::int64_t tokens = 0;
  for (const Range& r : ranges) tokens += r.end - r.begin;
  return tokens;
}

std::int64_t largest_step(const Steps& steps) {
  std::int64_t most = 0;
  for (const auto& ranges : steps) most = std::max(most, count_tokens(ranges));
  return most;
}

// One run_sequences().
class SequenceSteps {
 public:
  SequenceSteps(const DeepseekModel& model, OpContext& ctx,
                std::span<const std::vector<std::int32_t>> sequences, const EvalOptions& options,
                bool with_mtp, const EvalProgress& progress)
      : sequences_(sequences), options_(options), with_mtp_(with_mtp), progress_(progress) {
    const std::int64_t hidden_size = model.config().hidden_size;
    std::vector<std::int64_t> lengths;
    std::int64_t blocks = 0;
    for (const auto& ids : sequences) {
      const auto length = static_cast<std::int64_t>(ids.size());
      lengths.push_back(length);
      blocks += (length + kBlockSize - 1) / kBlockSize;
      total_ += with_mtp ? 2 * length - 1 : length;
      out_.emplace_back();
      out_.back().main = Matrix<float>(length, hidden_size);
      if (with_mtp) out_.back().mtp = Matrix<float>(length - 1, hidden_size);
    }
    steps_ = options.path == EvalPath::kDecode ? decode_steps(lengths, options.max_tokens)
                                               : prefill_steps(lengths, options.max_tokens);
    const auto num_blocks = static_cast<std::int32_t>(blocks);
    runner_ = std::make_unique<StepRunner>(model, ctx,
                                           StepRunnerOptions{.attention = options.attention,
                                                             .float_cache = options.float_cache,
                                                             .block_size = kBlockSize,
                                                             .num_blocks = num_blocks,
                                                             .max_tokens = largest_step(steps_),
                                                             .max_logits_rows = 0});
    pool_ = std::make_unique<BlockPool>(num_blocks);
    for (const std::int64_t length : lengths) {
      tables_.emplace_back(kBlockSize);
      LATENT8_CHECK(tables_.back().reserve(*pool_, length));
    }
  }

  std::vector<SequenceHidden> run() {
    for (const auto& ranges : steps_) {
      main_step(ranges);
      if (with_mtp_) mtp_step(ranges);
    }
    return std::move(out_);
  }

 private:
  // shift: 0 for the decoder layers; 1 for the MTP layer, which reads the token after each position.
  SequencePlan plan_of(const Range& range, std::int64_t shift) const {
    const auto ids = sequences_[range.seq].begin() + shift;
    const std::span<const std::int32_t> blocks = tables_[range.seq].ids();
    return {.token_ids = {ids + range.begin, ids + range.end},
            .position = range.begin,
            .block_table = {blocks.begin(), blocks.end()},
            .prompt = options_.path == EvalPath::kPrefill,
            .num_hidden = range.end - range.begin};
  }

  void main_step(const std::vector<Range>& ranges) {
    StepPlan plan;
    for (const Range& range : ranges) plan.seqs.push_back(plan_of(range, 0));
    const ConstMat<float> hidden = runner_->run(plan).hidden;
    take(ranges, hidden, &SequenceHidden::main);
  }

  // The MTP layer over the same positions, but for the last of a sequence, which has no token after it.
  void mtp_step(const std::vector<Range>& ranges) {
    StepPlan plan{.layers = StepPlan::Layers::kMtp, .seqs = {}, .hidden_rows = {}};
    std::vector<Range> shorter;
    std::int32_t row = 0;
    for (const Range& range : ranges) {
      const std::int64_t end = std::min(range.end, out_[range.seq].mtp.rows());
      for (std::int64_t t = range.begin; t < range.end; ++t, ++row)
        if (t < end) plan.hidden_rows.push_back(row);
      if (range.begin == end) continue;
      shorter.push_back({range.seq, range.begin, end});
      plan.seqs.push_back(plan_of(shorter.back(), 1));
    }
    if (!shorter.empty()) take(shorter, runner_->run(plan).hidden, &SequenceHidden::mtp);
  }

  // Copies a step's rows to where they belong in out_.
  void take(const std::vector<Range>& ranges, ConstMat<float> hidden, Matrix<float> SequenceHidden::* to) {
    std::int64_t row = 0;
    for (const Range& range : ranges)
      for (std::int64_t t = range.begin; t < range.end; ++t, ++row)
        std::copy_n(hidden.row(row), hidden.cols, (out_[range.seq].*to).row(t));
    done_ += row;
    if (progress_) progress_(done_, total_);
  }

  std::span<const std::vector<std::int32_t>> sequences_;
  const EvalOptions& options_;
  bool with_mtp_;
  const EvalProgress& progress_;
  std::int64_t done_ = 0, total_ = 0;  // tokens
  Steps steps_;
  std::unique_ptr<StepRunner> runner_;
  std::unique_ptr<BlockPool> pool_;  // before tables_, which give their blocks back to it
  std::vector<BlockTable> tables_;
  std::vector<SequenceHidden> out_;
};

}  // namespace

void check_sequence(const ModelConfig& config, std::span<const std::int32_t> ids, const std::string& where) {
  const auto length = static_cast<std::int64_t>(ids.size());
  if (length == 0)
    throw_error(ErrorCode::kInvalidArgument, "{}: at least one token expected, got none", where);
  if (const ContextLimit limit = config.context_limit(); length > limit.tokens)
    throw_error(ErrorCode::kInvalidArgument,
                "{}: {} tokens, but the context of the model is {} ({}); shorten the text", where, length,
                limit.tokens, limit.reason);
  for (const std::int32_t id : ids)
    if (id < 0 || id >= config.vocab_size)
      throw_error(ErrorCode::kInvalidArgument, "{}: token ids from 0 to {} expected, got {}", where,
                  config.vocab_size - 1, id);
}

std::vector<SequenceHidden> run_sequences(const DeepseekModel& model, OpContext& ctx,
                                          std::span<const std::vector<std::int32_t>> sequences,
                                          const EvalOptions& options, bool with_mtp,
                                          const EvalProgress& progress) {
  if (sequences.empty()) return {};
  return SequenceSteps(model, ctx, sequences, options, with_mtp, progress).run();
}

}  // namespace latent8
