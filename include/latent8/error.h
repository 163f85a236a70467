#pragma once
// The one exception type of latent8.

#include <stdexcept>
#include <string>

namespace latent8 {

enum class ErrorCode { kInvalidArgument, kNotFound, kCorrupt, kUnsupported, kUnavailable, kIo, kInternal };

// Input or environment cannot be used and the whole operation fails. The message says what failed, where,
// what was expected and what was found, and what to do. Broken invariants of our own are LATENT8_CHECK, never
// this.
class Error : public std::runtime_error {
 public:
  Error(ErrorCode code, const std::string& message) : std::runtime_error(message), code_(code) {}
  ErrorCode code() const { return code_; }

 private:
  ErrorCode code_;
};

}  // namespace latent8
