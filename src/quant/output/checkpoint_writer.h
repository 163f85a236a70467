#pragma once
// Writes what a quantised checkpoint has beside its shards: description, config.json, copies.
// Source: docs/format.md, "Files and dialects", "Description" and "config.json".

#include <filesystem>
#include <string>
#include <string_view>

#include "quant/plan/plan.h"

namespace latent8 {

// "w8a8_dynamic" or "float": the mark in config.json and in file names.
std::string weight_kind(const QuantizeOptions& options);

// Writes the description under the names that readers of the format look for.
void write_description(const std::filesystem::path& dir, const CheckpointPlan& plan,
                       const QuantizeOptions& options);

// The source's config.json, keys in its order, with the marks of the quantisation. Of a checkpoint with fewer
// layers than the source, 'num_hidden_layers' is theirs and there is no MTP layer, so that it loads as a
// model.
std::string quantized_config(std::string_view source_json, const CheckpointPlan& plan,
                             const QuantizeOptions& options);

// Copies what belongs to the checkpoint beside the tensors: *.json but config.json, indices and descriptions;
// *.py; *.jinja (chat templates that are files of their own).
void copy_other_files(const std::filesystem::path& from, const std::filesystem::path& to);

}  // namespace latent8
