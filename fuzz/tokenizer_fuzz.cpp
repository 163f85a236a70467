// The files of a tokenizer. The first byte chooses: 'j' tokenizer.json, 'c' a tokenizer_config.json beside a
// small tokenizer.json, 'k' tiktoken.model, its lines after those of the 256 bytes. Allowed: a tokenizer
// whose ids are those of its vocabulary, or an Error.

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/check.h"
#include "json_mutator.h"
#include "latent8/error.h"
#include "support/temp_dir.h"
#include "text/tokenizer.h"

namespace latent8 {
namespace {

constexpr std::string_view kSmall =
    R"({"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]},
        "decoder": {"type": "Metaspace", "replacement": "_"}, "added_tokens": [{"id": 3, "content": "<s>"}]})";

std::string byte_lines() {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string lines;
  for (unsigned byte = 0; byte < 256; ++byte)
    lines += std::string{kDigits[byte >> 2], kDigits[(byte & 3) << 4]} + "== " + std::to_string(byte) + "\n";
  return lines;
}

void use(const Tokenizer& tokenizer) {
  constexpr std::array kTexts = {"", "a", "Hello  world, 12345!\n\n",
                                 "<s>a</s> \xE2\x96\x81\xC3\xA9\xF0\x9F\x98\x80",
                                 "                                ab"};
  for (const std::string_view text : kTexts) {
    const auto in_vocabulary = [&](std::int32_t id) { return id >= 0 && id < tokenizer.vocab_size(); };
    for (const bool special : {false, true}) {
      const auto ids = tokenizer.encode(text, special);
      LATENT8_CHECK(std::all_of(ids.begin(), ids.end(), in_vocabulary));
      static_cast<void>(tokenizer.decode(ids, special));
    }
    const auto ids = tokenizer.encode_prompt(text);
    LATENT8_CHECK(std::all_of(ids.begin(), ids.end(), in_vocabulary));
  }
}

void read_any(char kind, std::string_view text) {
  const TempDir dir;
  if (kind == 'j') dir.write("tokenizer.json", text);
  if (kind == 'c') {
    dir.write("tokenizer.json", kSmall);
    dir.write("tokenizer_config.json", text);
  }
  if (kind == 'k') dir.write("tiktoken.model", byte_lines() + std::string(text));
  use(Tokenizer::load(dir.path()));
}

}  // namespace
}  // namespace latent8

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  return latent8::mutate_json(data, size, max_size, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    latent8::read_any(static_cast<char>(data[0]), {reinterpret_cast<const char*>(data + 1), size - 1});
  } catch (const latent8::Error&) {
    return 0;
  }
  return 0;
}
