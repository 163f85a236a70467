#pragma once
// The post_processor of tokenizer.json: the tokens that stand around a text.

#include <cstdint>
#include <string>
#include <vector>

#include <nlohmann/json_fwd.hpp>

namespace latent8 {

struct Affixes {
  std::vector<std::int32_t> prefix;
  std::vector<std::int32_t> suffix;
};

// json: the value of "post_processor": null, ByteLevel (adds nothing), TemplateProcessing, BertProcessing,
// RobertaProcessing or a Sequence of these. Throws: Error{kUnsupported | kCorrupt} naming `where` and the
// part.
Affixes read_post_processor(const nlohmann::json& json, const std::string& where);

}  // namespace latent8
