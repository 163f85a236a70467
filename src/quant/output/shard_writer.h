#pragma once
// Writes the tensors of a quantised checkpoint.

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/checksum.h"
#include "formats/safetensors_writer.h"
#include "quant/output/state_file.h"

namespace latent8 {

// Which shard holds what, and what the files look like: all of it is known before any value is.
struct ShardLayout {
  std::vector<TensorToWrite> tensors;    // quant_model_weight_KIND-*.safetensors
  std::vector<TensorToWrite> mtp_float;  // mtp_float-*.safetensors: an MTP layer as it is
  // Tensors whose form, or whose existence, is decided on the way, with the bytes of the larger form. They
  // make up the last shard.
  std::map<std::string, std::int64_t, std::less<>> undecided;
  std::string weight_kind;                           // KIND
  std::int64_t shard_bytes = std::int64_t{4} << 30;  // a shard stays below, unless one tensor alone is larger
  enum class Order : std::uint8_t { kForAlignment, kAsReference };
  Order order = Order::kForAlignment;  // of the tensors in a file
  std::int64_t header_alignment = 64;  // the data starts at a multiple of this
  int index_indent = 2;
};

// Shards under their final names. Where every tensor lies is known from the layout, so that tensors are
// written in any order, and again by a later run. A checksum of every tensor is taken from the bytes that
// come in, kept in the folder `state`, and compared with what the files hold when they are read back.
// Thread-safety: write_at() may be called from several threads.
class ShardWriter {
 public:
  // Makes the shards, with their room on the disk and their headers; or finds them where `units` units were
  // finished by an earlier run, and reads back what that run wrote. Undecided tensors are kept in a file of
  // the folder `state` until finish(). Throws: Error{kIo} naming the file that has no room; {kCorrupt} naming
  // a shard that should exist, or a tensor that is not what was written.
  ShardWriter(std::filesystem::path dir, std::filesystem::path state, ShardLayout layout,
              std::int64_t units = 0);

  // The next bytes of tensor `name`. REQUIRES: planned, and room for them.
  void append(const std::string& name, std::span<const std::byte> bytes);
  // The next values of a tensor, in its type. REQUIRES: as above, and its form is known from the layout.
  void append_floats(const std::string& name, std::span<const float> values);
  // A whole tensor in pieces of one size, of which the last may be smaller, in any order and from several
  // threads.
  struct Place;
  Place& place(const std::string& name);
  void write_at(Place& place, std::int64_t offset, std::span<const std::byte> bytes);

  // Everything written so far is on the disk, and the checksums of this unit's tensors with it. REQUIRES:
  // these tensors are complete.
  void finish_unit(std::int64_t unit);
  // Writes the last shard, if there is something undecided, and the index. `tensors`: all of them as they
  // were decided, in the order of the index. REQUIRES: every one is complete.
  void finish(const std::vector<TensorToWrite>& tensors);

  // Names of the shards, but for the last one of undecided tensors.
  std::vector<std::string> shard_names() const;
  // Reads a shard, whose header and tensors must be what was written, and hands all of it to `also`.
  // Thread-safety: yes. Throws: Error{kCorrupt} naming the tensor and the file.
  using Bytes = std::function<void(std::span<const std::byte>)>;
  void read_back(const std::string& shard_name, const Bytes& also) const;

  std::int64_t written() const { return written_; }  // bytes of tensors, those of earlier runs included
  std::int64_t planned() const { return planned_; }  // bytes of all tensors of the layout
  // After finish().
  std::int64_t total() const { return total_; }      // bytes of all tensors
  std::int64_t tensors() const { return tensors_; }  // how many

 private:
  struct Shard {
    std::string name;
    std::filesystem::path path;
    std::string header;
    std::int64_t bytes = 0;  // of the tensors, then of the file
    std::vector<Place*> places;
    std::optional<StateFile> file;
  };
  using NameOf = std::function<std::string(std::size_t i, std::size_t n)>;
  // Shards of `tensors`, named by `name(i, n)` for the i-th of n from 1.
  void cut(const std::vector<TensorToWrite>& tensors, std::int64_t limit, const NameOf& name);
  void create(Shard& shard, bool resume);
  void create_undecided(bool resume);
  void write_undecided(const std::vector<TensorToWrite>& tensors);
  void read_checksums(std::int64_t units);
  void check_earlier_units() const;
  Place& find(const std::string& name);
  void begin(Place& place);
  const StateFile& file(Shard& shard);

  ShardLayout layout_;  // its tensors only until they are cut
  std::filesystem::path dir_, state_;
  std::vector<Shard> shards_;
  std::map<std::string, Place, std::less<>> places_;
  std::vector<Place*> unit_;              // begun since the last unit
  std::optional<std::size_t> undecided_;  // index in shards_
  std::string last_shard_;                // name of the shard that the undecided tensors become
  std::atomic<std::int64_t> written_{0};
  std::int64_t planned_ = 0, total_ = 0, tensors_ = 0;
};

// Where one tensor lies.
struct ShardWriter::Place {
  std::size_t shard = 0;
  std::optional<DType> dtype;  // none: undecided
  std::int64_t begin = 0, end = 0;
  std::atomic<std::int64_t> written{0};  // bytes of it
  // What was written: in one go (grain 0), or the sum over pieces of `grain` bytes, each seeded with its
  // offset, so that their order does not matter.
  std::atomic<std::uint64_t> sum{0};
  std::atomic<std::int64_t> grain{0};
  std::optional<Checksum> running;  // from the first append() to the end of the unit
  std::string_view name;
};

}  // namespace latent8
