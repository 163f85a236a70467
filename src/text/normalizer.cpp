#include "text/normalizer.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json.h"
#include "text/growth.h"
#include "text/json_file.h"
#include "text/onig_syntax.h"
#include "text/unicode_canonical.h"

namespace latent8 {

Normalizer::Normalizer(const nlohmann::json& json, const std::string& where) {
  if (!json.is_null()) add(json, where);
}

void Normalizer::add(const nlohmann::json& part, const std::string& where) {
  const JsonFields fields(part, where + ": normalizer");
  const std::string type = fields.text("type");
  if (type == "Sequence") {
    const nlohmann::json* inner = fields.find("normalizers");
    if (inner == nullptr || !inner->is_array()) fields.refuse("normalizers", "an array");
    for (const nlohmann::json& each : *inner) add(each, where);
  } else if (type == "Prepend") {
    steps_.push_back({Kind::kPrepend, std::nullopt, fields.text("prepend")});
  } else if (type == "NFC" || type == "NFD") {
    steps_.push_back({type == "NFC" ? Kind::kNfc : Kind::kNfd, std::nullopt, ""});
  } else if (type == "Replace") {
    const std::string regex = regex_of_pattern(fields, "pattern", where + ": normalizer Replace");
    if (regex.empty()) return;  // finds nothing
    steps_.push_back({Kind::kReplace, SplitRegex(regex, where), fields.text("content")});
  } else {
    throw_error(ErrorCode::kUnsupported,
                "{}: normalizer {} is not supported (null, NFC, NFD, Prepend, Replace and Sequence are)",
                where, shown_json(type));
  }
}

std::string Normalizer::apply(std::string_view text, SplitRegex::Matcher& matcher) const {
  std::string now(text);
  for (const Step& step : steps_) {
    check_growth("normalizer", text.size(), now.size());
    if (step.kind == Kind::kNfc) now = to_nfc(now);
    if (step.kind == Kind::kNfd) now = to_nfd(now);
    if (step.kind == Kind::kPrepend && !now.empty()) now.insert(0, step.content);
    if (step.kind != Kind::kReplace) continue;
    std::string out;
    std::size_t done = 0;
    step.pattern->for_each_match(now, matcher, [&](TextRange match) {
      out += std::string_view(now).substr(done, match.begin - done);
      out += step.content;
      check_growth("normalizer", text.size(), out.size());
      done = match.end;
    });
    out += std::string_view(now).substr(done);
    now = std::move(out);
  }
  return now;
}

}  // namespace latent8
