#pragma once
// Writes what a quantised checkpoint has beside its shards: description, config.json, copies. With
// options.compat they are the reference's, byte for byte; else what more readers need is added.
// Source: docs/format.md, "Files and dialects", "Description" and "config.json".

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "formats/model_config.h"
#include "formats/quant_description.h"
#include "latent8/quantize.h"

namespace latent8 {

// "w8a8_dynamic" or "float": the mark in config.json and in file names.
std::string weight_kind(const QuantizeOptions& options);

// Writes the description under the names that readers of the format look for. `tensors`: what is described,
// in the order of the file. REQUIRES: names differ.
void write_description(const std::filesystem::path& dir,
                       const std::vector<std::pair<std::string, QuantType>>& tensors,
                       const QuantizeOptions& options);

// What config.json has to say of the result.
struct MadeModel {
  DType dtype = DType::kBf16;  // of float tensors that were converted
  std::int64_t layers = 0;     // decoder layers
  bool mtp_mix = false;        // an int8 MTP layer
};

// The source's config.json, keys in its order, with what was assumed where it is silent (`source`: how it was
// read) and the marks of the quantisation. Of a checkpoint with fewer layers than the source,
// 'num_hidden_layers' is theirs and there is no MTP layer, so that it loads as a model.
std::string quantized_config(std::string_view source_json, const ModelConfig& source, const MadeModel& made,
                             const QuantizeOptions& options);

// Names below the folder.
struct CopiedFiles {
  std::vector<std::string> copied;
  std::vector<std::string> left_out;  // with the reason: "tokenizer.json (a Git LFS pointer)"
};
// Copies what belongs to the checkpoint beside the tensors: every file but config.json, weights, indices,
// quantisation descriptions and what lies in caches or is hidden. With `as_reference` *.json and *.py of the
// folder itself only, as the reference does. Throws: Error{kIo} naming the file.
CopiedFiles copy_other_files(const std::filesystem::path& from, const std::filesystem::path& to,
                             bool as_reference);

}  // namespace latent8
