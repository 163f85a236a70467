#pragma once
// How a model writes the calls of tools into its answer.

#include <cstdint>
#include <optional>
#include <string_view>

namespace latent8 {

enum class ToolFormat : std::uint8_t {
  kNone,         // calls are not told from text
  kDeepseekV3,   // DeepSeek-V3-0324 and R1-0528
  kDeepseekV31,  // DeepSeek-V3.1
  kKimiK2,
  kGlm47,  // GLM-4.5 to 4.7
};

// "none", "deepseek_v3", "deepseek_v31", "kimi_k2", "glm47": vLLM's names of its parsers.
std::string_view to_string(ToolFormat format);
// The format of a name; "glm45" is "glm47". nullopt for other names.
std::optional<ToolFormat> tool_format(std::string_view name);
// The format whose marks a chat template writes; kNone if it writes those of none.
ToolFormat detect_tool_format(std::string_view chat_template);

// Whether a tool may have this name: at most 256 bytes without white space and the characters <>{}".
bool is_tool_name(std::string_view text);

}  // namespace latent8
