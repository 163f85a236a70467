#include "text/reasoning_parser.h"

#include <algorithm>
#include <utility>

#include "text/suffix_prefix.h"
#include "text/white_space.h"

namespace latent8 {
ReasoningParser::ReasoningParser(Options options)
    : options_(std::move(options)), state_(options_.starts_inside ? State::kAfterOpen : State::kStart) {}

bool ReasoningParser::prompt_opens(std::string_view prompt, std::string_view open_tag) {
  const std::size_t last = prompt.find_last_not_of(kSpace);
  return last != std::string_view::npos && prompt.substr(0, last + 1).ends_with(open_tag);
}

bool ReasoningParser::advance(ReasoningDelta& delta) {
  switch (state_) {
    case State::kStart: {
      const std::size_t begin = held_.find_first_not_of(kSpace);
      if (begin == std::string::npos) return false;
      const std::string_view rest = std::string_view(held_).substr(begin);
      if (rest.starts_with(options_.open_tag)) {
        held_.erase(0, begin + options_.open_tag.size());
        state_ = State::kAfterOpen;
      } else if (std::string_view(options_.open_tag).starts_with(rest)) {
        return false;
      } else {
        state_ = State::kContent;
      }
      return true;
    }
    case State::kAfterOpen:
      if (held_.empty()) return false;
      if (held_[0] == '\n') held_.erase(0, 1);
      state_ = State::kInside;
      return true;
    case State::kInside: {
      const std::size_t close = held_.find(options_.close_tag);
      const std::size_t mark =
          options_.content_mark.empty() ? std::string::npos : held_.find(options_.content_mark);
      const bool ends = close != std::string::npos || mark != std::string::npos;
      const std::size_t partial = std::max(longest_suffix_prefix(held_, options_.close_tag),
                                           longest_suffix_prefix(held_, options_.content_mark));
      const std::size_t length = ends ? std::min(close, mark) : held_.size() - partial;
      delta.reasoning += held_.substr(0, length);
      held_.erase(0, length + (ends && close < mark ? options_.close_tag.size() : 0));
      if (ends) state_ = close < mark ? State::kAfterClose : State::kContent;
      return ends;
    }
    case State::kAfterClose: {
      const std::size_t begin = held_.find_first_not_of('\n');
      if (begin == std::string::npos) {
        held_.clear();
        return false;
      }
      held_.erase(0, begin);
      state_ = State::kContent;
      return true;
    }
    case State::kContent:
      delta.content += std::exchange(held_, "");
      return false;
  }
  return false;
}

ReasoningDelta ReasoningParser::push(std::string_view text) {
  held_ += text;
  ReasoningDelta delta;
  while (advance(delta)) {
  }
  return delta;
}

ReasoningDelta ReasoningParser::finish() {
  ReasoningDelta delta;
  (inside() ? delta.reasoning : delta.content) = std::exchange(held_, "");
  return delta;
}

}  // namespace latent8
