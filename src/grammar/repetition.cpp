#include "grammar/repetition.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <vector>

#include "base/error.h"

namespace latent8 {
namespace {

// The larger count of a range that begins at text[at] == '{', and where it ends; 1 and 0 if it is none.
std::pair<double, std::size_t> count_at(std::string_view text, std::size_t at) {
  const std::size_t end = text.find('}', at);
  if (end == std::string_view::npos) return {1.0, 0};
  double most = 1.0;
  std::string_view range = text.substr(at + 1, end - at - 1);
  while (!range.empty()) {
    const std::size_t comma = std::min(range.find(','), range.size());
    std::string_view number = range.substr(0, comma);
    while (number.starts_with(' ')) number.remove_prefix(1);
    while (number.ends_with(' ')) number.remove_suffix(1);
    double count = 0.0;
    const auto [stop, error] = std::from_chars(number.data(), number.data() + number.size(), count);
    const bool digits =
        std::all_of(number.begin(), number.end(), [](char c) { return c >= '0' && c <= '9'; });
    if (!digits || (!number.empty() && (error != std::errc() || stop != number.data() + number.size())))
      return {1.0, 0};
    most = std::max(most, count);
    range.remove_prefix(std::min(comma + 1, range.size()));
  }
  return {most, end};
}

// Behind a quoted text or a character class that begins at `at`.
std::size_t skip(std::string_view text, std::size_t at, char end) {
  for (++at; at < text.size() && text[at] != end; ++at)
    if (text[at] == '\\') ++at;
  return std::min(at + 1, text.size());
}

}  // namespace

double check_repetitions(std::string_view text, Repetitions in, const std::string& where, double already,
                         double most) {
  const double left = most - already + static_cast<double>(text.size());
  std::vector<double> sizes = {0.0};  // elements of the groups that are open
  double last = 0.0;                  // of the last element, which a count may follow
  const auto add = [&](double size) {
    last = size;
    sizes.back() += size;
    if (sizes.back() > left)
      throw_error(ErrorCode::kInvalidArgument,
                  "{}: repetition counts that add at most {} elements expected, got more", where, most);
  };
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    if (c == '\\') {
      add(1.0);
      at += 2;
    } else if (c == '[') {
      add(1.0);
      at = skip(text, at, ']');
    } else if (c == '"' && in == Repetitions::kEbnf) {
      add(1.0);
      at = skip(text, at, '"');
    } else if (c == '(') {
      sizes.push_back(0.0);
      if (sizes.size() > kMaxGroups)
        throw_error(ErrorCode::kInvalidArgument, "{}: groups in at most {} levels expected, got more", where,
                    kMaxGroups);
      ++at;
    } else if (c == ')' && sizes.size() > 1) {
      const double size = sizes.back();
      sizes.pop_back();
      add(size);
      ++at;
    } else if (c == '{') {
      const auto [count, end] = count_at(text, at);
      const double whole = last * count;
      add(whole - last);
      last = whole;
      at = end == 0 ? at + 1 : end + 1;
    } else {
      add(1.0);
      ++at;
    }
  }
  double total = 0.0;
  for (const double size : sizes) total += size;
  return already + std::max(0.0, total - static_cast<double>(text.size()));
}

}  // namespace latent8
