#pragma once
// Streamed answers of reasoning models, parted into reasoning and content.

#include <string>
#include <string_view>

namespace latent8 {

struct ReasoningDelta {
  std::string reasoning;
  std::string content;
};

// Text before the first close tag is reasoning, text after it content. An answer that starts with the open
// tag is reasoning from there on. Tags themselves, a newline after the open tag and the newlines after the
// close tag are in neither. The tags may arrive in any number of pieces.
class ReasoningParser {
 public:
  struct Options {
    // The generation prompt ended inside an opened tag, so that the answer begins with reasoning.
    bool starts_inside = false;
    std::string open_tag = "<think>";
    std::string close_tag = "</think>";
    std::string content_mark;  // ends reasoning too, and is content; "" for none
  };

  explicit ReasoningParser(Options options);

  // Whether the last open_tag of a prompt has no close_tag after it and only white space follows it.
  static bool prompt_opens(std::string_view prompt, std::string_view open_tag = "<think>");

  ReasoningDelta push(std::string_view text);
  // The text ends here: what was held back. Reasoning without a close tag stays reasoning.
  ReasoningDelta finish();
  // Whether text that arrives at this point would be reasoning.
  bool inside() const { return state_ == State::kInside || state_ == State::kAfterOpen; }

 private:
  enum class State {
    kStart,      // nothing but white space so far; the open tag may come
    kAfterOpen,  // inside, at the newline that may follow the open tag
    kInside,
    kAfterClose,  // content, at the newlines that may follow the close tag
    kContent,
  };

  // One step of the state machine over held_; false: more text is needed.
  bool advance(ReasoningDelta& delta);

  Options options_;
  State state_;
  std::string held_;
};

}  // namespace latent8
