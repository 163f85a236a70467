#pragma once
// Opening files that somebody else names.

#include <filesystem>

#include "sys/file_descriptor.h"

namespace latent8 {

// The file opened for reading. What is no regular file (a FIFO, a device, a folder, a socket) is refused at
// once: opening or reading it could wait for ever.
// Throws: Error{kNotFound} if there is no such file, {kIo} otherwise, naming the path.
FileDescriptor open_regular_file(const std::filesystem::path& path);

}  // namespace latent8
