#pragma once
// How many tokens to guess so that most come per second.

#include <array>
#include <cstdint>
#include <map>

#include "latent8/engine.h"

namespace latent8 {

// Drafts cost twice: the MTP layer makes them, and the next step is longer by them; with routed experts two
// tokens may read twice the weights of one. Both times are measured by shape, and how often drafts of each
// place come. The number is the one of which most tokens per second are expected; what was not measured yet,
// or long ago, is tried now and then. Where none pays and the MTP layer alone would slow the steps, it rests.
// Thread-safety: none; the engine thread's.
class DraftPolicy {
 public:
  using PerPlace = std::array<std::int64_t, kMaxSpeculativeTokens>;
  struct Choice {
    std::int64_t drafts = 0;
    bool rests = false;  // the MTP layer does not even follow
  };

  // most: drafts of a sequence; always so many if `fixed`.
  DraftPolicy(std::int64_t most, bool fixed) : most_(most), fixed_(fixed) {}

  // For `sequences` that decode, of which `followed` can be drafted for.
  Choice choose(std::int64_t sequences, std::int64_t followed);

  // A step of `tokens` tokens, none of a prompt, took time_s.
  void observe_step(std::int64_t tokens, double time_s) { steps_.add(tokens, time_s); }
  // The MTP layer took time_s for `drafts` drafts of each of `followed` sequences that decode.
  void observe_drafting(std::int64_t followed, std::int64_t drafts, double time_s) {
    drafting_[static_cast<std::size_t>(drafts)].add(followed, time_s);
  }
  // Drafts of a step by their place, and those of them that came.
  void observe_drafts(const PerPlace& drafted, const PerPlace& accepted);

 private:
  // The least of late times: what other processes take only adds to it.
  class Times {
   public:
    void add(double time_s) { late_[static_cast<std::size_t>(count_++) % late_.size()] = time_s; }
    bool known() const { return count_ >= 3; }
    double least() const;

   private:
    std::array<double, 5> late_{};
    std::int64_t count_ = 0;
  };

  // By the number of tokens.
  class TimesByShape {
   public:
    void add(std::int64_t tokens, double time_s);
    // 0: not known. A number that was not measured takes the time of the nearest one that was, if that is
    // near, and a part of it if that is larger: who hopes too much tries, and then knows.
    double least(std::int64_t tokens) const;
    void clear() { times_.clear(); }

   private:
    std::map<std::int64_t, Times> times_;
  };

  double tokens_expected(std::int64_t sequences, std::int64_t followed, std::int64_t drafts) const;
  // 0: not known.
  double time_of(std::int64_t sequences, std::int64_t followed, std::int64_t drafts) const;
  std::int64_t best(std::int64_t sequences, std::int64_t followed) const;
  std::int64_t best_or_tried(std::int64_t best);
  bool may_rest(std::int64_t sequences, std::int64_t followed) const;

  std::int64_t most_;
  bool fixed_;
  std::int64_t choices_ = 0;
  std::int64_t tried_ = 0;   // the number that is tried, or was last
  std::int64_t pauses_ = 0;  // choices without drafts since the last with some
  TimesByShape steps_;
  std::array<TimesByShape, kMaxSpeculativeTokens + 1> drafting_;      // by drafts
  std::array<double, kMaxSpeculativeTokens> drafted_{}, accepted_{};  // late ones count more
};

}  // namespace latent8
