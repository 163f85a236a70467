#pragma once
// The engine thread's work: takes requests, runs steps, samples, answers.

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "engine/chunk_budget.h"
#include "engine/draft_policy.h"
#include "engine/drafter.h"
#include "engine/options.h"
#include "engine/scheduler.h"
#include "engine/token_chooser.h"
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
  struct End {
    RequestId id;
    FinishReason reason;
    std::string message;
  };

  Inbox take_inbox(bool wait);
  void accept(Inbox inbox);
  void cancel_all();
  void step();
  StepPlan plan_of(std::span<const Chunk> chunks, std::vector<LogitsRow>& rows) const;
  void deliver();
  bool deliver(const LogitsRow& row, const SampleResult& result);
  void tell_prompt_token(Sequence& seq, const SampleResult& result);
  bool append(Sequence& seq, const SampleResult& result);
  bool take_token(Sequence& seq, std::int32_t id);
  void draft(std::span<const Chunk> chunks, double step_s);
  void count(std::span<const Chunk> chunks, std::span<const std::int64_t> clipped_codes);
  void fail(std::span<const Chunk> chunks, const std::string& message);
  void end(Sequence& seq, FinishReason reason, std::string message = "");
  void finish(RequestId id, FinishReason reason, std::string message = "");
  void report();

  std::int64_t num_blocks_, max_waiting_, max_drafts_;
  std::shared_ptr<const DeepseekModel> model_;  // shared: see Engine
  ThreadPool pool_;
  OpContext ctx_;
  StepRunner runner_;
  Scheduler scheduler_;
  ChunkBudget chunk_budget_;
  TokenChooser chooser_;
  Drafter drafter_;
  DraftPolicy draft_policy_;
  std::vector<End> ending_;        // of the step under way: their blocks are wanted until it is over
  std::vector<Outcome> finished_;  // answered when the step's figures are published
  EngineStats counters_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  Inbox inbox_;        // guarded by mutex_
  EngineStats stats_;  // guarded by mutex_
};

}  // namespace latent8
