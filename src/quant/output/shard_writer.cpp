#include "quant/output/shard_writer.h"

#include <algorithm>
#include <functional>

#include "base/check.h"
#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/safetensors_index.h"

namespace latent8 {
namespace {

constexpr std::int64_t kMtpShardBytes = std::int64_t{5} << 30;  // docs/format.md, "MTP layer"
// The reference indents by 4 after adding an MTP layer. Source: docs/format.md, "Shards and index".
constexpr int kIndent = 2, kIndentWithMtp = 4;

}  // namespace

ShardWriter::ShardWriter(std::filesystem::path dir, std::filesystem::path state, const CheckpointPlan& plan,
                         ShardWriterOptions options)
    : dir_(std::move(dir)),
      state_(std::move(state)),
      index_file_(fmt::format("quant_model_weight_{}.safetensors.index.json", options.weight_kind)) {
  using Unit = PlannedUnit::Kind;
  index_indent_ = plan.has(Unit::kMtp) || plan.has(Unit::kMtpFloat) ? kIndentWithMtp : kIndent;
  std::vector<const PlannedModule*> main, mtp, undecided;
  for (const PlannedUnit& unit : plan.units)
    for (const PlannedModule& module : unit.modules) {
      if (unit.kind == Unit::kMtpFloat)
        mtp.push_back(&module);
      else
        (module.fallback ? undecided : main).push_back(&module);
    }
  const std::size_t more = undecided.empty() ? 0 : 1;
  const auto name = [&](std::size_t i, std::size_t n) {
    return fmt::format("quant_model_weight_{}-{:05}-of-{:05}.safetensors", options.weight_kind, i, n);
  };
  assign(main, options.shard_bytes, [&](std::size_t i, std::size_t n) { return name(i, n + more); });
  const std::size_t count = shards_.size() + more;
  last_shard_ = name(count, count);
  assign(mtp, kMtpShardBytes,
         [](std::size_t i, std::size_t) { return fmt::format("mtp_float-{}.safetensors", i); });
  for (Shard& shard : shards_) create(shard, options.resume);
  if (!undecided.empty()) create_undecided(undecided, options.resume);
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
    }
  for (std::size_t i = first; i < shards_.size(); ++i) {
    Shard& shard = shards_[i];
    shard.name = name(i - first + 1, shards_.size() - first);
    shard.path = dir_ / shard.name;
  }
}

void ShardWriter::create_undecided(const std::vector<const PlannedModule*>& modules, bool resume) {
  std::map<std::string, std::int64_t, std::less<>> sizes;
  for (const PlannedModule* module : modules)
    for (const auto* tensors : {&module->tensors, &*module->fallback})
      for (const PlannedTensor& planned : *tensors) {
        std::int64_t& size = sizes[planned.tensor.name];
        size = std::max(size, planned.tensor.bytes());
      }
  undecided_ = shards_.size();
  Shard& shard = shards_.emplace_back();
  shard.path = state_ / "undecided.bin";
  for (const auto& [name, size] : sizes) {
    LATENT8_CHECK(
        ranges_.emplace(name, Range{*undecided_, shard.bytes, shard.bytes, shard.bytes + size}).second);
    shard.bytes += size;
  }
  if (resume)
    StateFile::open(shard.path, shard.bytes);
  else
    StateFile::create(shard.path, shard.bytes).sync();
}

void ShardWriter::write_decided(const CheckpointPlan& plan) {
  constexpr std::int64_t kChunk = std::int64_t{1} << 20;
  std::vector<TensorToWrite> tensors;
  for (const PlannedUnit& unit : plan.units)
    for (const PlannedModule& module : unit.modules)
      if (module.fallback)
        for (const PlannedTensor& planned : module.tensors) tensors.push_back(planned.tensor);
  order_for_alignment(tensors);
  SafetensorsWriter writer(dir_ / last_shard_, tensors);
  const StateFile& from = file(shards_[*undecided_]);
  std::vector<std::byte> chunk(static_cast<std::size_t>(kChunk));
  for (const TensorToWrite& tensor : tensors) {
    const std::int64_t begin = range(tensor.name).begin, bytes = tensor.bytes();
    for (std::int64_t done = 0; done < bytes; done += kChunk) {
      const auto part = std::span(chunk).first(static_cast<std::size_t>(std::min(kChunk, bytes - done)));
      from.read_at(begin + done, part);
      writer.append(tensor.name, part);
    }
  }
  writer.finish();
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
    StateFile::open(shard.path, shard.bytes);
    return;
  }
  const StateFile file = StateFile::create(shard.path, shard.bytes);
  file.write_at(0, std::as_bytes(std::span(header.data(), header.size())));
  file.sync();
}

ShardWriter::Range& ShardWriter::range(const std::string& name) {
  const auto found = ranges_.find(name);
  LATENT8_CHECK(found != ranges_.end());
  return found->second;
}

const StateFile& ShardWriter::file(Shard& shard) {
  if (!shard.file) shard.file = StateFile::open(shard.path, shard.bytes);
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

void ShardWriter::finish(const CheckpointPlan& plan) {
  if (undecided_) write_decided(plan);
  sync();
  std::vector<std::pair<std::string, std::string>> weight_map;  // in the order of the plan
  total_ = 0;
  for (const PlannedUnit& unit : plan.units)
    for (const PlannedModule& module : unit.modules)
      for (const PlannedTensor& planned : module.tensors) {
        const std::size_t shard = range(planned.tensor.name).shard;
        weight_map.emplace_back(planned.tensor.name, shard == undecided_ ? last_shard_ : shards_[shard].name);
        total_ += planned.tensor.bytes();
      }
  tensors_ = static_cast<std::int64_t>(weight_map.size());
  write_file_atomically(dir_ / index_file_, safetensors_index_json(total_, weight_map, index_indent_));
}

}  // namespace latent8
