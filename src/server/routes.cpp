#include "server/routes.h"

#include <optional>

namespace latent8 {
namespace {

// Takes the first segment off, without its slash.
std::string_view take_segment(std::string_view& path) {
  const std::size_t end = path.find('/', 1);
  const std::string_view segment = path.substr(1, end == std::string_view::npos ? end : end - 1);
  path.remove_prefix(end == std::string_view::npos ? path.size() : end);
  return segment;
}

std::optional<decltype(RouteMatch::parameters)> matched(std::string_view pattern, std::string_view path) {
  decltype(RouteMatch::parameters) out;
  while (!pattern.empty() && !path.empty()) {
    const std::string_view expected = take_segment(pattern), got = take_segment(path);
    if (expected.starts_with('{') && !got.empty())
      out.emplace(expected.substr(1, expected.size() - 2), got);
    else if (expected != got)
      return {};
  }
  if (!pattern.empty() || !path.empty()) return {};
  return out;
}

}  // namespace

RouteMatch RouteTable::find(Planes planes, std::string_view method, std::string_view path) const {
  RouteMatch match;
  if (!path.starts_with('/')) return match;
  for (const RouteEntry& entry : entries_) {
    if ((entry.planes & planes) == 0) continue;
    auto parameters = matched(entry.path, path);
    if (!parameters) continue;
    if (entry.method == method || (method == "HEAD" && entry.method == "GET"))
      return {.entry = &entry, .parameters = std::move(*parameters), .allowed = ""};
    match.allowed += (match.allowed.empty() ? "" : ", ") + entry.method;
  }
  return match;
}

}  // namespace latent8
