#pragma once
// A tokenizer for the small random models, which have none.

#include <nlohmann/json.hpp>
#include <string>

#include "support/temp_dir.h"

namespace latent8 {

// A tokenizer whose tokens are BOS and single bytes, those of printable ASCII first: test models have 192.
inline void write_character_tokenizer(const TempDir& dir) {
  nlohmann::json vocab;
  // Code points that stand for bytes in byte-level vocabularies; those from 256 for bytes without a shape.
  std::int64_t next = 1;
  for (int code = '!'; code < 256 + 68; ++code) {
    if ((code > '~' && code < 0xa1) || code == 0xad) continue;
    std::string text(1, static_cast<char>(code));
    if (code > '~') text = {static_cast<char>(0xc0 | code >> 6), static_cast<char>(0x80 | (code & 0x3f))};
    vocab[text] = next++;
  }
  const nlohmann::json bos{{"id", 0},         {"content", "<s>"},    {"special", true},     {"lstrip", false},
                           {"rstrip", false}, {"normalized", false}, {"single_word", false}};
  const nlohmann::json level{{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  const nlohmann::json file{
      {"added_tokens", {bos}},
      {"normalizer", nullptr},
      {"pre_tokenizer", level},
      {"decoder", level},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}};
  dir.write("tokenizer.json", file.dump());
  dir.write("tokenizer_config.json", R"({"bos_token": "<s>"})");
}

}  // namespace latent8
