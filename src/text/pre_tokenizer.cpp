#include "text/pre_tokenizer.h"

#include <nlohmann/json.hpp>
#include <string>

#include "base/error.h"
#include "text/onig_syntax.h"

namespace latent8 {
namespace {

// What ByteLevel with use_regex cuts by. Source: GPT-2.
constexpr std::string_view kByteLevelRegex =
    "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";

std::string split_pattern(const nlohmann::json& part, std::string_view where) {
  const nlohmann::json& pattern = part.at("pattern");
  if (pattern.contains("Regex")) return pattern["Regex"].get<std::string>();
  if (pattern.contains("String")) return escape_regex(pattern["String"].get<std::string>());
  throw_error(ErrorCode::kUnsupported, "{}: Split with pattern {}: 'Regex' or 'String' expected", where,
              pattern.dump());
}

}  // namespace

PreTokenizer::PreTokenizer(const nlohmann::json& json, std::string_view where) {
  if (json.is_null()) {
    throw_error(ErrorCode::kUnsupported, "{}: no pre_tokenizer; a ByteLevel one is needed", where);
  }
  if (json.at("type") != "Sequence") {
    add(json, true, where);
    return;
  }
  const nlohmann::json& parts = json.at("pretokenizers");
  if (!parts.is_array() || parts.empty()) {
    throw_error(ErrorCode::kUnsupported, "{}: an empty pre_tokenizer; a ByteLevel one is needed", where);
  }
  for (std::size_t i = 0; i < parts.size(); ++i) add(parts[i], i + 1 == parts.size(), where);
}

void PreTokenizer::add(const nlohmann::json& part, bool last, std::string_view where) {
  const auto type = part.at("type").get<std::string>();
  if (last != (type == "ByteLevel")) {
    throw_error(ErrorCode::kUnsupported,
                "{}: pre_tokenizer '{}' {}; ByteLevel must be the last and only the last", where, type,
                last ? "stands last" : "stands before others");
  }
  if (type == "ByteLevel") {
    if (part.value("add_prefix_space", false)) {
      throw_error(ErrorCode::kUnsupported, "{}: ByteLevel with add_prefix_space = true is not supported",
                  where);
    }
    if (part.value("use_regex", true)) stages_.emplace_back(kByteLevelRegex, where);
  } else if (type == "Digits") {
    stages_.emplace_back(part.value("individual_digits", false) ? "\\p{N}" : "\\p{N}+", where);
  } else if (type == "Split") {
    const auto behavior = part.at("behavior").get<std::string>();
    if (behavior != "Isolated" || part.value("invert", false)) {
      throw_error(ErrorCode::kUnsupported,
                  "{}: Split with behavior '{}' and invert {}: only Isolated without invert", where, behavior,
                  part.value("invert", false));
    }
    stages_.emplace_back(split_pattern(part, where), where);
  } else {
    throw_error(ErrorCode::kUnsupported,
                "{}: pre_tokenizer '{}' is not supported (Split, Digits, ByteLevel are)", where, type);
  }
}

void PreTokenizer::split(std::string_view text, SplitRegex::Matcher& matcher,
                         std::vector<TextRange>& pieces) const {
  std::vector<TextRange> current;
  if (!text.empty()) current.push_back({0, text.size()});
  std::vector<TextRange> cut;
  for (const SplitRegex& stage : stages_) {
    cut.clear();
    for (const TextRange piece : current) {
      std::size_t done = piece.begin;
      stage.for_each_match(text.substr(piece.begin, piece.end - piece.begin), matcher, [&](TextRange match) {
        const TextRange found{piece.begin + match.begin, piece.begin + match.end};
        if (done < found.begin) cut.push_back({done, found.begin});
        cut.push_back(found);
        done = found.end;
      });
      if (done < piece.end) cut.push_back({done, piece.end});
    }
    current.swap(cut);
  }
  pieces.insert(pieces.end(), current.begin(), current.end());
}

}  // namespace latent8
