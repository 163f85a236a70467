#include "server/mindie/relaxed_json.h"

#include <algorithm>

namespace latent8 {
namespace {

// The end of the string literal that begins at `at`.
std::size_t end_of_string(std::string_view text, std::size_t at) {
  for (++at; at < text.size() && text[at] != '"'; ++at)
    if (text[at] == '\\') ++at;
  return std::min(at + 1, text.size());
}

// The end of the comment that begins at `at`; `at` if there is none.
std::size_t end_of_comment(std::string_view text, std::size_t at) {
  const std::string_view begin = text.substr(at, 2);
  if (begin != "//" && begin != "/*") return at;
  const std::size_t end = begin == "//" ? text.find('\n', at) : text.find("*/", at + 2);
  if (end == std::string_view::npos) return text.size();
  return begin == "//" ? end : end + 2;
}

}  // namespace

std::string plain_json(std::string_view text) {
  std::string out(text);
  std::size_t comma = std::string::npos;  // the last one, if only blanks have come after it
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (const std::size_t end = end_of_comment(text, at); end > at) {
      std::replace_if(
          out.begin() + static_cast<std::ptrdiff_t>(at), out.begin() + static_cast<std::ptrdiff_t>(end),
          [](char byte) { return byte != '\n'; }, ' ');
      at = end;
      continue;
    }
    if ((c == '}' || c == ']') && comma != std::string::npos) out[comma] = ' ';
    if (c == ',')
      comma = at;
    else if (c != ' ' && c != '\t' && c != '\r' && c != '\n')
      comma = std::string::npos;
    at = c == '"' ? end_of_string(text, at) : at + 1;
  }
  return out;
}

}  // namespace latent8
