#pragma once
// Runs a piece of a test in a child process, which may be killed.

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <exception>
#include <iostream>

namespace latent8 {

// REQUIRES: the parent has no threads.
class ChildProcess {
 public:
  // Exits with 0 after `body`, with 1 if it throws.
  template <class Body>
  explicit ChildProcess(const Body& body) : pid_(fork()) {
    if (pid_ != 0) return;
    int status = 0;
    try {
      body();
    } catch (const std::exception& error) {
      std::cerr << "child: " << error.what() << '\n';
      status = 1;
    }
    _exit(status);
  }
  void kill() const { ::kill(pid_, SIGKILL); }
  // Whether it came to its end; false if it was killed. An exit with another status than 0 fails the test.
  bool finished() const {
    int status = 0;
    EXPECT_EQ(waitpid(pid_, &status, 0), pid_);
    if (WIFSIGNALED(status)) EXPECT_EQ(WTERMSIG(status), SIGKILL);
    if (WIFEXITED(status)) EXPECT_EQ(WEXITSTATUS(status), 0);
    return WIFEXITED(status);
  }

 private:
  pid_t pid_;
};

}  // namespace latent8
