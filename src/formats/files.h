#pragma once
// Reading small files and folders.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace latent8 {

// The whole content. Throws: Error{kNotFound | kIo} naming the path.
std::string read_text_file(const std::filesystem::path& path);

// Calls visit(offset, bytes) over the file from its beginning to its end, a MiB at a time, with little
// memory. Throws: Error{kNotFound | kIo} naming the path, and what `visit` throws.
void for_each_chunk(const std::filesystem::path& path,
                    const std::function<void(std::int64_t offset, std::span<const std::byte> bytes)>& visit);

// Whether there is an entry of this name: a file, or a link that may lead nowhere, so that reading it says
// so.
bool is_named(const std::filesystem::path& path);

// Names of a folder's entries, sorted. Throws: Error{kNotFound} if it is no folder, {kIo} if it is
// unreadable.
std::vector<std::string> list_folder(const std::filesystem::path& dir);

}  // namespace latent8
