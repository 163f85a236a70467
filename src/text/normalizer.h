#pragma once
// The normalizer of tokenizer.json: how text is changed before it is split.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/split_regex.h"

namespace latent8 {

// Thread-safety: immutable after construction.
class Normalizer {
 public:
  // json: the value of "normalizer": null, NFC, NFD, Prepend, Replace, or a Sequence of these.
  // Throws: Error{kUnsupported | kCorrupt} naming `where` and the part that cannot be honoured.
  Normalizer(const nlohmann::json& json, const std::string& where);

  bool changes_nothing() const { return steps_.empty(); }
  // REQUIRES: text is UTF-8.
  std::string apply(std::string_view text, SplitRegex::Matcher& matcher) const;

 private:
  // Prepend: `content` goes in front of text that is not empty. Replace: `content` takes the place of
  // matches.
  enum class Kind { kPrepend, kReplace, kNfc, kNfd };
  struct Step {
    Kind kind;
    std::optional<SplitRegex> pattern;  // of kReplace
    std::string content;                // of kPrepend and kReplace
  };
  void add(const nlohmann::json& part, const std::string& where);

  std::vector<Step> steps_;
};

}  // namespace latent8
