#include "sys/topology.h"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <string>
#include <thread>
#include <utility>

namespace latent8 {
namespace {

std::string read_line(const std::string& path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  return line;
}

// "key:   123 kB" in a /proc file, in bytes; -1 if absent.
std::int64_t proc_kib(const char* path, const std::string& key) {
  std::ifstream in(path);
  for (std::string line; std::getline(in, line);)
    if (line.starts_with(key)) return std::strtoll(line.c_str() + key.size() + 1, nullptr, 10) * 1024;
  return -1;
}

}  // namespace

std::vector<int> physical_cores() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cores;
  if (sched_getaffinity(0, sizeof set, &set) == 0) {
    std::set<std::pair<std::string, std::string>> seen;  // (package, core)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
      if (!CPU_ISSET(cpu, &set)) continue;
      const std::string base = "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
      const std::string core = read_line(base + "core_id"), package = read_line(base + "physical_package_id");
      if (core.empty() || seen.emplace(package, core).second) cores.push_back(cpu);
    }
  }
  if (cores.empty()) cores.push_back(0);
  return cores;
}

MemoryInfo memory_info() {
  MemoryInfo info;
  info.total_bytes = std::max<std::int64_t>(proc_kib("/proc/meminfo", "MemTotal:"), 0);
  info.available_bytes = std::max<std::int64_t>(proc_kib("/proc/meminfo", "MemAvailable:"), 0);
  const std::string limit = read_line("/sys/fs/cgroup/memory.max");
  if (!limit.empty() && limit != "max") {
    const std::int64_t bytes = std::strtoll(limit.c_str(), nullptr, 10);
    const std::int64_t used = std::strtoll(read_line("/sys/fs/cgroup/memory.current").c_str(), nullptr, 10);
    info.total_bytes = std::min(info.total_bytes, bytes);
    info.available_bytes = std::min(info.available_bytes, std::max<std::int64_t>(bytes - used, 0));
  }
  if (read_line("/sys/kernel/mm/transparent_hugepage/enabled").find("[never]") == std::string::npos)
    info.huge_page_bytes =
        std::strtoll(read_line("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size").c_str(), nullptr, 10);
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
