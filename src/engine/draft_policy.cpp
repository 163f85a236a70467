#include "engine/draft_policy.h"

#include <algorithm>

namespace latent8 {
namespace {

constexpr std::int64_t kTryEvery = 256;     // choices; a wrong one costs half a step or less
constexpr std::int64_t kTries = 4;          // in a row: behind steps of another number the first one is slow
constexpr std::int64_t kBeforeRest = 8;     // steps without drafts: a sequence that is behind stays so
constexpr std::int64_t kRestFor = 4096;     // steps, after which drafts are measured anew
constexpr double kShareOfFollowing = 0.01;  // of a step's time, that the MTP layer may take for nothing
constexpr double kNear = 1.25;              // numbers of tokens that tell of each other
constexpr double kLikely = 0.7;             // how often a draft comes, before any has

}  // namespace

double DraftPolicy::Times::least() const {
  return *std::min_element(late_.begin(),
                           late_.begin() + std::min<std::ptrdiff_t>(count_, std::ssize(late_)));
}

// Beyond 32 tokens neighbouring numbers share a place: steps of one and the other take nearly the same time.
void DraftPolicy::TimesByShape::add(std::int64_t tokens, double time_s) {
  std::int64_t width = 1;
  while (tokens / width > 32) width *= 2;
  times_[tokens / width * width].add(time_s);
}

double DraftPolicy::TimesByShape::least(std::int64_t tokens) const {
  double nearest = kNear, time_s = 0.0;
  for (const auto& [measured, times] : times_) {
    const double larger = static_cast<double>(measured) / static_cast<double>(tokens);
    const double apart = std::max(larger, 1.0 / larger);
    if (!times.known() || apart > nearest) continue;
    nearest = apart;
    time_s = times.least() / std::max(larger, 1.0);
  }
  return time_s;
}

void DraftPolicy::observe_drafts(const PerPlace& drafted, const PerPlace& accepted) {
  constexpr double kFade = 0.99;
  for (std::size_t i = 0; i < drafted.size(); ++i) {
    if (drafted[i] == 0) continue;
    drafted_[i] = kFade * drafted_[i] + static_cast<double>(drafted[i]);
    accepted_[i] = kFade * accepted_[i] + static_cast<double>(accepted[i]);
  }
}

double DraftPolicy::tokens_expected(std::int64_t sequences, std::int64_t followed,
                                    std::int64_t drafts) const {
  double tokens = static_cast<double>(sequences), come = 1.0;
  for (std::size_t i = 0; i < static_cast<std::size_t>(drafts); ++i) {
    const double before = come;
    come = drafted_[i] >= 8.0 ? std::min(accepted_[i] / drafted_[i], before) : before * kLikely;
    tokens += come * static_cast<double>(followed);
  }
  return tokens;
}

double DraftPolicy::time_of(std::int64_t sequences, std::int64_t followed, std::int64_t drafts) const {
  const double step_s = steps_.least(sequences + followed * drafts);
  if (drafts == 0) return step_s;  // as if it rested
  const double drafting_s = drafting_[static_cast<std::size_t>(drafts)].least(followed);
  return step_s > 0.0 && drafting_s > 0.0 ? step_s + drafting_s : 0.0;
}

// Climbs as long as one more is better, or not known.
std::int64_t DraftPolicy::best(std::int64_t sequences, std::int64_t followed) const {
  double rate = 0.0;
  for (std::int64_t drafts = 0; drafts <= most_; ++drafts) {
    const double time_s = time_of(sequences, followed, drafts);
    if (time_s == 0.0) return drafts;
    const double next = tokens_expected(sequences, followed, drafts) / time_s;
    if (next <= rate) return drafts - 1;
    rate = next;
  }
  return most_;
}

bool DraftPolicy::may_rest(std::int64_t sequences, std::int64_t followed) const {
  return drafting_[0].least(followed) > kShareOfFollowing * time_of(sequences, followed, 0);
}

// The best, or one that is tried in its place: every number up to one more than the best in turn, for each
// time of old may have become wrong.
std::int64_t DraftPolicy::best_or_tried(std::int64_t best) {
  const std::int64_t place = ++choices_ % kTryEvery - (kTryEvery - kTries);
  if (place < 0) return best;
  if (place == 0) {
    const std::int64_t numbers = std::min(best + 1, most_) + 1;
    tried_ = (tried_ + 1) % numbers;
    if (tried_ == best) tried_ = (tried_ + 1) % numbers;
  }
  return tried_;
}

DraftPolicy::Choice DraftPolicy::choose(std::int64_t sequences, std::int64_t followed) {
  if (fixed_) return {.drafts = most_};
  if (sequences == 0) return {};
  const std::int64_t followers = followed > 0 ? followed : sequences;  // none: as if others had come
  const std::int64_t drafts = best(sequences, followers);
  if (drafts > 0 || time_of(sequences, followers, 0) == 0.0) {
    pauses_ = 0;
    return {.drafts = drafts > 0 ? best_or_tried(drafts) : 0};
  }
  if (++pauses_ > kRestFor) {
    for (TimesByShape& times : drafting_) times.clear();
    pauses_ = 0;
    return {};
  }
  const bool rests = pauses_ > kBeforeRest && may_rest(sequences, followers);
  return {.drafts = rests ? 0 : best_or_tried(0), .rests = rests};
}

}  // namespace latent8
