#pragma once
// Streamed answers, parted into content and calls of tools.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "text/tool_arguments.h"
#include "text/tool_format.h"
#include "text/tool_marks.h"

namespace latent8 {

struct ToolEvent {
  enum class Kind : std::uint8_t { kContent, kBegin, kArguments, kEnd };
  Kind kind = Kind::kContent;
  std::size_t index = 0;  // of the call in the answer
  std::string text;       // of kContent and kArguments; never empty
  std::string name, id;   // of kBegin; id is "" where the format has none
};

// The same text gives the same content and calls in whatever pieces of whole characters it arrives. A call
// begins as soon as its function is named; the texts of its kArguments join to one JSON text where the model
// wrote one.
//
// What is not well formed is never dropped: a call that is not named (cut off, or with a name that cannot be
// one) stays content, marks included; one that ends inside its arguments ends there; arguments that are no
// JSON, and functions that nobody offered, are told as they come, as vLLM does: who asked must check both.
// White space before a call and after the last one is format, not content.
class ToolParser {
 public:
  // tools: OpenAI's list of definitions, for the types of arguments; may be nullptr or null.
  // max_calls: what follows the last of so many is dropped.
  explicit ToolParser(ToolFormat format, std::shared_ptr<const nlohmann::ordered_json> tools = nullptr,
                      std::size_t max_calls = std::numeric_limits<std::size_t>::max());

  std::vector<ToolEvent> push(std::string_view text);
  // The text ends here: what was held back.
  std::vector<ToolEvent> finish();
  std::size_t calls() const { return calls_; }

 private:
  enum class State : std::uint8_t { kText, kHead, kArguments };

  // One step over held_; false: more text is needed.
  bool advance(std::vector<ToolEvent>& events);
  bool advance_text(std::vector<ToolEvent>& events);
  bool advance_head(std::vector<ToolEvent>& events);
  bool advance_arguments(std::vector<ToolEvent>& events);
  void add_content(std::string text, std::vector<ToolEvent>& events) const;
  void add_arguments(std::string text, std::vector<ToolEvent>& events) const;
  void end_call(std::vector<ToolEvent>& events);

  ToolFormat format_;
  ToolMarks marks_;
  std::shared_ptr<const nlohmann::ordered_json> tools_;
  std::size_t max_calls_;
  std::size_t calls_ = 0;
  bool in_section_ = false;
  State state_ = State::kText;
  std::unique_ptr<ToolArguments> arguments_;
  std::string held_;
};

}  // namespace latent8
