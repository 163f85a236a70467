#include "sys/control_groups.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

namespace latent8 {
namespace {

namespace fs = std::filesystem;

// The names of one version's files and counters.
struct Version {
  const char* type;  // of the mounted file system
  std::vector<const char*> limits;
  const char* usage;
  std::vector<const char*> cached;  // counters of memory.stat: pages that the kernel drops for others
};

// Files of both lists are dropped on demand: what was read twice is "active", a mapped model above all. Pages
// that are not written back yet are among them and become free a little later.
const Version& version_1() {
  static const Version version = {"cgroup",
                                  {"memory.limit_in_bytes"},
                                  "memory.usage_in_bytes",
                                  {"total_inactive_file", "total_active_file"}};
  return version;
}
const Version& version_2() {
  static const Version version = {"cgroup2",
                                  {"memory.max", "memory.high"},
                                  "memory.current",
                                  {"inactive_file", "active_file", "slab_reclaimable"}};
  return version;
}

std::optional<std::int64_t> read_number(const fs::path& path) {
  std::ifstream in(path);
  std::int64_t value = 0;
  if (in >> value) return value;
  return std::nullopt;  // no such file, or "max"
}

std::int64_t sum_of(const fs::path& stat, const std::vector<const char*>& counters) {
  std::ifstream in(stat);
  std::string key;
  std::int64_t value = 0, sum = 0;
  while (in >> key >> value)
    if (std::find(counters.begin(), counters.end(), key) != counters.end()) sum += value;
  return sum;
}

// "a,b,c" has "b".
bool lists(std::string_view text, std::string_view word) {
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    if (text.substr(at, end - at) == word) return true;
    at = end + 1;
  }
  return false;
}

// The process's group in the hierarchy that accounts for memory: "ID:CONTROLLERS:PATH", version 2 is
// "0::PATH".
std::optional<std::string> group_path(const fs::path& root, const Version& version) {
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const std::size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool mine = &version == &version_2() ? controllers.empty() : lists(controllers, "memory");
    if (mine) return line.substr(second + 1);
  }
  return std::nullopt;
}

struct Mount {
  std::string from;  // the group that is mounted
  fs::path at;
};

// "ID PARENT DEV FROM AT OPTIONS [TAGS] - TYPE SOURCE SUPER_OPTIONS". A mount point with a blank in its name
// (\040) is not found, which costs the limit of a machine that nobody sets up so.
std::optional<Mount> mount_of(const fs::path& root, const Version& version) {
  std::ifstream in(root / "proc/self/mountinfo");
  for (std::string line; std::getline(in, line);) {
    const std::size_t dash = line.find(" - ");
    if (dash == std::string::npos) continue;
    std::istringstream before(line.substr(0, dash)), after(line.substr(dash + 3));
    std::string skipped, type, options;
    Mount mount;
    std::string at;
    before >> skipped >> skipped >> skipped >> mount.from >> at;
    after >> type >> skipped >> options;
    if (type != version.type || at.empty()) continue;
    if (&version == &version_1() && !lists(options, "memory")) continue;
    mount.at = root / fs::path(at).relative_path();
    return mount;
  }
  return std::nullopt;
}

// The group's folder below the mount. Inside a container the mount often shows the container's group as its
// root while /proc names the path on the host, or the path leads out of the namespace ("/../x"): the root of
// the mount is then what counts.
fs::path folder_of(const Mount& mount, const std::string& group) {
  const fs::path below = fs::path(group).lexically_relative(mount.from.empty() ? "/" : mount.from);
  std::error_code error;
  const bool inside = !below.empty() && below != "." && *below.begin() != "..";
  return inside && fs::is_directory(mount.at / below, error) ? mount.at / below : mount.at;
}

void add_groups(const fs::path& root, const Version& version, std::vector<GroupMemory>& out) {
  const std::optional<std::string> group = group_path(root, version);
  const std::optional<Mount> mount = mount_of(root, version);
  if (!group || !mount) return;
  for (fs::path folder = folder_of(*mount, *group);; folder = folder.parent_path()) {
    std::int64_t limit = std::numeric_limits<std::int64_t>::max();
    for (const char* name : version.limits)
      limit = std::min(limit, read_number(folder / name).value_or(limit));
    const std::optional<std::int64_t> usage = read_number(folder / version.usage);
    if (limit < std::numeric_limits<std::int64_t>::max() && usage)
      out.push_back(
          {limit, std::max<std::int64_t>(*usage - sum_of(folder / "memory.stat", version.cached), 0)});
    if (folder == mount->at) return;
  }
}

}  // namespace

std::vector<GroupMemory> memory_groups(const fs::path& root) {
  std::vector<GroupMemory> groups;
  add_groups(root, version_1(), groups);
  add_groups(root, version_2(), groups);
  return groups;
}

}  // namespace latent8
