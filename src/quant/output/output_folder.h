#pragma once
// The folder of a result: complete under its name, or absent; and the folder in which it grows.

#include <filesystem>

#include "sys/file_descriptor.h"

namespace latent8 {

// Holds "OUT.partial" until commit() renames it to OUT, and locks it against a second run. What a later run
// needs to go on lies in its subfolder "state". A process that dies at any moment leaves either OUT.partial
// with its state, or OUT; in between, for moments, the state lies in "OUT.partial.state".
class OutputFolder {
 public:
  enum class Earlier {
    kRemove,  // what an interrupted run left
    kKeep     // in OUT.partial, for the caller to go on with or to clear()
  };
  // overwrite: OUT may hold a quantised checkpoint, which commit() replaces; other files there stay.
  // Throws: Error{kInvalidArgument} if OUT and `source` lie in each other (by another mount too), if OUT is a
  // file, or is not empty, or if OUT.partial is somebody else's; {kUnavailable} if another run writes it;
  // {kIo} naming the folder that cannot be made.
  OutputFolder(const std::filesystem::path& source, const std::filesystem::path& out, bool overwrite,
               Earlier earlier = Earlier::kRemove);
  // Removes OUT.partial unless keep() was called.
  ~OutputFolder();
  OutputFolder(const OutputFolder&) = delete;
  OutputFolder& operator=(const OutputFolder&) = delete;

  const std::filesystem::path& partial() const { return partial_; }
  std::filesystem::path state() const { return completed_ ? aside_ : partial_ / "state"; }
  // An earlier run died after OUT had its name: OUT is the complete result of the state. commit() tidies up;
  // clear() forgets it.
  bool completed() const { return completed_; }
  // From here on OUT.partial stays for a later run to go on with.
  void keep() { keep_ = true; }
  // Begins afresh: removes everything in OUT.partial. Throws: as the constructor.
  void clear();
  // Renames OUT.partial to OUT, without the state.
  void commit();

 private:
  void finish_interrupted_commit();
  void open_partial();
  void lock(const std::filesystem::path& state);
  void keep_others();
  void remove_aside();
  std::filesystem::path former() const { return aside_ / "former"; }

  std::filesystem::path out_, partial_, aside_;  // aside_: where commit() puts the state
  bool overwrite_;
  FileDescriptor lock_;
  bool keep_ = false, completed_ = false;
};

}  // namespace latent8
