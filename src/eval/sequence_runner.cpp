#include "eval/sequence_runner.h"

#include <algorithm>
#include <cstring>

#include "base/error.h"
#include "kv/block_pool.h"
#include "kv/latent_cache.h"

namespace latent8 {
namespace {

constexpr std::int64_t kBlockSize = 128;

// Tokens [begin, end) of one sequence.
struct Piece {
  std::size_t seq;
  std::int64_t begin, end;
};
using Plan = std::vector<std::vector<Piece>>;  // pieces of each step

// A sequence is cut only where it is longer than a whole step, so that its numbers do not depend on what
// runs beside it, not even where prompts attend in float.
Plan plan_prefill(std::span<const std::int64_t> lengths, std::int64_t max_tokens) {
  Plan plan;
  std::int64_t used = max_tokens;
  for (std::size_t b = 0; b < lengths.size(); ++b)
    for (std::int64_t begin = 0; begin < lengths[b];) {
      const std::int64_t count = std::min(lengths[b] - begin, max_tokens);
      if (used + count > max_tokens) {
        plan.emplace_back();
        used = 0;
      }
      plan.back().push_back({b, begin, begin + count});
      begin += count;
      used += count;
    }
  return plan;
}

Plan plan_decode(std::span<const std::int64_t> lengths, std::int64_t max_tokens) {
  Plan plan;
  const std::int64_t longest = *std::max_element(lengths.begin(), lengths.end());
  for (std::int64_t t = 0; t < longest; ++t) {
    plan.emplace_back();
    for (std::size_t b = 0; b < lengths.size(); ++b) {
      if (t >= lengths[b]) continue;
      if (static_cast<std::int64_t>(plan.back().size()) == max_tokens) plan.emplace_back();
      plan.back().push_back({b, t, t + 1});
    }
  }
  return plan;
}

std::int64_t count_tokens(const std::vector<Piece>& pieces) {
  std::int64_t tokens = 0;
  for (const Piece& p : pieces) tokens += p.end - p.begin;
  return tokens;
}

std::int64_t largest_step(const Plan& plan) {
  std::int64_t most = 0;
  for (const auto& pieces : plan) most = std::max(most, count_tokens(pieces));
  return most;
}

void copy_rows(ConstMat<float> from, Mat<float> to) {
  for (std::int64_t r = 0; r < from.rows; ++r)
    std::memcpy(to.row(r), from.row(r), static_cast<std::size_t>(from.cols) * sizeof(float));
}

// The cache and buffers of one run_sequences().
class Run {
 public:
  Run(const DeepseekModel& model, OpContext& ctx, std::span<const std::vector<std::int32_t>> sequences,
      const EvalOptions& options, const EvalProgress& progress)
      : model_(model), ctx_(ctx), sequences_(sequences), options_(options), progress_(progress) {
    for (const auto& ids : sequences) {
      lengths_.push_back(static_cast<std::int64_t>(ids.size()));
      total_ += lengths_.back();
    }
  }

  std::vector<SequenceHidden> run(bool with_mtp) {
    const auto mtp_tokens = total_ - static_cast<std::int64_t>(sequences_.size());
    if (with_mtp) total_ += mtp_tokens;
    const Plan plan = make_plan();
    reserve(largest_step(plan));
    for (const std::int64_t length : lengths_) {
      out_.emplace_back();
      out_.back().main = Matrix<float>(length, model_.config().hidden_size);
    }
    for (const auto& pieces : plan) main_step(pieces);
    if (with_mtp && mtp_tokens > 0) run_mtp();
    return std::move(out_);
  }

 private:
  Plan make_plan() const {
    return options_.path == EvalPath::kDecode ? plan_decode(lengths_, options_.max_tokens)
                                              : plan_prefill(lengths_, options_.max_tokens);
  }

  void reserve(std::int64_t step_tokens) {
    std::int64_t blocks = 0;
    for (const std::int64_t length : lengths_) blocks += (length + kBlockSize - 1) / kBlockSize;
    cache_ = std::make_unique<LatentCache>(model_.cache_layers(options_.float_cache), kBlockSize,
                                           static_cast<std::int32_t>(blocks));
    pool_ = std::make_unique<BlockPool>(static_cast<std::int32_t>(blocks));
    for (const std::int64_t length : lengths_) {
      tables_.emplace_back(kBlockSize);
      LATENT8_CHECK(tables_.back().reserve(*pool_, length));
    }
    scratch_ = std::make_unique<Scratch>(model_.config(), step_tokens);
    hidden_ = Matrix<float>(step_tokens, model_.config().hidden_size);
  }

  // shift: 0 for the main model; 1 for the MTP layer, which reads the token after each position.
  void fill_step(const std::vector<Piece>& pieces, std::int64_t shift) {
    step_.clear();
    for (const Piece& p : pieces) {
      const std::span<const std::int32_t> ids = sequences_[p.seq];
      step_.add(
          ids.subspan(static_cast<std::size_t>(p.begin + shift), static_cast<std::size_t>(p.end - p.begin)),
          p.begin, tables_[p.seq].ids(), kBlockSize, options_.path == EvalPath::kPrefill);
    }
  }

  void report(std::int64_t tokens) {
    done_ += tokens;
    if (progress_) progress_(done_, total_);
  }

  void main_step(const std::vector<Piece>& pieces) {
    fill_step(pieces, 0);
    model_.forward(ctx_, step_, options_.attention, *cache_, *scratch_,
                   hidden_.view().row_range(0, step_.tokens()));
    std::int64_t row = 0;
    for (const Piece& p : pieces) {
      const std::int64_t count = p.end - p.begin;
      copy_rows(hidden_.view().row_range(row, row + count),
                out_[p.seq].main.view().row_range(p.begin, p.end));
      row += count;
    }
    report(step_.tokens());
  }

  void run_mtp() {
    for (std::int64_t& length : lengths_) --length;
    for (std::size_t b = 0; b < lengths_.size(); ++b)
      out_[b].mtp = Matrix<float>(lengths_[b], model_.config().hidden_size);
    mtp_hidden_ = Matrix<float>(hidden_.rows(), hidden_.cols());
    for (const auto& pieces : make_plan()) mtp_step(pieces);
  }

  void mtp_step(const std::vector<Piece>& pieces) {
    fill_step(pieces, 1);
    const std::int64_t tokens = step_.tokens();
    std::int64_t row = 0;
    for (const Piece& p : pieces) {
      copy_rows(out_[p.seq].main.view().row_range(p.begin, p.end), hidden_.view().row_range(row, tokens));
      row += p.end - p.begin;
    }
    model_.mtp_forward(ctx_, step_, options_.attention, *cache_, *scratch_,
                       hidden_.view().row_range(0, tokens), mtp_hidden_.view().row_range(0, tokens));
    row = 0;
    for (const Piece& p : pieces) {
      const std::int64_t count = p.end - p.begin;
      copy_rows(mtp_hidden_.view().row_range(row, row + count),
                out_[p.seq].mtp.view().row_range(p.begin, p.end));
      row += count;
    }
    report(tokens);
  }

  const DeepseekModel& model_;
  OpContext& ctx_;
  std::span<const std::vector<std::int32_t>> sequences_;
  const EvalOptions& options_;
  const EvalProgress& progress_;
  std::vector<std::int64_t> lengths_;
  std::int64_t done_ = 0, total_ = 0;  // tokens
  std::unique_ptr<LatentCache> cache_;
  std::unique_ptr<BlockPool> pool_;  // before tables_, which give their blocks back to it
  std::vector<BlockTable> tables_;
  std::unique_ptr<Scratch> scratch_;
  Matrix<float> hidden_, mtp_hidden_;  // [step tokens, hidden_size]
  StepBatch step_;
  std::vector<SequenceHidden> out_;
};

}  // namespace

void check_sequence(const ModelConfig& config, std::span<const std::int32_t> ids, const std::string& where) {
  const auto length = static_cast<std::int64_t>(ids.size());
  if (length == 0)
    throw_error(ErrorCode::kInvalidArgument, "{}: at least one token expected, got none", where);
  if (length > config.max_position_embeddings)
    throw_error(
        ErrorCode::kInvalidArgument,
        "{}: {} tokens, but the context of the model is {} (max_position_embeddings); shorten the text",
        where, length, config.max_position_embeddings);
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
  return Run(model, ctx, sequences, options, progress).run(with_mtp);
}

}  // namespace latent8
