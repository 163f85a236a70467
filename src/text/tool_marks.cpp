#include "text/tool_marks.h"

#include <string_view>

namespace latent8 {
namespace {

// "tool calls begin" as DeepSeek's tokenizers write it: full-width bars around, low lines between the words.
std::string deepseek(std::string_view words) {
  std::string mark = "<\xef\xbd\x9c";
  for (const char c : words) {
    if (c == ' ')
      mark += "\xe2\x96\x81";
    else
      mark += c;
  }
  return mark + "\xef\xbd\x9c>";
}

}  // namespace

ToolMarks tool_marks(ToolFormat format) {
  switch (format) {
    case ToolFormat::kNone:
      break;
    case ToolFormat::kDeepseekV3:
    case ToolFormat::kDeepseekV31:
      return {.section_begin = deepseek("tool calls begin"),
              .section_end = deepseek("tool calls end"),
              .call_begin = deepseek("tool call begin"),
              .separator = deepseek("tool sep"),
              .call_end = deepseek("tool call end")};
    case ToolFormat::kKimiK2:
      return {.section_begin = "<|tool_calls_section_begin|>",
              .section_end = "<|tool_calls_section_end|>",
              .call_begin = "<|tool_call_begin|>",
              .separator = "<|tool_call_argument_begin|>",
              .call_end = "<|tool_call_end|>"};
    case ToolFormat::kGlm47:
      return {.section_begin = "",
              .section_end = "",
              .call_begin = "<tool_call>",
              .separator = "",
              .call_end = "</tool_call>"};
  }
  return {};
}

std::vector<std::string> all_tool_marks(ToolFormat format) {
  const ToolMarks marks = tool_marks(format);
  std::vector<std::string> all;
  for (const std::string& mark :
       {marks.section_begin, marks.section_end, marks.call_begin, marks.separator, marks.call_end})
    if (!mark.empty()) all.push_back(mark);
  if (format == ToolFormat::kGlm47) all.insert(all.end(), {kArgKey, kArgKeyEnd, kArgValue, kArgValueEnd});
  return all;
}

}  // namespace latent8
