#include "text/tool_format.h"

#include <algorithm>
#include <array>
#include <utility>

#include "text/tool_marks.h"

namespace latent8 {
namespace {

constexpr std::array<std::pair<std::string_view, ToolFormat>, 6> kNames = {{
    {"none", ToolFormat::kNone},
    {"deepseek_v3", ToolFormat::kDeepseekV3},
    {"deepseek_v31", ToolFormat::kDeepseekV31},
    {"kimi_k2", ToolFormat::kKimiK2},
    {"glm47", ToolFormat::kGlm47},
    {"glm45", ToolFormat::kGlm47},
}};

}  // namespace

std::string_view to_string(ToolFormat format) {
  for (const auto& [name, known] : kNames)
    if (known == format) return name;
  return "none";
}

std::optional<ToolFormat> tool_format(std::string_view name) {
  for (const auto& [known, format] : kNames)
    if (known == name) return format;
  return std::nullopt;
}

bool is_tool_name(std::string_view text) {
  constexpr std::size_t kMaxName = 256;
  return !text.empty() && text.size() <= kMaxName && std::all_of(text.begin(), text.end(), [](char c) {
    return static_cast<unsigned char>(c) > ' ' &&
           std::string_view("<>{}\"").find(c) == std::string_view::npos;
  });
}

ToolFormat detect_tool_format(std::string_view chat_template) {
  const auto writes = [&](std::string_view mark) {
    return chat_template.find(mark) != std::string_view::npos;
  };
  if (writes(tool_marks(ToolFormat::kDeepseekV3).section_begin))
    return writes("```json") ? ToolFormat::kDeepseekV3 : ToolFormat::kDeepseekV31;
  if (writes(tool_marks(ToolFormat::kKimiK2).separator)) return ToolFormat::kKimiK2;
  if (writes(kArgKey)) return ToolFormat::kGlm47;
  return ToolFormat::kNone;
}

}  // namespace latent8
