#pragma once
// The machine as this process may use it.

#include <cstdint>
#include <filesystem>
#include <vector>

namespace latent8 {

// Where /proc and /sys are looked up; tests have their own.
inline constexpr const char* kMachineRoot = "/";

// One logical CPU per physical core of the process's affinity mask, in rising order; never empty.
std::vector<int> physical_cores(const std::filesystem::path& root = kMachineRoot);

struct MemoryInfo {
  std::int64_t total_bytes =
      0;  // of the machine, or the least limit of the control groups around the process
  std::int64_t available_bytes = 0;  // what can be used without swapping; cached files count as available
  std::int64_t huge_page_bytes = 0;  // size of a transparent huge page, 0 if they are off
};
// Control groups of version 1 and 2; the process's own and all above it that are mounted.
MemoryInfo memory_info(const std::filesystem::path& root = kMachineRoot);

std::int64_t last_level_cache_bytes();  // as the operating system states it; 32 MiB if it states nothing
std::int64_t peak_resident_bytes();     // VmHWM of this process
std::int64_t resident_bytes();          // VmRSS of this process

}  // namespace latent8
