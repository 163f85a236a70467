#include "text/pre_tokenizer.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "formats/json.h"
#include "text/growth.h"
#include "text/json_file.h"
#include "text/onig_syntax.h"

namespace latent8 {
namespace {

using SortedJson = nlohmann::json;

// What ByteLevel with use_regex cuts by. Source: GPT-2.
constexpr std::string_view kByteLevelRegex =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
// Whitespace: words and runs of other characters. Rust's \w has the joiners, unlike Oniguruma's.
constexpr std::string_view kWords = "[[:word:]\\u200c\\u200d]+|[^[:word:]\\u200c\\u200d\\s]+";
constexpr std::string_view kPunctuation = "[\\p{P}!-/:-@\\[-`{-~]";

}  // namespace

PreTokenizer::PreTokenizer(const SortedJson& json, const std::string& where) {
  if (!json.is_null()) add(json, where);
}

void PreTokenizer::add(const SortedJson& part, const std::string& where) {
  const JsonFields fields(part, where + ": pre_tokenizer");
  const std::string type = fields.text("type");
  if (is_byte_level_)
    throw_error(ErrorCode::kUnsupported,
                "{}: pre_tokenizer {} after ByteLevel is not supported; ByteLevel must be the last", where,
                shown_json(type));
  if (type == "Sequence") {
    const SortedJson* inner = fields.find("pretokenizers");
    if (inner == nullptr || !inner->is_array()) fields.refuse("pretokenizers", "an array");
    for (const SortedJson& each : *inner) add(each, where);
  } else if (type == "ByteLevel") {
    Stage stage;
    if (fields.boolean("add_prefix_space", true)) {
      stage.prefix = " ";
      stage.prefix_where = Prefix::kAlways;
    }
    if (fields.boolean("use_regex", true)) stage.regex.emplace(kByteLevelRegex, where);
    if (stage.regex || !stage.prefix.empty()) stages_.push_back(std::move(stage));
    is_byte_level_ = true;
  } else if (type == "Split") {
    add_split(part, where);
  } else if (type == "Digits") {
    add_regex(fields.boolean("individual_digits", false) ? "\\p{N}" : "\\p{N}+", Behavior::kIsolated, where);
  } else if (type == "Punctuation") {
    add_regex(kPunctuation, behavior(part, where), where);
  } else if (type == "Whitespace") {
    add_regex(kWords, Behavior::kRemoved, where);
    stages_.back().invert = true;
  } else if (type == "WhitespaceSplit") {
    add_regex("\\s", Behavior::kRemoved, where);
  } else if (type == "CharDelimiterSplit") {
    add_regex(escape_regex(fields.text("delimiter")), Behavior::kRemoved, where);
  } else if (type == "Metaspace") {
    add_metaspace(part, where);
  } else {
    throw_error(
        ErrorCode::kUnsupported,
        "{}: pre_tokenizer {} is not supported (Split, Digits, Punctuation, Whitespace, WhitespaceSplit, "
        "CharDelimiterSplit, Metaspace, ByteLevel and Sequence are)",
        where, shown_json(type));
  }
}

void PreTokenizer::add_regex(std::string_view regex, Behavior behavior, const std::string& where) {
  Stage stage;
  stage.regex.emplace(regex, where);
  stage.behavior = behavior;
  stages_.push_back(std::move(stage));
}

PreTokenizer::Behavior PreTokenizer::behavior(const SortedJson& part, const std::string& where) {
  const JsonFields fields(part, where + ": pre_tokenizer");
  static constexpr std::array<std::pair<std::string_view, Behavior>, 5> kNames = {{
      {"isolated", Behavior::kIsolated},
      {"removed", Behavior::kRemoved},
      {"mergedwithprevious", Behavior::kMergedWithPrevious},
      {"mergedwithnext", Behavior::kMergedWithNext},
      {"contiguous", Behavior::kContiguous},
  }};
  const std::string name = fields.text("behavior", "Isolated");
  std::string plain;
  for (const char c : name)
    if (c != '_') plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  for (const auto& [known, value] : kNames)
    if (known == plain) return value;
  fields.refuse("behavior", "Isolated, Removed, MergedWithPrevious, MergedWithNext or Contiguous");
}

void PreTokenizer::add_split(const SortedJson& part, const std::string& where) {
  const JsonFields fields(part, where + ": pre_tokenizer Split");
  const std::string regex = regex_of_pattern(fields, "pattern", where + ": pre_tokenizer Split");
  if (regex.empty()) return;  // finds nothing
  add_regex(regex, behavior(part, where), where);
  stages_.back().invert = fields.boolean("invert", false);
}

void PreTokenizer::add_metaspace(const SortedJson& part, const std::string& where) {
  const JsonFields fields(part, where + ": pre_tokenizer Metaspace");
  Stage stage;
  stage.from = " ";
  stage.to = fields.text("replacement");
  stage.prefix = stage.to;
  const std::string scheme = fields.one_of("prepend_scheme", {"always", "first", "never"}, "always");
  stage.prefix_where = scheme == "never"   ? Prefix::kNever
                       : scheme == "first" ? Prefix::kFirst
                                           : Prefix::kAlways;
  // Before there was prepend_scheme.
  if (!fields.boolean("add_prefix_space", true)) stage.prefix_where = Prefix::kNever;
  if (fields.boolean("split", true)) {
    stage.regex.emplace(escape_regex(stage.to), where);
    stage.behavior = Behavior::kMergedWithNext;
  }
  stages_.push_back(std::move(stage));
}

bool PreTokenizer::keeps_text() const {
  return std::all_of(stages_.begin(), stages_.end(), [](const Stage& stage) {
    return stage.from.empty() && stage.behavior != Behavior::kRemoved;
  });
}

void PreTokenizer::split(std::string_view text, bool at_start, SplitRegex::Matcher& matcher,
                         Pieces& pieces) const {
  pieces.text = text;
  pieces.ranges.clear();
  if (!text.empty()) pieces.ranges.push_back({0, text.size()});
  std::vector<TextRange> cut_ranges;
  for (const Stage& stage : stages_) {
    if (stage.prefix_where != Prefix::kNever || !stage.from.empty())
      change(stage, at_start, text.size(), pieces);
    if (!stage.regex) continue;
    cut_ranges.clear();
    for (const TextRange piece : pieces.ranges) cut(stage, pieces.text, piece, matcher, cut_ranges);
    pieces.ranges.swap(cut_ranges);
  }
}

void PreTokenizer::change(const Stage& stage, bool at_start, std::size_t text_bytes, Pieces& pieces) {
  std::string out;
  out.reserve(pieces.text.size() + pieces.text.size() / 2);
  for (TextRange& piece : pieces.ranges) {
    const std::string_view before = pieces.text.substr(piece.begin, piece.end - piece.begin);
    const bool may_prefix = stage.prefix_where == Prefix::kAlways ||
                            (stage.prefix_where == Prefix::kFirst && at_start && piece.begin == 0);
    const std::size_t begin = out.size();
    for (const char c : before) {
      if (!stage.from.empty() && c == stage.from[0]) {
        out += stage.to;
        check_growth("pre_tokenizer", text_bytes, out.size());
      } else {
        out += c;
      }
    }
    if (may_prefix && !std::string_view(out).substr(begin).starts_with(stage.prefix))
      out.insert(begin, stage.prefix);
    check_growth("pre_tokenizer", text_bytes, out.size());
    piece = {begin, out.size()};
  }
  pieces.changed = std::move(out);
  pieces.text = pieces.changed;
}

// Matches and what lies between them, with what the behaviour does to either.
void PreTokenizer::cut(const Stage& stage, std::string_view text, TextRange piece,
                       SplitRegex::Matcher& matcher, std::vector<TextRange>& out) {
  struct Part {
    TextRange range;
    bool is_match;
  };
  std::vector<Part> parts;
  std::size_t done = piece.begin;
  stage.regex->for_each_match(text.substr(piece.begin, piece.end - piece.begin), matcher,
                              [&](TextRange match) {
                                const TextRange found{piece.begin + match.begin, piece.begin + match.end};
                                if (done < found.begin) parts.push_back({{done, found.begin}, stage.invert});
                                parts.push_back({found, !stage.invert});
                                done = found.end;
                              });
  if (done < piece.end) parts.push_back({{done, piece.end}, stage.invert});

  const std::size_t first = out.size();
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const bool after_match = i > 0 && parts[i - 1].is_match;
    bool joins = false;  // the piece before
    switch (stage.behavior) {
      case Behavior::kIsolated:
        break;
      case Behavior::kRemoved:
        if (parts[i].is_match) continue;
        break;
      case Behavior::kMergedWithPrevious:
        joins = parts[i].is_match && !after_match;
        break;
      case Behavior::kMergedWithNext:
        joins = after_match && !parts[i].is_match;
        break;
      case Behavior::kContiguous:
        joins = i > 0 && parts[i].is_match == after_match;
        break;
    }
    if (joins && out.size() > first) {
      out.back().end = parts[i].range.end;
    } else {
      out.push_back(parts[i].range);
    }
  }
  const auto is_empty = [](const TextRange& range) { return range.begin == range.end; };
  out.erase(std::remove_if(out.begin() + static_cast<std::ptrdiff_t>(first), out.end(), is_empty), out.end());
}

}  // namespace latent8
