#pragma once
// Which handler a request goes to.

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "server/api_error.h"

namespace latent8 {

class Call;
using Route = std::function<void(const Call&)>;  // on a text thread; may throw ApiError or Error

// What a port is for; sets are sums. The names are the reference's.
using Planes = unsigned;
inline constexpr Planes kBusiness = 1, kManagement = 2, kMetrics = 4, kStop = 8;
inline constexpr Planes kAllButStop = kBusiness | kManagement | kMetrics;

struct RouteEntry {
  std::string method;
  std::string path;  // "/v2/models/{model}/ready": a part in braces stands for any one segment
  Route handle;
  Planes planes = kBusiness;                              // where it is reached
  bool open = false;                                      // no API key is asked for
  HttpReply (*to_reply)(const ApiError&) = openai_reply;  // how its errors look
};

struct RouteMatch {
  const RouteEntry* entry = nullptr;  // nullptr: no such path, or not with this method
  std::map<std::string, std::string, std::less<>> parameters;
  std::string allowed;  // methods of the path, where it has another one
};

// Thread-safety: const after the last add().
class RouteTable {
 public:
  void add(RouteEntry entry) { entries_.push_back(std::move(entry)); }
  // HEAD finds what GET does.
  RouteMatch find(Planes planes, std::string_view method, std::string_view path) const;

 private:
  std::vector<RouteEntry> entries_;
};

}  // namespace latent8
