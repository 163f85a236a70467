#include "sys/cpu_time.h"

#include <filesystem>
#include <fstream>
#include <string>

namespace latent8 {
namespace {

const std::filesystem::path kTasks = "/proc/self/task";

}  // namespace

std::set<pid_t> thread_ids() {
  std::set<pid_t> ids;
  for (const auto& entry : std::filesystem::directory_iterator(kTasks))
    ids.insert(static_cast<pid_t>(std::stol(entry.path().filename().string())));
  return ids;
}

double cpu_time_s(const std::set<pid_t>& threads) {
  double total = 0.0;
  for (const pid_t id : threads) {
    std::ifstream file(kTasks / std::to_string(id) / "schedstat");  // its first number: nanoseconds on a CPU
    double nanoseconds = 0.0;
    if (file >> nanoseconds) total += nanoseconds * 1e-9;
  }
  return total;
}

}  // namespace latent8
