#pragma once
// The pre_tokenizer of tokenizer.json: where text is cut before byte-pair merging.

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <nlohmann/json_fwd.hpp>

#include "text/split_regex.h"

namespace latent8 {

// Thread-safety: immutable after construction.
class PreTokenizer {
 public:
  // json: the value of "pre_tokenizer"; null: the text stays whole.
  // Throws: Error{kUnsupported | kCorrupt} naming `where` and the part that cannot be honoured.
  PreTokenizer(const nlohmann::json& json, const std::string& where);

  // Whether pieces are merged byte by byte (ByteLevel) and not character by character.
  bool is_byte_level() const { return is_byte_level_; }
  // Whether all of a text is in its pieces as it is, beside spaces in front.
  bool keeps_text() const;

  // The pieces of a text. Where a part of the pre_tokenizer changes text (a prefix space, Metaspace), they
  // are ranges of a changed copy.
  struct Pieces {
    std::string_view text;          // what the ranges refer to
    std::string changed;            // owns `text` if the text was changed
    std::vector<TextRange> ranges;  // in order, none empty
  };
  // at_start: the text begins the whole input (no added token stands before it).
  // REQUIRES: text is UTF-8. pieces is overwritten and refers to text.
  void split(std::string_view text, bool at_start, SplitRegex::Matcher& matcher, Pieces& pieces) const;

 private:
  enum class Behavior { kIsolated, kRemoved, kMergedWithPrevious, kMergedWithNext, kContiguous };
  enum class Prefix { kNever, kFirst, kAlways };
  // A stage cuts what the stages before left. First it changes the text: `from` becomes `to`, and `prefix`
  // goes in front where the piece does not begin with it.
  struct Stage {
    std::string from, to;
    std::string prefix;
    Prefix prefix_where = Prefix::kNever;
    std::optional<SplitRegex> regex;
    Behavior behavior = Behavior::kIsolated;
    bool invert = false;
  };

  void add(const nlohmann::json& part, const std::string& where);
  void add_split(const nlohmann::json& part, const std::string& where);
  void add_metaspace(const nlohmann::json& part, const std::string& where);
  void add_regex(std::string_view regex, Behavior behavior, const std::string& where);
  static Behavior behavior(const nlohmann::json& part, const std::string& where);
  static void change(const Stage& stage, bool at_start, std::size_t text_bytes, Pieces& pieces);
  static void cut(const Stage& stage, std::string_view text, TextRange piece, SplitRegex::Matcher& matcher,
                  std::vector<TextRange>& out);

  std::vector<Stage> stages_;
  bool is_byte_level_ = false;
};

}  // namespace latent8
