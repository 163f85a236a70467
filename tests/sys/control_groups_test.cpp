#include "sys/control_groups.h"

#include <gtest/gtest.h>

#include <string>

#include "support/temp_dir.h"
#include "sys/topology.h"

namespace latent8 {
namespace {

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

// A machine of 64 GiB, 60 of them available, in a folder that stands for "/".
class Machine {
 public:
  explicit Machine(const std::string& cgroup, const std::string& mountinfo) {
    write("proc/meminfo", "MemTotal:       67108864 kB\nMemFree:  1 kB\nMemAvailable:   62914560 kB\n");
    write("proc/self/cgroup", cgroup);
    write("proc/self/mountinfo", mountinfo);
  }
  void write(const std::string& name, const std::string& content) const {
    std::filesystem::create_directories((root_ / name).parent_path());
    root_.write(name, content);
  }
  void group_2(const std::string& dir, const std::string& max, std::int64_t current,
               const std::string& stat = "") const {
    write(dir + "/memory.max", max + "\n");
    write(dir + "/memory.current", std::to_string(current) + "\n");
    write(dir + "/memory.stat", "anon 1\n" + stat);
  }
  std::vector<int> cores() const { return physical_cores(root_.path()); }
  MemoryInfo memory() const { return memory_info(root_.path()); }

 private:
  TempDir root_;
};

constexpr const char* kMount2 = "29 23 0:26 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n";
constexpr const char* kMount1 =
    "34 31 0:31 / /sys/fs/cgroup/cpu rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime shared:10 - cgroup cgroup rw,memory\n";

std::string text(std::int64_t value) { return std::to_string(value); }

TEST(ControlGroups, MachineWithoutLimitsHasWhatProcSays) {
  const Machine machine("0::/user.slice\n", kMount2);
  machine.group_2("sys/fs/cgroup/user.slice", "max", 50 * kGiB);

  EXPECT_EQ(machine.memory().total_bytes, 64 * kGiB);
  EXPECT_EQ(machine.memory().available_bytes, 60 * kGiB);
}

TEST(ControlGroups, CachedFilesOfTheGroupCountAsAvailable) {
  const Machine machine("0::/job\n", kMount2);
  machine.group_2("sys/fs/cgroup/job", text(16 * kGiB), 16 * kGiB,
                  "inactive_file " + text(10 * kGiB) + "\nactive_file " + text(3 * kGiB) +
                      "\nslab_reclaimable " + text(kGiB) + "\nslab_unreclaimable 5\n");

  EXPECT_EQ(machine.memory().total_bytes, 16 * kGiB);
  EXPECT_EQ(machine.memory().available_bytes, 14 * kGiB);
}

TEST(ControlGroups, EveryGroupAboveCounts) {
  const Machine machine("0::/a/b/c\n", kMount2);
  machine.group_2("sys/fs/cgroup/a", text(32 * kGiB), 30 * kGiB, "inactive_file " + text(5 * kGiB) + "\n");
  machine.group_2("sys/fs/cgroup/a/b", "max", 20 * kGiB);
  machine.group_2("sys/fs/cgroup/a/b/c", text(20 * kGiB), 4 * kGiB);

  EXPECT_EQ(machine.memory().total_bytes, 20 * kGiB);
  EXPECT_EQ(machine.memory().available_bytes, 7 * kGiB);
}

TEST(ControlGroups, MemoryHighIsALimitToo) {
  const Machine machine("0::/job\n", kMount2);
  machine.group_2("sys/fs/cgroup/job", "max", 2 * kGiB);
  machine.write("sys/fs/cgroup/job/memory.high", text(8 * kGiB));

  EXPECT_EQ(machine.memory().available_bytes, 6 * kGiB);
}

TEST(ControlGroups, ContainerThatSeesItsOwnGroupAsTheRootHasItsLimit) {
  // A bind mount of the container's group, and a path out of the namespace.
  for (const char* path : {"0::/kubepods/pod7/box\n", "0::/\n", "0::/../../elsewhere\n"}) {
    const Machine machine(path, "29 23 0:26 /kubepods/pod7/box /sys/fs/cgroup ro - cgroup2 cgroup rw\n");
    machine.group_2("sys/fs/cgroup", text(4 * kGiB), 3 * kGiB, "inactive_file " + text(kGiB) + "\n");

    EXPECT_EQ(machine.memory().available_bytes, 2 * kGiB) << path;
  }
}

TEST(ControlGroups, VersionOneIsReadWithItsNames) {
  const Machine machine("5:cpu,cpuacct:/other\n4:memory:/docker/box\n0::/\n", kMount1);
  machine.write("sys/fs/cgroup/memory/docker/box/memory.limit_in_bytes", text(8 * kGiB));
  machine.write("sys/fs/cgroup/memory/docker/box/memory.usage_in_bytes", text(8 * kGiB));
  machine.write(
      "sys/fs/cgroup/memory/docker/box/memory.stat",
      "inactive_file 0\ntotal_inactive_file " + text(5 * kGiB) + "\ntotal_active_file " + text(kGiB) + "\n");
  machine.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712");
  machine.write("sys/fs/cgroup/memory/memory.usage_in_bytes", text(40 * kGiB));

  EXPECT_EQ(machine.memory().total_bytes, 8 * kGiB);
  EXPECT_EQ(machine.memory().available_bytes, 6 * kGiB);
}

TEST(ControlGroups, GroupOverItsLimitHasNothingLeft) {
  const Machine machine("0::/job\n", kMount2);
  machine.group_2("sys/fs/cgroup/job", text(kGiB), 2 * kGiB);

  EXPECT_EQ(machine.memory().available_bytes, 0);
}

TEST(Topology, HugePagesAreOffWhereTheMachineSaysNever) {
  const Machine machine("", "");
  machine.write("sys/kernel/mm/transparent_hugepage/hpage_pmd_size", "2097152\n");
  machine.write("sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");

  EXPECT_EQ(machine.memory().huge_page_bytes, 2097152);

  machine.write("sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");

  EXPECT_EQ(machine.memory().huge_page_bytes, 0);
}

TEST(Topology, SiblingsOfOneCoreCountOnce) {
  const std::vector<int> cpus = physical_cores("/nonexistent");  // nothing known: every CPU is a core
  const Machine machine("", "");
  for (const int cpu : cpus) {
    const std::string folder = "sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    machine.write(folder + "core_id", "0\n");
    machine.write(folder + "physical_package_id", "0\n");
  }

  EXPECT_EQ(machine.cores(), std::vector<int>{cpus.front()});
}

}  // namespace
}  // namespace latent8
