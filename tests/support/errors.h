#pragma once
// Expecting an Error: what must be thrown, with which code, and what its message must say.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "latent8/error.h"

namespace latent8 {

// Runs `action` and returns the message of the Error that it throws, after checking the code.
template <class Action>
std::string error_of(ErrorCode code, const Action& action) {
  try {
    action();
  } catch (const Error& error) {
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code)) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "an Error was expected";
  return "";
}

}  // namespace latent8
