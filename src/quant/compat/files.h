#pragma once
// What the reference's files look like from outside. Source: docs/format.md, "Files and dialects".

#include <filesystem>

#include "quant/compat/plan.h"
#include "quant/output/shard_writer.h"

namespace latent8::compat {

ShardLayout shard_layout(const Plan& plan, const QuantizeOptions& options);

// 0750 for the folder, 0400 for safetensors, 0600 for everything else.
void set_modes(const std::filesystem::path& dir);

}  // namespace latent8::compat
