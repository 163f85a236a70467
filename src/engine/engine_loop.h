#pragma once
// The engine thread's work: takes requests, runs steps, samples, answers.

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/chunk_budget.h"
#include "engine/options.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "engine/step_masks.h"
#include "model/step_runner.h"
#include "ops/context.h"
#include "sys/thread_pool.h"

namespace latent8 {

// Thread-safety: run() belongs to one thread, the rest may be called from any.
class EngineLoop {
 public:
  EngineLoop(std::shared_ptr<const DeepseekModel> model, const ResolvedOptions& options,
             std::vector<std::int32_t> eos_token_ids);

  // Throws: Error{kUnavailable} if the queue is full.
  void submit(std::unique_ptr<Sequence> seq);
  void cancel(RequestId id);
  void stop();  // run() cancels what is left, and what sinks submit when they are told, and returns
  EngineStats stats() const;
  int threads() const { return pool_.threads(); }

  void run();

 private:
  struct Inbox {
    std::vector<std::unique_ptr<Sequence>> submitted;
    std::vector<RequestId> cancelled;
    bool stop = false;
    bool empty() const { return submitted.empty() && cancelled.empty() && !stop; }
  };
  struct Outcome {
    std::unique_ptr<Sequence> seq;
    Finish finish;
  };

  Inbox take_inbox(bool wait);
  void accept(Inbox inbox);
  void cancel_all();
  void step();
  StepResult run_step(std::span<const Chunk> chunks);
  // What a row of logits is wanted for: the token at `place` of a sequence.
  struct Row {
    Sequence* seq;
    std::int64_t place;
    bool samples;          // it is chosen; else it is of the prompt, and its logprob is told
    std::size_t mask = 0;  // which of masks_, where it is chosen and the sequence has one
  };

  StepPlan plan_of(std::span<const Chunk> chunks);
  void begin_masks();
  void evaluate(std::int64_t first_row, ConstMat<float> logits);
  SampleResult evaluate(const Row& row, std::span<const float> logits, Sampler& sampler);
  void deliver();
  void tell_prompt_token(Sequence& seq, const SampleResult& result);
  void append(Sequence& seq, const SampleResult& result);
  void count(std::span<const Chunk> chunks, std::span<const std::int64_t> clipped_codes, double time_s);
  void fail(std::span<const Chunk> chunks, const std::string& message);
  void finish(RequestId id, FinishReason reason, std::string message = "");
  void report();

  std::vector<std::int32_t> eos_token_ids_;
  std::int64_t num_blocks_, max_waiting_;
  std::shared_ptr<const DeepseekModel> model_;  // shared: see Engine
  ThreadPool pool_;
  OpContext ctx_;
  StepRunner runner_;
  Scheduler scheduler_;
  ChunkBudget chunk_budget_;
  std::vector<Sampler> samplers_;      // one per thread
  std::vector<Row> rows_;              // of the step's logits
  StepMasks masks_;                    // of these rows
  std::vector<SampleResult> results_;  // likewise
  std::vector<Outcome> finished_;      // answered when the step's figures are published
  EngineStats counters_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Inbox inbox_;        // guarded by mutex_
  EngineStats stats_;  // guarded by mutex_
};

}  // namespace latent8
