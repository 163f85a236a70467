#pragma once
// The marks around tool calls in a model's answer.

#include <string>
#include <vector>

#include "text/tool_format.h"

namespace latent8 {

// A call is call_begin, what names the function, separator, the arguments, call_end.
struct ToolMarks {
  std::string section_begin, section_end;  // around all calls; "" where there is no such mark
  std::string call_begin, separator, call_end;
};

// All empty for kNone.
ToolMarks tool_marks(ToolFormat format);

// GLM's arguments are pairs between tags.
inline constexpr const char *kArgKey = "<arg_key>", *kArgKeyEnd = "</arg_key>", *kArgValue = "<arg_value>",
                            *kArgValueEnd = "</arg_value>";

// Every mark of the format: what must keep its text even where tokenizers call it special.
std::vector<std::string> all_tool_marks(ToolFormat format);

}  // namespace latent8
