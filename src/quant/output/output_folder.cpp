#include "quant/output/output_folder.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <optional>
#include <set>
#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"
#include "quant/output/own_files.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

// In a state folder: says that latent8 made it, and is locked by the run that writes there.
constexpr const char* kLock = "lock";

// Without a trailing slash, so that a suffix can follow.
fs::path normal(const fs::path& path) {
  fs::path out = fs::weakly_canonical(fs::absolute(path));
  return out.has_filename() ? out : out.parent_path();
}

bool lies_in(const fs::path& inner, const fs::path& outer) {
  const fs::path relative = inner.lexically_relative(outer);
  return !relative.empty() && *relative.begin() != "..";
}

// What a folder is, whatever its path: a bind mount has the identity of what is mounted.
using FolderId = std::pair<dev_t, ino_t>;
std::optional<FolderId> id_of(const fs::path& path) {
  struct stat status{};
  if (stat(path.c_str(), &status) != 0) return {};
  return FolderId{status.st_dev, status.st_ino};
}

bool lies_in_one_of(fs::path path, const std::set<FolderId>& folders) {
  for (;; path = path.parent_path()) {
    const auto id = id_of(path);
    if (id && folders.contains(*id)) return true;
    if (path == path.parent_path()) return false;
  }
}

std::set<FolderId> folders_of(const fs::path& dir) {
  std::set<FolderId> out;
  if (const auto id = id_of(dir)) out.insert(*id);
  std::error_code error;
  fs::recursive_directory_iterator it(dir, fs::directory_options::skip_permission_denied, error);
  for (; !error && it != fs::recursive_directory_iterator(); it.increment(error)) {
    std::error_code none;
    const auto id = it->is_directory(none) && !it->is_symlink(none) ? id_of(it->path()) : std::nullopt;
    if (id) out.insert(*id);
  }
  return out;
}

// Whether one of them is, or lies in, the other.
bool overlap(const fs::path& source, const fs::path& out) {
  if (lies_in(out, source) || lies_in(source, out) || lies_in_one_of(out, folders_of(source))) return true;
  const auto id = id_of(out);
  return id && lies_in_one_of(source, {*id});
}

void check_out(const fs::path& out, bool overwrite) {
  if (!fs::exists(out)) return;
  if (!fs::is_directory(out))
    throw_error(ErrorCode::kInvalidArgument, "'{}': a folder expected, got a file", out.string());
  if (fs::is_empty(out)) return;
  if (!overwrite)
    throw_error(ErrorCode::kInvalidArgument,
                "'{}': an empty or absent folder expected, got one with files; choose another, or overwrite "
                "it (latent8 quantize --overwrite)",
                out.string());
  if (own_files(out).names.empty())
    throw_error(
        ErrorCode::kInvalidArgument,
        "'{}': only a quantised checkpoint is overwritten, but neither SHA256SUMS nor a "
        "quant_model_description*.json that describes tensors is there; remove the folder yourself or "
        "choose another",
        out.string());
}

// Whether latent8 made the folder: its state is locked, or it died before it could lock anything.
bool is_ours(const fs::path& partial) {
  if (!fs::is_directory(partial)) return false;
  if (fs::exists(partial / "state" / kLock)) return true;
  for (const auto& entry : fs::directory_iterator(partial))
    if (entry.path().filename() != "state" || !entry.is_directory() || !fs::is_empty(entry.path()))
      return false;
  return true;
}

void rename_or_throw(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (error)
    throw_error(ErrorCode::kIo, "'{}': cannot rename to '{}': {}", from.string(), to.string(),
                error.message());
}

bool is_file(int fd, const fs::path& path) {
  struct stat opened{}, named{};
  return fstat(fd, &opened) == 0 && stat(path.c_str(), &named) == 0 && opened.st_ino == named.st_ino;
}

void remove_entries(const fs::path& dir, const char* except) {
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(dir))
    if (!error && entry.path().filename() != except) fs::remove_all(entry.path(), error);
  if (error) throw_error(ErrorCode::kIo, "'{}': cannot be emptied: {}", dir.string(), error.message());
}

// Files under their temporary names, from runs that died while they wrote them. Source:
// formats/atomic_file.h.
void remove_temporary_files(const fs::path& dir) {
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(dir))
    if (entry.path().filename().string().find(".tmp-") != std::string::npos)
      fs::remove(entry.path(), ignored);
}

void sync_folder(const fs::path& dir) {
  const int fd = open(dir.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;
  fsync(fd);
  close(fd);
}

}  // namespace

OutputFolder::OutputFolder(const fs::path& source, const fs::path& out, bool overwrite, Earlier earlier)
    : overwrite_(overwrite) {
  if (out.empty()) throw_error(ErrorCode::kInvalidArgument, "the output folder has no name");
  out_ = normal(out);
  partial_ = out_.string() + ".partial";
  aside_ = out_.string() + ".partial.state";
  if (overlap(normal(source), out_))
    throw_error(ErrorCode::kInvalidArgument, "'{}': a folder outside the source '{}' expected", out_.string(),
                source.string());
  finish_interrupted_commit();
  if (!completed_) open_partial();
  if (earlier == Earlier::kRemove) clear();
}

OutputFolder::~OutputFolder() {
  std::error_code ignored;
  if (!keep_ && !completed_) fs::remove_all(partial_, ignored);
}

// commit() moves the state aside, then what OUT held, then gives OUT.partial its name: undo the first two
// steps or see that all were done.
void OutputFolder::finish_interrupted_commit() {
  if (!fs::exists(aside_ / kLock)) {
    std::error_code ignored;
    fs::remove(aside_, ignored);  // the last thing that remove_aside() removes; stays if it is not empty
    return;
  }
  lock(aside_);
  if (!fs::exists(partial_) && fs::exists(out_)) {
    completed_ = true;
    return;
  }
  if (fs::exists(former()) && !fs::exists(out_)) rename_or_throw(former(), out_);
  if (fs::exists(partial_)) rename_or_throw(aside_, partial_ / "state");
  lock_ = FileDescriptor();
}

void OutputFolder::open_partial() {
  check_out(out_, overwrite_);
  if (fs::exists(partial_) && !is_ours(partial_))
    throw_error(ErrorCode::kInvalidArgument,
                "'{}': needed for unfinished output, but it exists and latent8 did not make it; move it away",
                partial_.string());
  std::error_code error;
  fs::create_directories(state(), error);
  if (error)
    throw_error(ErrorCode::kIo, "'{}': cannot create the folder: {}", partial_.string(), error.message());
  lock(state());
}

void OutputFolder::lock(const fs::path& state) {
  const fs::path path = state / kLock;
  lock_ = FileDescriptor(open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644));
  if (lock_.get() < 0)
    throw_error(ErrorCode::kIo, "'{}': cannot create the file: {}", path.string(), std::strerror(errno));
  // A run that finished in between has moved the file that was opened.
  const bool locked = flock(lock_.get(), LOCK_EX | LOCK_NB) == 0;
  const int error = locked ? EWOULDBLOCK : errno;
  if (locked && is_file(lock_.get(), path)) return;
  lock_ = FileDescriptor();
  if (error == EWOULDBLOCK)
    throw_error(ErrorCode::kUnavailable,
                "'{}': another run writes it; wait for that run, or choose another folder",
                partial_.string());
  throw_error(ErrorCode::kIo, "'{}': cannot lock the file: {}", path.string(), std::strerror(error));
}

// The lock goes last: as long as it is there, the next run finds and removes what is left.
void OutputFolder::remove_aside() {
  remove_entries(aside_, kLock);
  std::error_code ignored;
  fs::remove_all(aside_, ignored);
}

// What the former result's folder held besides that result goes into the new one. Only then is the former
// one removed, under another name: a run that goes on after a kill must not take half of it for the user's.
void OutputFolder::keep_others() {
  if (!fs::exists(former())) return;
  keep_other_files(former(), own_files(former()), out_);
  rename_or_throw(former(), aside_ / "removed");
}

void OutputFolder::clear() {
  if (completed_) {
    completed_ = false;
    keep_others();
    remove_aside();
    lock_ = FileDescriptor();
    open_partial();
  }
  remove_entries(partial_, "state");
  remove_entries(state(), kLock);
}

void OutputFolder::commit() {
  if (!completed_) {
    remove_temporary_files(partial_);
    rename_or_throw(state(), aside_);
    completed_ = true;  // whatever fails from here on, the state is needed
    if (fs::exists(out_)) rename_or_throw(out_, former());
    rename_or_throw(partial_, out_);
    sync_folder(out_.parent_path());
  }
  keep_others();
  remove_aside();
}

}  // namespace latent8
