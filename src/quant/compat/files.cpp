#include "quant/compat/files.h"

#include <system_error>

#include "base/error.h"
#include "formats/files.h"
#include "quant/output/checkpoint_writer.h"

namespace latent8::compat {

namespace fs = std::filesystem;

ShardLayout shard_layout(const Plan& plan, const QuantizeOptions& options) {
  ShardLayout layout;
  for (const PlannedTensor& planned : plan.tensors) layout.tensors.push_back(planned.tensor);
  for (const PlannedTensor& planned : plan.mtp) layout.mtp_float.push_back(planned.tensor);
  layout.weight_kind = weight_kind(options);  // in names, whatever the linears are
  layout.shard_bytes = options.shard_bytes;
  layout.order = ShardLayout::Order::kAsReference;
  layout.header_alignment = 8;
  layout.index_indent = plan.mtp.empty() ? 2 : 4;
  return layout;
}

void set_modes(const fs::path& dir) {
  using fs::perms;
  std::error_code error;
  fs::path at = dir;
  fs::permissions(dir, perms::owner_all | perms::group_read | perms::group_exec, error);
  for (const std::string& name : error ? std::vector<std::string>{} : list_folder(dir)) {
    at = dir / name;
    if (!fs::is_regular_file(at)) continue;
    const bool shard = at.extension() == ".safetensors";
    fs::permissions(at, shard ? perms::owner_read : perms::owner_read | perms::owner_write, error);
    if (error) break;
  }
  if (error)
    throw_error(ErrorCode::kIo, "'{}': cannot set the file's mode: {}", at.string(), error.message());
}

}  // namespace latent8::compat
