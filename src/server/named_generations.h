#pragma once
// Answers under way that clients have given names to, so that another request can end them.

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "server/generation.h"

namespace latent8 {

// Thread-safety: all methods may be called from any thread.
class NamedGenerations {
 public:
  void add(const std::string& name, std::weak_ptr<Generation> generation) {
    const std::lock_guard lock(mutex_);
    by_name_[name] = std::move(generation);
  }
  // Forgets the name if its answer is gone: a later one may have taken it.
  void remove_expired(const std::string& name) {
    const std::lock_guard lock(mutex_);
    const auto it = by_name_.find(name);
    if (it != by_name_.end() && it->second.expired()) by_name_.erase(it);
  }
  // nullptr: no answer has this name.
  std::shared_ptr<Generation> find(const std::string& name) const {
    const std::lock_guard lock(mutex_);
    const auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : it->second.lock();
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string, std::weak_ptr<Generation>> by_name_;
};

}  // namespace latent8
