#pragma once
// The folder of a result: complete under its name, or absent.

#include <filesystem>

namespace latent8 {

// Holds "OUT.partial" (an earlier one is emptied) until commit() renames it to OUT; removed if that is never
// called.
class OutputFolder {
 public:
  // overwrite: OUT may hold a quantised checkpoint, which commit() replaces.
  // Throws: Error{kInvalidArgument} if OUT lies in `source`, or is a file, or is not empty; {kIo} naming the
  // folder that cannot be made.
  OutputFolder(const std::filesystem::path& source, const std::filesystem::path& out, bool overwrite);
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& partial() const { return partial_; }
  void commit();

 private:
  std::filesystem::path out_, partial_;
};

}  // namespace latent8
