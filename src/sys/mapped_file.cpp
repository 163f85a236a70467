#include "sys/mapped_file.h"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstring>
#include <mutex>
#include <utility>

#include "base/error.h"
#include "sys/regular_file.h"

namespace latent8 {
namespace {

// A fixed table that the signal handler can read without locks: begin != 0 marks a used slot, and the name is
// written before begin is set.
struct Slot {
  std::atomic<std::uintptr_t> begin{0};
  std::atomic<std::uintptr_t> end{0};
  std::array<char, 512> path{};
};
std::array<Slot, 1024> slots;
std::mutex slots_mutex;
struct sigaction previous_action;

void write_text(const char* text) {
  [[maybe_unused]] const auto written = write(STDERR_FILENO, text, std::strlen(text));
}

void on_bus_error(int signal, siginfo_t* info, void*) {
  const auto address = reinterpret_cast<std::uintptr_t>(info->si_addr);
  for (const Slot& slot : slots) {
    const std::uintptr_t begin = slot.begin.load();
    if (begin == 0 || address < begin || address >= slot.end.load()) continue;
    write_text("latent8: error: '");
    write_text(slot.path.data());
    write_text(
        "' became shorter, or its disk failed, while it was in use; restore the file and start again\n");
    _exit(1);
  }
  sigaction(signal, &previous_action, nullptr);  // not ours: the access is repeated under the former handler
}

void register_mapping(const std::span<const std::byte> bytes, const std::string& path) {
  const std::lock_guard lock(slots_mutex);
  static const bool installed = [] {
    struct sigaction action{};
    action.sa_sigaction = on_bus_error;
    action.sa_flags = SA_SIGINFO;
    sigaction(SIGBUS, &action, &previous_action);
    return true;
  }();
  static_cast<void>(installed);
  for (Slot& slot : slots) {
    if (slot.begin.load() != 0) continue;
    std::strncpy(slot.path.data(), path.c_str(), slot.path.size() - 1);
    slot.end = reinterpret_cast<std::uintptr_t>(bytes.data()) + bytes.size();
    slot.begin = reinterpret_cast<std::uintptr_t>(bytes.data());
    return;
  }
}

void unregister_mapping(const std::span<const std::byte> bytes) {
  const std::lock_guard lock(slots_mutex);
  for (Slot& slot : slots)
    if (slot.begin.load() == reinterpret_cast<std::uintptr_t>(bytes.data())) slot.begin = 0;
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  const FileDescriptor file = open_regular_file(path);
  struct stat status{};
  if (fstat(file.get(), &status) != 0)
    throw_error(ErrorCode::kIo, "cannot read '{}': {}", path.string(), std::strerror(errno));
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return;
  void* p = mmap(nullptr, size, PROT_READ, MAP_SHARED, file.get(), 0);
  if (p == MAP_FAILED)
    throw_error(ErrorCode::kIo, "cannot map '{}' ({} bytes): {}", path.string(), size, std::strerror(errno));
  bytes_ = {static_cast<const std::byte*>(p), size};
  register_mapping(bytes_, path.string());
}

MappedFile::~MappedFile() {
  if (bytes_.empty()) return;
  unregister_mapping(bytes_);
  munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : bytes_(std::exchange(other.bytes_, {})), path_(std::move(other.path_)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(bytes_, other.bytes_);
  std::swap(path_, other.path_);
  return *this;
}

}  // namespace latent8
