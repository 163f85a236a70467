#pragma once
// Writes the files of a quantised checkpoint: shards, index, description, config.json, copies.
// Source: facts/format.md 1.5 to 1.7; facts/msmodelslim_bytes.md B1, B4, B5, B7, B8, E1.

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "quant/plan.h"

namespace latent8 {

// Shards of at most this many bytes, unless one tensor alone is larger.
inline constexpr std::int64_t kShardBytes = std::int64_t{4} << 30;

// Tensors into shards whose content is known from the start. A shard is written as its tensors arrive, in any
// order, and finished with the last of them.
class ShardWriter {
 public:
  ShardWriter(std::filesystem::path dir, const CheckpointPlan& plan, const std::string& weight_kind,
              std::int64_t shard_bytes = kShardBytes);

  // The next bytes of tensor `name`. REQUIRES: planned, and room for them.
  void append(const std::string& name, std::span<const std::byte> bytes);
  // REQUIRES: every tensor is complete. Writes the index.
  void finish();

  std::int64_t written() const { return written_; }  // bytes
  std::int64_t total() const { return total_; }      // bytes of all planned tensors
  std::int64_t tensors() const { return static_cast<std::int64_t>(weight_map_.size()); }

 private:
  struct Shard {
    std::string file;
    std::vector<TensorToWrite> tensors;
    std::int64_t bytes = 0, written = 0;
    std::unique_ptr<SafetensorsWriter> writer;  // while it is being written
  };
  // Shards of `modules`, named by `name(i, n)` for the i-th of n from 1.
  template <class Name>
  void assign(const std::vector<const PlannedModule*>& modules, std::int64_t limit, const Name& name);

  std::filesystem::path dir_;
  std::string index_file_;
  int index_indent_;
  std::vector<Shard> shards_;
  std::map<std::string, std::size_t, std::less<>> shard_of_;
  std::vector<std::pair<std::string, std::string>> weight_map_;  // in the order of the plan
  std::int64_t written_ = 0, total_ = 0;
};

// "w8a8_dynamic" or "float": the mark in config.json and in file names.
std::string weight_kind(const QuantizeOptions& options);

// Writes the description under the names that readers of the format look for.
void write_description(const std::filesystem::path& dir, const CheckpointPlan& plan,
                       const QuantizeOptions& options);

// The source's config.json, keys in its order, with the marks of the quantisation.
std::string quantized_config(std::string_view source_json, const CheckpointPlan& plan,
                             const QuantizeOptions& options);

// Copies what belongs to the checkpoint beside the tensors: *.json but config.json, indices and descriptions;
// *.py; *.jinja (chat templates that are files of their own).
void copy_other_files(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace latent8
