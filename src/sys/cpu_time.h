#pragma once
// Processor time of this process's threads.

#include <sys/types.h>

#include <set>

namespace latent8 {

std::set<pid_t> thread_ids();
// Seconds that the threads have run so far; those that are gone count nothing.
double cpu_time_s(const std::set<pid_t>& threads);

}  // namespace latent8
