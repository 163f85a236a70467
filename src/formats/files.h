#pragma once
// Reading small files and folders.

#include <filesystem>
#include <string>
#include <vector>

namespace latent8 {

// The whole content. Throws: Error{kNotFound | kIo} naming the path.
std::string read_text_file(const std::filesystem::path& path);

// Names of a folder's entries, sorted. Throws: Error{kNotFound} if it is no folder, {kIo} if it is
// unreadable.
std::vector<std::string> list_folder(const std::filesystem::path& dir);

}  // namespace latent8
