// Text of users and templates of checkpoints. The first byte chooses: 'j' a Jinja template, 't' text for the
// tokenizer in LATENT8_FUZZ_MODEL. Allowed: a checked result, or an Error.

#include <cstddef>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>

#include "base/check.h"
#include "latent8/error.h"
#include "text/incremental_detokenizer.h"
#include "text/jinja/template.h"
#include "text/tokenizer.h"

namespace latent8 {
namespace {

void render(std::string_view source) {
  const auto variables = nlohmann::ordered_json::parse(
      R"({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "a</think>b"}],
          "tools": null, "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>"})");
  static_cast<void>(JinjaTemplate(source, "fuzz").render(variables));
}

// Decoding gives the text back, whole and token by token.
void tokenize(std::string_view text) {
  static const Tokenizer tokenizer = Tokenizer::load(LATENT8_FUZZ_MODEL);
  const auto ids = tokenizer.encode(text);
  LATENT8_CHECK(tokenizer.decode(ids) == text);
  IncrementalDetokenizer detokenizer(tokenizer, true);
  std::string streamed;
  for (const std::int32_t id : ids) streamed += detokenizer.push(id);
  LATENT8_CHECK(streamed + detokenizer.finish() == text);
}

}  // namespace
}  // namespace latent8

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  try {
    if (data[0] == 'j') latent8::render(text);
    if (data[0] == 't') latent8::tokenize(text);
  } catch (const latent8::Error&) {
    return 0;
  }
  return 0;
}
