#pragma once
// The beginning of a tool call, up to its arguments. Private to tool_parser.cpp.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "text/tool_format.h"
#include "text/tool_marks.h"

namespace latent8 {

struct ToolHead {
  enum class Is : std::uint8_t { kYes, kNo, kMore };  // kMore: more text is needed to know
  Is is = Is::kNo;
  std::size_t length = 0;  // of the head, up to the arguments
  std::string name;
  std::string id;         // "" where the model gives none
  bool in_fence = false;  // the arguments stand in a block of Markdown
};

// text: white space, section_begin or call_begin, and what follows.
ToolHead read_tool_head(ToolFormat format, const ToolMarks& marks, std::string_view text);

}  // namespace latent8
