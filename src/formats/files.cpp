#include "formats/files.h"

#include <algorithm>
#include <system_error>

#include "base/error.h"
#include "sys/mapped_file.h"

namespace latent8 {

std::string read_text_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

std::vector<std::string> list_folder(const std::filesystem::path& dir) {
  std::error_code error;
  if (!std::filesystem::is_directory(dir, error) && (!error || error == std::errc::no_such_file_or_directory))
    throw_error(ErrorCode::kNotFound, "'{}': a folder expected, but there is no such folder", dir.string());
  std::vector<std::string> names;
  std::filesystem::directory_iterator it(dir, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error))
    names.push_back(it->path().filename().string());
  if (error) throw_error(ErrorCode::kIo, "cannot list '{}': {}", dir.string(), error.message());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace latent8
