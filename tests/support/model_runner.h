#pragma once
// Running a model on token ids without the engine: chunks, batches, block sizes and page placement as a test
// wants them.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <vector>

#include "kv/block_pool.h"
#include "model/step_runner.h"

namespace latent8 {

std::filesystem::path source_path(const char* relative);  // of the repository

std::shared_ptr<const DeepseekModel> load_model(const std::filesystem::path& dir,
                                                const LoadOptions& options = {});

struct RunOptions {
  int threads = 2;
  std::int64_t block_size = 128;
  std::int64_t chunk = 1 << 20;  // tokens of a sequence per step
  bool prompt = true;            // SequencePlan::prompt
  std::int32_t skip_blocks = 0;  // taken before the run, so that pages lie elsewhere
  CacheType float_cache = CacheType::kF32;
  AttentionOptions attention;
  const char* isa = nullptr;  // name of a kernel table; nullptr: the default
  std::int64_t max_logits_rows = 64;
};

// A runner with cache and threads of its own, and blocks for sequences of given lengths, for tests that plan
// their steps themselves.
class TestSteps {
 public:
  // options.chunk: tokens of a sequence that one step may have
  TestSteps(const DeepseekModel& model, const std::vector<std::int64_t>& lengths,
            const RunOptions& options = {});

  // `ids` of sequence number `seq`, the first at `position`; all hidden states and logits.
  SequencePlan plan_of(std::size_t seq, std::span<const std::int32_t> ids, std::int64_t position) const;
  // Runs the step; logits [rows of the plan, vocab_size].
  Matrix<float> logits(const StepPlan& plan);
  const StepResult& last() const { return last_; }
  StepRunner& runner() { return *runner_; }

 private:
  bool prompt_;
  ThreadPool pool_;
  OpContext ctx_;
  std::unique_ptr<BlockPool> blocks_;  // before its handles
  std::vector<BlockRef> skipped_;
  std::vector<BlockTable> tables_;
  std::unique_ptr<StepRunner> runner_;
  StepResult last_;
};

// Logits [tokens, vocab_size] of every position of every sequence, one matrix per sequence; all sequences
// advance together, `chunk` tokens at a time.
std::vector<Matrix<float>> run_logits(const DeepseekModel& model,
                                      const std::vector<std::vector<std::int32_t>>& sequences,
                                      const RunOptions& options = {});
// MTP logits of one sequence: row i predicts the token after the next. [tokens - 1, vocab_size]
Matrix<float> run_mtp_logits(const DeepseekModel& model, std::span<const std::int32_t> ids,
                             const RunOptions& options = {});

bool bit_equal(const Matrix<float>& a, const Matrix<float>& b);
double largest_difference(ConstMat<float> a, ConstMat<float> b);

std::vector<std::int32_t> random_ids(std::int64_t count, std::int64_t vocab_size, std::uint64_t seed);

}  // namespace latent8
