#include "text/decoder.h"

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/json.h"
#include "text/byte_alphabet.h"
#include "text/growth.h"
#include "text/json_file.h"

namespace latent8 {
namespace {

int hex_digit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return -1;
}

// token_bytes: of the token before any replacement.
std::string replaced(std::string_view text, std::string_view from, std::string_view to,
                     std::size_t token_bytes) {
  std::string out;
  std::size_t done = 0;
  for (std::size_t at; (at = text.find(from, done)) != std::string_view::npos; done = at + from.size()) {
    out += text.substr(done, at - done);
    out += to;
    check_growth("decoder", token_bytes, out.size());
  }
  out += text.substr(done);
  return out;
}

}  // namespace

TokenDecoder::TokenDecoder(const nlohmann::json& json, const std::string& where) {
  if (json.is_null())
    throw_error(ErrorCode::kUnsupported,
                "{}: no decoder; ByteLevel, Metaspace or a Sequence with ByteFallback expected", where);
  add(json, where);
}

void TokenDecoder::add(const nlohmann::json& part, const std::string& where) {
  const JsonFields fields(part, where + ": decoder");
  const std::string type = fields.text("type");
  const auto refuse = [&](std::string_view what) {
    throw_error(ErrorCode::kUnsupported, "{}: decoder {} is not supported{}", where, shown_json(part), what);
  };
  if (is_byte_level || first_without_spaces || dropped_spaces > 0) refuse(" after the others");
  if (type == "Sequence") {
    const nlohmann::json* inner = fields.find("decoders");
    if (inner == nullptr || !inner->is_array()) fields.refuse("decoders", "an array");
    for (const nlohmann::json& each : *inner) add(each, where);
  } else if (type == "ByteLevel") {
    if (byte_fallback || fused_ || !replacements_.empty()) refuse(" after the others");
    is_byte_level = true;
  } else if (type == "Metaspace") {
    replacements_.emplace_back(fields.text("replacement"), " ");
    first_without_spaces =
        fields.text("prepend_scheme", "always") != "never" && fields.boolean("add_prefix_space", true);
  } else if (type == "Replace") {
    const nlohmann::json* pattern = fields.find("pattern");
    if (pattern == nullptr || !pattern->is_object() || !pattern->contains("String")) refuse("; a String is");
    const std::string from = JsonFields(*pattern, where + ": decoder Replace").text("String");
    if (byte_fallback || fused_ || from.empty()) refuse(" here");
    replacements_.emplace_back(from, fields.text("content"));
  } else if (type == "ByteFallback") {
    if (fused_) refuse(" after Fuse");
    byte_fallback = true;
  } else if (type == "Fuse") {
    fused_ = true;
  } else if (type == "Strip") {
    if (fields.text("content") != " " || fields.integer("stop", 0, 1 << 20) != 0 || !fused_)
      refuse("; spaces at the start, after Fuse, are");
    dropped_spaces = static_cast<std::size_t>(fields.integer("start", 0, 1 << 20));
  } else {
    refuse(" (ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip and Sequence are)");
  }
}

std::string TokenDecoder::bytes(std::string_view token, bool& is_byte) const {
  is_byte = false;
  if (is_byte_level) return bytes_from_alphabet(token).value_or(std::string(token));
  std::string text(token);
  for (const auto& [from, to] : replacements_) text = replaced(text, from, to, token.size());
  if (byte_fallback && text.size() == 6 && text.starts_with("<0x") && text[5] == '>' &&
      hex_digit(text[3]) >= 0 && hex_digit(text[4]) >= 0) {
    is_byte = true;
    return {static_cast<char>(hex_digit(text[3]) * 16 + hex_digit(text[4]))};
  }
  return text;
}

}  // namespace latent8
