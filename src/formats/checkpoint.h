#pragma once
// A checkpoint folder: config.json, the quantisation description if there is one, and the tensors of all
// safetensors files, mapped.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "formats/model_config.h"
#include "formats/quant_description.h"
#include "formats/safetensors.h"
#include "formats/safetensors_index.h"

namespace latent8 {

// Files of `dir` that the index names and that are not there, in rising order.
std::vector<std::string> missing_shards(const std::filesystem::path& dir, const SafetensorsIndex& index);
// "the index names 2 files that are not there: 'a', 'b'; fetch them again", with up to five names.
std::string missing_text(const std::vector<std::string>& names);

// Where the bytes of a stored tensor lie.
struct TensorPlace {
  std::size_t file = 0;     // position in Checkpoint::files()
  std::int64_t offset = 0;  // of the tensor's first byte, from the beginning of the file
};

// Ownership: owns the mappings; views stay valid while this object lives, moving keeps them.
// Thread-safety: const after open().
class Checkpoint {
 public:
  // Shards come from the only *.safetensors.index.json, else all *.safetensors of the folder are read.
  // Tensors of a quantised checkpoint that its description does not list are left out: nobody says in which
  // form they are. Of a model with images the language model is read: its tensors without their prefix.
  // Experts in one tensor are views of their parts, under the names of experts one by one.
  // Throws: Error{kNotFound} for a missing folder, config.json, shard or description; {kCorrupt} for a tensor
  // that is not in the shard its index names, or in two files; and what the readers of each file throw.
  static Checkpoint open(const std::filesystem::path& dir);
  // A checkpoint in memory, without files and without a folder: views of bytes that the caller owns and keeps
  // while this object lives. REQUIRES: every view has the bytes that its shape and type ask for, or none:
  // somebody else knows its values.
  static Checkpoint of_tensors(ModelConfig config, TensorMap tensors,
                               std::optional<QuantDescription> quant = std::nullopt);

  const TensorView* find(std::string_view name) const;  // nullptr if there is none
  const TensorView& get(std::string_view name) const;   // throws Error{kNotFound} with similar names
  const TensorMap& tensors() const { return tensors_; }
  std::int64_t tensor_bytes() const;  // of all of them
  // Names of the tensors that are left out, without the reference's norm.module.* doubles.
  const std::vector<std::string>& unlisted() const { return unlisted_; }
  // REQUIRES: open() made this checkpoint. Throws: as get().
  TensorPlace place_of(std::string_view name) const;
  const ModelConfig& config() const { return config_; }
  const QuantDescription* quant() const {
    return quant_ ? &*quant_ : nullptr;
  }  // nullptr: a float checkpoint
  const std::filesystem::path& dir() const { return dir_; }
  const std::vector<SafetensorsFile>& files() const { return files_; }

 private:
  Checkpoint() = default;
  void read_json_files();
  void map_indexed(const std::filesystem::path& path);
  void map_all(const std::vector<std::filesystem::path>& paths);
  void keep_language_model();
  void leave_out_unlisted();

  std::filesystem::path dir_;
  ModelConfig config_;
  std::optional<QuantDescription> quant_;
  std::vector<SafetensorsFile> files_;
  TensorMap tensors_;
  std::vector<std::string> unlisted_;
};

}  // namespace latent8
