#include "text/tool_head.h"

#include <algorithm>

#include "text/white_space.h"

namespace latent8 {
namespace {

using Is = ToolHead::Is;

constexpr std::string_view kFence = "```json";
constexpr std::size_t kMaxPart = 512;  // bytes; longer ones name nothing

// A place in a text that may go on later.
struct Cursor {
  std::string_view text;
  std::size_t at = 0;

  void skip_space() { at = latent8::skip_space(text, at); }
  // Passes `mark` if it stands here.
  Is pass(std::string_view mark) {
    const std::string_view rest = text.substr(at);
    if (!rest.starts_with(mark)) return mark.starts_with(rest) ? Is::kMore : Is::kNo;
    at += mark.size();
    return Is::kYes;
  }
  // Reads up to one of the characters `ends`, which is not passed.
  Is read(std::string_view ends, std::string& out) {
    const std::size_t end = std::min(text.find_first_of(ends, at), text.size());
    if (end - at > kMaxPart) return Is::kNo;
    if (end == text.size()) return Is::kMore;
    out = trimmed(text.substr(at, end - at));
    at = end;
    return Is::kYes;
  }
};

// "functions.NAME:INDEX" is both an id and a name.
void read_kimi_name(ToolHead& head) {
  std::string_view name = head.name;
  const std::size_t colon = name.rfind(':');
  const bool has_index = colon != std::string_view::npos && colon + 1 < name.size() &&
                         name.find_first_not_of("0123456789", colon + 1) == std::string_view::npos;
  if (has_index) {
    head.id = name;
    name = name.substr(0, colon);
  }
  constexpr std::string_view kPrefix = "functions.";
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  head.name = std::string(name);
}

// NAME and the first key, or the end of the call.
Is read_tagged(const ToolMarks& marks, Cursor& cursor, ToolHead& head) {
  cursor.skip_space();
  if (const Is is = cursor.read("\n<", head.name); is != Is::kYes) return is;
  Cursor next = cursor;
  next.skip_space();
  const Is key = next.pass(kArgKey);
  return key == Is::kNo ? next.pass(marks.call_end) : key;
}

Is read_separated(ToolFormat format, const ToolMarks& marks, Cursor& cursor, ToolHead& head) {
  if (const Is is = cursor.read("<", head.name); is != Is::kYes) return is;
  if (const Is is = cursor.pass(marks.separator); is != Is::kYes) return is;
  if (format == ToolFormat::kKimiK2) read_kimi_name(head);
  if (format != ToolFormat::kDeepseekV3) return Is::kYes;
  // What came was the type of the tool.
  if (const Is is = cursor.read("\n", head.name); is != Is::kYes) return is;
  cursor.skip_space();
  const Is fence = cursor.pass(kFence);
  head.in_fence = fence == Is::kYes;
  return fence == Is::kMore ? Is::kMore : Is::kYes;
}

}  // namespace

ToolHead read_tool_head(ToolFormat format, const ToolMarks& marks, std::string_view text) {
  ToolHead head;
  Cursor cursor{text};
  cursor.skip_space();
  if (!marks.section_begin.empty() && cursor.pass(marks.section_begin) == Is::kYes) cursor.skip_space();
  head.is = cursor.pass(marks.call_begin);
  if (head.is != Is::kYes) return head;
  head.is = format == ToolFormat::kGlm47 ? read_tagged(marks, cursor, head)
                                         : read_separated(format, marks, cursor, head);
  if (head.is == Is::kYes && !is_tool_name(head.name)) head.is = Is::kNo;
  head.length = cursor.at;
  return head;
}

}  // namespace latent8
