#pragma once
// What a later run needs to know of an unfinished result.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "latent8/quantize.h"

namespace latent8 {

struct Manifest {
  // What decides the result's bytes, as text: options, prompts, the version of latent8, the source's files.
  std::vector<std::pair<std::string, std::string>> inputs;
  std::int64_t finished = 0;           // units of the plan whose tensors are complete and on the disk
  QuantizeResult result;               // of these units
  std::vector<std::string> fallbacks;  // names of planned modules that fell back
  // SHA-256 of shards that were read back when all units were finished: name, hex digits.
  std::vector<std::pair<std::string, std::string>> sums;
};

// Throws: Error{kCorrupt} if the file is not one that write_manifest() wrote.
std::optional<Manifest> read_manifest(const std::filesystem::path& state);  // none: no such file
void write_manifest(const std::filesystem::path& state,
                    const Manifest& manifest);  // appears complete or not at all

// One line per input that differs, "format: mindie, now ascendv1"; empty if `now` continues `then`.
std::vector<std::string> differences(const Manifest& then, const Manifest& now);

}  // namespace latent8
