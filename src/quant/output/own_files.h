#pragma once
// Which files of a folder are a quantised checkpoint's, so that nothing else is removed with it.

#include <filesystem>
#include <set>
#include <string>

namespace latent8 {

struct OwnFiles {
  std::set<std::string> names;  // below the folder, with '/'; empty: there is no quantised checkpoint
  bool complete = false;        // SHA256SUMS names every one; else config.json and copies are not among them
};

// What SHA256SUMS names, and itself; without a list that can be read, the quantisation descriptions (a file
// of that name that describes no tensor is none), the index beside them, and the shards that it names.
OwnFiles own_files(const std::filesystem::path& dir);

// Moves every file of `from` that is not among `own` to the same place below `to`. Where `to` has a file of
// that name, it goes beside it as NAME.former if `own` is complete, and is left in `from` otherwise.
// Throws: Error{kIo} naming the file.
void keep_other_files(const std::filesystem::path& from, const OwnFiles& own,
                      const std::filesystem::path& to);

}  // namespace latent8
