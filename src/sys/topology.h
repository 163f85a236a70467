#pragma once
// The machine as this process may use it.

#include <cstdint>
#include <vector>

namespace latent8 {

// One logical CPU per physical core of the process's affinity mask, in rising order; never empty.
std::vector<int> physical_cores();

struct MemoryInfo {
  std::int64_t total_bytes = 0;      // of the machine, or of the control group if that is less
  std::int64_t available_bytes = 0;  // what can be used without swapping
  std::int64_t huge_page_bytes = 0;  // size of a transparent huge page, 0 if they are off
};
MemoryInfo memory_info();

std::int64_t last_level_cache_bytes();  // as the operating system states it; 32 MiB if it states nothing
std::int64_t peak_resident_bytes();     // VmHWM of this process
std::int64_t resident_bytes();          // VmRSS of this process

}  // namespace latent8
