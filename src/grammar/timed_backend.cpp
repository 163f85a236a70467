#include "grammar/timed_backend.h"

#include <algorithm>
#include <chrono>
#include <system_error>

#include "base/error.h"

namespace latent8 {
namespace {

template <typename Result>
bool is_ready(const Result& result) {
  return result.wait_for(std::chrono::seconds(0)) == std::future_status::ready;
}

}  // namespace

std::shared_ptr<const Grammar> TimedBackend::compile(const GrammarSpec& spec) const {
  const Result result = begin(spec);
  if (result.wait_for(std::chrono::duration<double>(limit_s_)) != std::future_status::ready)
    throw_error(ErrorCode::kUnsupported,
                "it takes longer than {} s to compile; smaller repetition counts and enumerations and fewer "
                "properties take less",
                limit_s_);
  forget(spec);
  return result.get();
}

TimedBackend::Result TimedBackend::begin(const GrammarSpec& spec) const {
  const std::lock_guard lock(mutex_);
  for (const Job& job : jobs_)
    if (job.spec == spec) return job.result;
  if (jobs_.size() >= kMostAtOnce) {
    const auto ended =
        std::find_if(jobs_.begin(), jobs_.end(), [](const Job& j) { return is_ready(j.result); });
    if (ended == jobs_.end())
      throw_error(ErrorCode::kUnavailable, "{} grammars are being compiled; ask again later", jobs_.size());
    jobs_.erase(ended);
  }
  try {
    jobs_.push_back(
        {spec, std::async(std::launch::async, [this, spec] { return backend_->compile(spec); }).share()});
  } catch (const std::system_error& error) {
    throw_error(ErrorCode::kUnavailable, "no thread to compile a grammar: {}", error.what());
  }
  return jobs_.back().result;
}

void TimedBackend::forget(const GrammarSpec& spec) const {
  const std::lock_guard lock(mutex_);
  jobs_.remove_if([&](const Job& job) { return job.spec == spec && is_ready(job.result); });
}

}  // namespace latent8
