#pragma once
// What control groups (cgroups, version 1 and 2) allow this process to use.

#include <cstdint>
#include <filesystem>
#include <vector>

namespace latent8 {

struct GroupMemory {
  std::int64_t limit = 0;  // bytes
  std::int64_t held = 0;   // bytes in use that the kernel cannot take back by dropping cached files
};

// The groups with a limit, from the process's own up to the uppermost that is mounted; none outside of
// control groups. root: where /proc and /sys/fs/cgroup are looked up. Source: the kernel's documentation of
// cgroup-v1/memory and cgroup-v2, and cgroups(7).
std::vector<GroupMemory> memory_groups(const std::filesystem::path& root);

}  // namespace latent8
