#pragma once
// What the flags of several subcommands that name sizes and files have in common.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace latent8 {

// For CLI's transform(): "64GiB", "1.5 GiB", "640k" or bytes as a number of bytes; units are powers of 1,024.
// Refuses what is less than a byte or more than fits 63 bits.
CLI::Validator size_in_bytes();

// Refuses, before any work, a file that `flag` names for output: one that lies in one of `folders`, one that
// exists and is not `ours`, one that cannot be made. Throws: Error{kInvalidArgument | kIo} naming the flag.
void check_output_file(const std::string& flag, const std::filesystem::path& file,
                       const std::vector<std::filesystem::path>& folders,
                       const std::function<bool(const std::filesystem::path&)>& ours);

}  // namespace latent8
