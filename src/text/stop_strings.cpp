#include "text/stop_strings.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "text/suffix_prefix.h"

namespace latent8 {

StopStrings::StopStrings(std::vector<std::string> stops) : stops_(std::move(stops)) {
  for (const std::string& stop : stops_) {
    if (stop.empty())
      throw_error(ErrorCode::kInvalidArgument, "stop: an empty string cannot be a stop string");
  }
}

std::string StopStrings::push(std::string_view text) {
  if (matched_) return "";
  held_ += text;
  std::size_t first = std::string::npos;
  const std::string* found = nullptr;
  for (const std::string& stop : stops_) {
    const std::size_t at = held_.find(stop);
    const bool earlier = at < first || (at == first && found != nullptr && stop.size() < found->size());
    if (at == std::string::npos || !earlier) continue;
    first = at;
    found = &stop;
  }
  std::size_t held = 0;
  for (const std::string& stop : stops_) held = std::max(held, longest_suffix_prefix(held_, stop));
  // A stop string that begins before the one found may still become complete; how text was cut into pushes
  // must not matter, so the answer waits for it.
  if (found != nullptr) {
    for (std::size_t at = 0; at < first; ++at) {
      const std::string_view rest = std::string_view(held_).substr(at);
      for (const std::string& stop : stops_) {
        if (stop.size() > rest.size() && std::string_view(stop).starts_with(rest)) {
          return std::exchange(held_, std::string(rest)).substr(0, at);
        }
      }
    }
    matched_ = *found;
    return std::exchange(held_, "").substr(0, first);
  }
  std::string safe = held_.substr(0, held_.size() - held);
  held_.erase(0, safe.size());
  return safe;
}

std::string StopStrings::finish() {
  if (matched_) return "";
  std::string rest = std::exchange(held_, "");
  std::size_t first = rest.size();
  for (const std::string& stop : stops_) {
    const std::size_t at = rest.find(stop);
    if (at >= first) continue;
    first = at;
    matched_ = stop;
  }
  return rest.substr(0, first);
}

}  // namespace latent8
