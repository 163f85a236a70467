#pragma once
// What the parts of verify have in common.

#include <fmt/format.h>

#include <string>
#include <utility>
#include <vector>

#include "latent8/verify.h"

namespace latent8 {

// What one part of the work found. Parts that run side by side have one each, and are put together in order.
struct Findings {
  std::vector<VerifyFinding> problems, notes;

  void problem(std::string where, std::string expected, std::string got) {
    problems.push_back({std::move(where), std::move(expected), std::move(got)});
  }
  void note(std::string where, std::string text) { notes.push_back({std::move(where), std::move(text), ""}); }
  void append(Findings other) {
    for (VerifyFinding& finding : other.problems) problems.push_back(std::move(finding));
    for (VerifyFinding& finding : other.notes) notes.push_back(std::move(finding));
  }
};

}  // namespace latent8
