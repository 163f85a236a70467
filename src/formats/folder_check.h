#pragma once
// Everything that is wrong with the files of a checkpoint folder, not only the first of it.

#include <filesystem>
#include <string>
#include <vector>

namespace latent8 {

struct FolderCheck {
  std::vector<std::string> problems;  // one line each, naming the file
  std::vector<std::string> notes;     // what is ignored, and why
  bool opens() const { return problems.empty(); }
};

// Looks at every file: what it is, config.json, generation_config.json, the quantisation description, the
// index and the header of every shard, whether or not the index names it. Values of tensors are not read.
// Throws: Error if `dir` is no folder, or cannot be listed.
FolderCheck check_folder(const std::filesystem::path& dir);

}  // namespace latent8
