#pragma once
// Writes the reference's files. Source: docs/format.md, "Files and dialects" and "Shards and index".

#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "quant/compat/plan.h"
#include "quant/output/state_file.h"

namespace latent8::compat {

// Shards as the reference cuts them: a shard ends before the tensor that would bring it to `shard_bytes`.
// Tensors come in any order, and again by a later run: where each lies is known from the plan.
class Writer {
 public:
  // Makes the shards, with their room on the disk and their headers; or finds them, where an interrupted run
  // has written `written` bytes of tensors. Throws: Error{kIo} naming the file that has no room; {kCorrupt}
  // naming a shard that should exist.
  Writer(std::filesystem::path dir, const Plan& plan, std::int64_t shard_bytes,
         std::optional<std::int64_t> written = {});

  // A whole tensor. REQUIRES: planned, and of the planned size.
  void write(const std::string& name, std::span<const std::byte> bytes);
  // Float values in the planned type.
  void write_floats(const std::string& name, std::span<const float> values);
  // The same for the next part of a tensor.
  void append(const std::string& name, std::span<const std::byte> bytes);
  void append_floats(const std::string& name, std::span<const float> values);
  // Everything written so far is on the disk.
  void sync();
  // Writes the index. REQUIRES: every tensor was written.
  void finish();

  std::int64_t written() const { return written_; }  // bytes
  std::int64_t total() const { return total_; }      // bytes of all planned tensors
  std::int64_t tensors() const { return static_cast<std::int64_t>(weight_map_.size()); }

 private:
  struct Shard {
    std::string file_name;
    std::vector<TensorToWrite> tensors;
    std::int64_t bytes = 0;         // of the tensors, then of the file
    std::optional<StateFile> file;  // from the first tensor until sync()
  };
  struct Place {
    std::size_t shard;
    DType dtype;
    std::int64_t next, end;  // in the file
  };
  template <class Name>
  void cut(const std::vector<PlannedTensor>& tensors, std::int64_t limit, const Name& name);
  Place& place_of(const std::string& name);
  void create(std::size_t index, bool resume);

  std::filesystem::path dir_;
  int index_indent_;
  std::vector<Shard> shards_;
  std::map<std::string, Place, std::less<>> places_;
  std::vector<std::pair<std::string, std::string>> weight_map_;  // in the order of the plan
  std::int64_t written_ = 0, total_ = 0;
};

// The description, under the dialect's name.
void write_description(const std::filesystem::path& dir, const Plan& plan, const QuantizeOptions& options);

// The source's config.json with the reference's marks. A quantization_config of an fp8 source is taken out
// first, as the reference asks its users to.
std::string marked_config(std::string_view source_json, const QuantizeOptions& options);

// Copies every *.json (but config.json and indices) and *.py.
void copy_other_files(const std::filesystem::path& from, const std::filesystem::path& to);

// 0750 for the folder, 0400 for safetensors, 0600 for everything else.
void set_modes(const std::filesystem::path& dir);

}  // namespace latent8::compat
