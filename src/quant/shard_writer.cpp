#include "quant/shard_writer.h"

#include "base/check.h"
#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/safetensors_index.h"

namespace latent8 {
namespace {

constexpr std::int64_t kMtpShardBytes = std::int64_t{5} << 30;  // facts/format.md 1.8
// The reference indents by 4 after adding an MTP layer. Source: facts/msmodelslim_bytes.md B4.
constexpr int kIndent = 2, kIndentWithMtp = 4;

}  // namespace

ShardWriter::ShardWriter(std::filesystem::path dir, const CheckpointPlan& plan, ShardWriterOptions options)
    : dir_(std::move(dir)),
      index_file_(fmt::format("quant_model_weight_{}.safetensors.index.json", options.weight_kind)) {
  using Unit = PlannedUnit::Kind;
  index_indent_ = plan.has(Unit::kMtp) || plan.has(Unit::kMtpFloat) ? kIndentWithMtp : kIndent;
  std::vector<const PlannedModule*> main, mtp;
  for (const PlannedUnit& unit : plan.units)
    for (const PlannedModule& module : unit.modules)
      (unit.kind == Unit::kMtpFloat ? mtp : main).push_back(&module);
  assign(main, options.shard_bytes, [&](std::size_t i, std::size_t n) {
    return fmt::format("quant_model_weight_{}-{:05}-of-{:05}.safetensors", options.weight_kind, i, n);
  });
  assign(mtp, kMtpShardBytes,
         [](std::size_t i, std::size_t) { return fmt::format("mtp_float-{}.safetensors", i); });
  for (Shard& shard : shards_) create(shard, options.resume);
}

template <class Name>
void ShardWriter::assign(const std::vector<const PlannedModule*>& modules, std::int64_t limit,
                         const Name& name) {
  const std::size_t first = shards_.size();
  for (const PlannedModule* module : modules)
    for (const PlannedTensor& planned : module->tensors) {
      const std::int64_t bytes = planned.tensor.bytes();
      if (shards_.size() == first || shards_.back().bytes + bytes >= limit) shards_.emplace_back();
      shards_.back().tensors.push_back(planned.tensor);
      shards_.back().bytes += bytes;
      total_ += bytes;
    }
  for (std::size_t i = first; i < shards_.size(); ++i) {
    Shard& shard = shards_[i];
    shard.name = name(i - first + 1, shards_.size() - first);
    for (const TensorToWrite& tensor : shard.tensors) weight_map_.emplace_back(tensor.name, shard.name);
  }
}

void ShardWriter::create(Shard& shard, bool resume) {
  std::vector<TensorToWrite> tensors = std::exchange(shard.tensors, {});
  order_for_alignment(tensors);
  const std::string header = safetensors_header(tensors, {}, shard.name);
  auto begin = static_cast<std::int64_t>(header.size());
  shard.bytes += begin;
  const auto index = static_cast<std::size_t>(&shard - shards_.data());
  for (TensorToWrite& tensor : tensors) {
    const std::int64_t end = begin + tensor.bytes();
    LATENT8_CHECK(ranges_.emplace(std::move(tensor.name), Range{index, begin, begin, end}).second);
    begin = end;
  }
  if (resume) {
    StateFile::open(dir_ / shard.name, shard.bytes);
    return;
  }
  const StateFile file = StateFile::create(dir_ / shard.name, shard.bytes);
  file.write_at(0, std::as_bytes(std::span(header.data(), header.size())));
  file.sync();
}

ShardWriter::Range& ShardWriter::range(const std::string& name) {
  const auto found = ranges_.find(name);
  LATENT8_CHECK(found != ranges_.end());
  return found->second;
}

const StateFile& ShardWriter::file(Shard& shard) {
  if (!shard.file) shard.file = StateFile::open(dir_ / shard.name, shard.bytes);
  return *shard.file;
}

void ShardWriter::append(const std::string& name, std::span<const std::byte> bytes) {
  Range& r = range(name);
  LATENT8_CHECK(static_cast<std::int64_t>(bytes.size()) <= r.end - r.next);
  file(shards_[r.shard]).write_at(r.next, bytes);
  r.next += static_cast<std::int64_t>(bytes.size());
}

ShardWriter::Place ShardWriter::place(const std::string& name) {
  const Range& r = range(name);
  return {&file(shards_[r.shard]), r.begin, r.end - r.begin};
}

void ShardWriter::sync() {
  for (Shard& shard : shards_) {
    if (!shard.file) continue;
    shard.file->sync();
    shard.file
        .reset();  // few shards are written at a time; there may be more than the files a process may open
  }
}

void ShardWriter::finish() {
  sync();
  write_file_atomically(dir_ / index_file_, safetensors_index_json(total_, weight_map_, index_indent_));
}

}  // namespace latent8
