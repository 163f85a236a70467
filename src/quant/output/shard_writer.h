#pragma once
// Writes the tensors of a quantised checkpoint.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "quant/output/state_file.h"
#include "quant/plan/plan.h"

namespace latent8 {

struct ShardWriterOptions {
  std::string weight_kind;                           // part of the files' names
  std::int64_t shard_bytes = std::int64_t{4} << 30;  // a shard stays below, unless one tensor alone is larger
  bool resume = false;                               // the shards exist: an interrupted run has made them
};

// Shards under their final names. Where every tensor lies is known from the plan, so that tensors are written
// in any order, and again by a later run. Thread-safety: places may be written at the same time.
class ShardWriter {
 public:
  // Makes the shards, with their room on the disk and their headers, or finds them. Tensors of modules that
  // may fall back are kept in a file of the folder `state` until finish(). Throws: Error{kIo} naming the file
  // that has no room; {kCorrupt} naming a shard that should exist.
  ShardWriter(std::filesystem::path dir, std::filesystem::path state, const CheckpointPlan& plan,
              ShardWriterOptions options);

  // The next bytes of tensor `name`. REQUIRES: planned, and room for them.
  void append(const std::string& name, std::span<const std::byte> bytes);
  // Where the tensor's bytes go, for those who write by themselves.
  struct Place {
    const StateFile* file;  // stays open until sync()
    std::int64_t offset, bytes;
  };
  Place place(const std::string& name);
  // Everything written so far is on the disk.
  void sync();
  // Writes the last shard, if there is something undecided, and the index. `plan` says what was decided.
  void finish(const CheckpointPlan& plan);

  // After finish().
  std::int64_t total() const { return total_; }      // bytes of all tensors
  std::int64_t tensors() const { return tensors_; }  // how many

 private:
  struct Shard {
    std::string name;
    std::filesystem::path path;
    std::vector<TensorToWrite> tensors;
    std::int64_t bytes = 0;  // of the tensors, then of the file
    std::optional<StateFile> file;
  };
  struct Range {
    std::size_t shard;
    std::int64_t next, begin, end;  // in the file
  };
  // Shards of `modules`, named by `name(i, n)` for the i-th of n from 1.
  template <class Name>
  void assign(const std::vector<const PlannedModule*>& modules, std::int64_t limit, const Name& name);
  void create(Shard& shard, bool resume);
  // The shard of what is undecided, without a header: every tensor has room for its larger form.
  void create_undecided(const std::vector<const PlannedModule*>& modules, bool resume);
  void write_decided(const CheckpointPlan& plan);
  Range& range(const std::string& name);
  const StateFile& file(Shard& shard);

  std::filesystem::path dir_, state_;
  std::string index_file_;
  int index_indent_;
  std::vector<Shard> shards_;
  std::map<std::string, Range, std::less<>> ranges_;
  std::optional<std::size_t> undecided_;  // index in shards_
  std::string last_shard_;                // name of the shard that create_undecided() stands for
  std::int64_t total_ = 0, tensors_ = 0;
};

}  // namespace latent8
