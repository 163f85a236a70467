#include "frontend/answer_mask.h"

#include <algorithm>
#include <utility>

namespace latent8 {
namespace {

using Phase = ReasoningState::Phase;

constexpr std::uint8_t kMaxNewlines = 2;

std::uint64_t bit(std::int32_t token) { return std::uint64_t{1} << (token % 64); }

void clear(std::span<std::uint64_t> bits, std::span<const std::int32_t> tokens) {
  for (const std::int32_t token : tokens) bits[static_cast<std::size_t>(token) / 64] &= ~bit(token);
}

}  // namespace

AnswerMask::AnswerMask(const ReasoningTokens& tokens, AnswerMaskOptions options,
                       std::unique_ptr<MaskProvider> grammar)
    : tokens_(tokens), options_(std::move(options)), grammar_(std::move(grammar)) {
  const Phase outside = grammar_ == nullptr ? Phase::kStart : Phase::kContent;
  steps_.push_back({.reasoning = {.phase = options_.starts_in_reasoning ? Phase::kInside : outside}});
}

bool AnswerMask::over_budget(const ReasoningState& reasoning) const {
  return options_.thinking_budget && reasoning.tokens >= *options_.thinking_budget;
}

void AnswerMask::restrict(std::span<std::uint64_t> bits) noexcept {
  const ReasoningState& reasoning = steps_.back().reasoning;
  if (reasoning.phase == Phase::kInside && over_budget(reasoning)) {
    const std::int32_t token = tokens_.close()[reasoning.forced % tokens_.close().size()];
    const std::uint64_t allowed = bits[static_cast<std::size_t>(token) / 64] & bit(token);
    std::fill(bits.begin(), bits.end(), 0);
    bits[static_cast<std::size_t>(token) / 64] = allowed;
  } else if (grammar_ == nullptr) {
    return;
  } else if (reasoning.phase == Phase::kInside) {
    clear(bits, options_.not_in_reasoning);
    clear(bits, tokens_.spilling(reasoning.matched));
  } else if (reasoning.phase == Phase::kClosed && steps_.back().newlines < kMaxNewlines &&
             !steps_.back().in_grammar) {
    restrict_between(bits);
  } else {
    grammar_->restrict(bits);
  }
}

// What the grammar allows, and newlines.
void AnswerMask::restrict_between(std::span<std::uint64_t> bits) noexcept {
  bits_.assign(bits.begin(), bits.end());
  grammar_->restrict(bits_);
  for (const std::int32_t token : tokens_.newlines()) {
    const std::size_t word = static_cast<std::size_t>(token) / 64;
    bits_[word] |= bits[word] & bit(token);
  }
  std::copy(bits_.begin(), bits_.end(), bits.begin());
}

bool AnswerMask::grammar_takes(std::int32_t token) noexcept {
  bits_.assign(std::max(bits_.size(), static_cast<std::size_t>(token) / 64 + 1), ~std::uint64_t{0});
  grammar_->restrict(bits_);
  return (bits_[static_cast<std::size_t>(token) / 64] & bit(token)) != 0;
}

void AnswerMask::accept(std::int32_t token) noexcept {
  Step step = steps_.back();
  const Phase phase = step.reasoning.phase;
  const bool after_reasoning = phase == Phase::kClosed || phase == Phase::kContent;
  if (grammar_ != nullptr && after_reasoning) {
    const bool between = phase == Phase::kClosed && !step.in_grammar && step.newlines < kMaxNewlines &&
                         tokens_.is_newlines(token) && !grammar_takes(token);
    if (between) {
      ++step.newlines;
    } else {
      grammar_->accept(token);
      step.in_grammar = true;
    }
  } else {
    step.reasoning = tokens_.next(step.reasoning, token);
  }
  steps_.push_back(step);
}

void AnswerMask::rollback(std::int64_t count) noexcept {
  std::int64_t of_grammar = 0;
  for (std::int64_t i = 0; i < count; ++i) {
    const Step undone = steps_.back();
    steps_.pop_back();
    const Step& before = steps_.back();
    const bool was_after =
        before.reasoning.phase == Phase::kClosed || before.reasoning.phase == Phase::kContent;
    if (grammar_ != nullptr && was_after && undone.newlines == before.newlines) ++of_grammar;
  }
  if (of_grammar > 0) grammar_->rollback(of_grammar);
}

}  // namespace latent8
