#include "sys/topology.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <utility>

#include "sys/control_groups.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

std::string read_line(const fs::path& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// "key:   123 kB" in a /proc file, in bytes; -1 if absent.
std::int64_t proc_kib(const fs::path& path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key)) return std::strtoll(line.c_str() + key.size() + 1, nullptr, 10) * 1024;
  return -1;
}

}  // namespace

std::vector<int> physical_cores(const fs::path& root) {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    std::set<std::pair<std::string, std::string>> seen;  // (package, core)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &set)) continue;
      const fs::path topology = root / "sys/devices/system/cpu" / ("cpu" + std::to_string(cpu)) / "topology";
      const std::string core = read_line(topology / "core_id"),
                        package = read_line(topology / "physical_package_id");
      if (core.empty() || seen.emplace(package, core).second) cores.push_back(cpu);
    }
  }
  if (cores.empty()) cores.push_back(0);
  return cores;
}

MemoryInfo memory_info(const fs::path& root) {
  MemoryInfo info;
  info.total_bytes = std::max<std::int64_t>(proc_kib(root / "proc/meminfo", "MemTotal:"), 0);
  info.available_bytes = std::max<std::int64_t>(proc_kib(root / "proc/meminfo", "MemAvailable:"), 0);
  for (const GroupMemory& group : memory_groups(root)) {
    info.total_bytes = std::min(info.total_bytes, group.limit);
    info.available_bytes =
        std::min(info.available_bytes, std::max<std::int64_t>(group.limit - group.held, 0));
  }
  const fs::path pages = root / "sys/kernel/mm/transparent_hugepage";
  if (read_line(pages / "enabled").find("[never]") == std::string::npos)
    info.huge_page_bytes = std::strtoll(read_line(pages / "hpage_pmd_size").c_str(), nullptr, 10);
  return info;
}

std::int64_t last_level_cache_bytes() {
  const long bytes = sysconf(_SC_LEVEL3_CACHE_SIZE);
  return bytes > 0 ? bytes : std::int64_t{32} << 20;
}

std::int64_t peak_resident_bytes() {
  return std::max<std::int64_t>(proc_kib("/proc/self/status", "VmHWM:"), 0);
}

std::int64_t resident_bytes() { return std::max<std::int64_t>(proc_kib("/proc/self/status", "VmRSS:"), 0); }

}  // namespace latent8
