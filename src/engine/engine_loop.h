#pragma once
// The engine thread's work: takes requests, runs steps, samples, answers.

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/options.h"
#include "engine/sampler.h"
#include "engine/scheduler.h"
#include "model/step_runner.h"
#include "ops/context.h"
#include "sys/thread_pool.h"

namespace latent8 {

// Thread-safety: run() belongs to one thread, the rest may be called from any.
class EngineLoop {
 public:
  EngineLoop(std::shared_ptr<const DeepseekModel> model, const ResolvedOptions& options,
             std::vector<std::int32_t> eos_token_ids);

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
  void deliver(std::span<Sequence* const> sampled);
  void append(Sequence& seq, const SampleResult& result);
  void sample(std::span<Sequence* const> seqs, std::int64_t first_row, ConstMat<float> logits);
  void count(std::span<const Chunk> chunks, std::span<const std::int64_t> clipped_codes);
  void finish(RequestId id, FinishReason reason, std::string message = "");
  void report();

  std::vector<std::int32_t> eos_token_ids_;
  std::int64_t num_blocks_;
  std::shared_ptr<const DeepseekModel> model_;  // shared: see Engine
  ThreadPool pool_;
  OpContext ctx_;
  StepRunner runner_;
  Scheduler scheduler_;
  std::vector<Sampler> samplers_;                  // one per thread
  std::vector<SampleResult> results_;              // one per sequence that is sampled
  std::vector<std::vector<std::uint64_t>> masks_;  // likewise; empty: every token
  std::vector<Outcome> finished_;                  // answered when the step's figures are published
  EngineStats counters_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Inbox inbox_;        // guarded by mutex_
  EngineStats stats_;  // guarded by mutex_
};

}  // namespace latent8
