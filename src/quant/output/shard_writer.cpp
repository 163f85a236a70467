#include "quant/output/shard_writer.h"

#include <algorithm>
#include <sstream>
#include <system_error>

#include "base/check.h"
#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/files.h"
#include "formats/safetensors_index.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

// As the reference cuts the files of a float MTP layer. Source: docs/format.md, "MTP layer".
constexpr std::int64_t kMtpShardBytes = std::int64_t{5} << 30;
constexpr std::int64_t kChunk = std::int64_t{1} << 20;

fs::path checksum_file(const fs::path& state, std::int64_t unit) {
  return state / fmt::format("checksums-{}.txt", unit);
}

[[noreturn]] void refuse_damage(const std::string& what, const fs::path& path) {
  throw_error(ErrorCode::kCorrupt,
              "'{}': {} is not what was written: the disk or the memory changed it; start afresh (latent8 "
              "quantize --no-resume, or remove the unfinished folder)",
              path.string(), what);
}

// The checksum of a stored tensor, from its bytes in order.
class StoredSum {
 public:
  explicit StoredSum(std::int64_t grain) : grain_(grain) {}
  void add(std::span<const std::byte> bytes) {
    if (grain_ == 0) return whole_.add(bytes);
    while (!bytes.empty()) {
      const auto room = static_cast<std::size_t>(grain_) - piece_.size();
      const auto part = bytes.first(std::min(room, bytes.size()));
      piece_.insert(piece_.end(), part.begin(), part.end());
      bytes = bytes.subspan(part.size());
      if (static_cast<std::int64_t>(piece_.size()) == grain_) end_piece();
    }
  }
  std::uint64_t value() {
    if (grain_ == 0) return whole_.value();
    if (!piece_.empty()) end_piece();
    return sum_;
  }

 private:
  void end_piece() {
    sum_ += checksum(piece_, offset_);
    offset_ += piece_.size();
    piece_.clear();
  }
  std::int64_t grain_;
  Checksum whole_;
  std::vector<std::byte> piece_;
  std::uint64_t sum_ = 0, offset_ = 0;
};

}  // namespace

ShardWriter::ShardWriter(fs::path dir, fs::path state, ShardLayout layout, std::int64_t units)
    : layout_(std::move(layout)), dir_(std::move(dir)), state_(std::move(state)) {
  const std::size_t more = layout_.undecided.empty() ? 0 : 1;
  const auto name = [&](std::size_t i, std::size_t n) {
    return fmt::format("quant_model_weight_{}-{:05}-of-{:05}.safetensors", layout_.weight_kind, i, n);
  };
  cut(layout_.tensors, layout_.shard_bytes, [&](std::size_t i, std::size_t n) { return name(i, n + more); });
  const std::size_t count = shards_.size() + more;
  last_shard_ = name(count, count);
  cut(layout_.mtp_float, kMtpShardBytes,
      [](std::size_t i, std::size_t) { return fmt::format("mtp_float-{}.safetensors", i); });
  layout_.tensors.clear();
  layout_.mtp_float.clear();
  for (Shard& shard : shards_) create(shard, units > 0);
  if (more > 0) create_undecided(units > 0);
  read_checksums(units);
  check_earlier_units();
}

void ShardWriter::cut(const std::vector<TensorToWrite>& tensors, std::int64_t limit, const NameOf& name) {
  std::vector<std::vector<TensorToWrite>> files;
  std::int64_t bytes_of_file = 0;
  for (const TensorToWrite& tensor : tensors) {
    const std::int64_t bytes = tensor.bytes();
    if (files.empty() || bytes_of_file + bytes >= limit) {
      files.emplace_back();
      bytes_of_file = 0;
    }
    files.back().push_back(tensor);
    bytes_of_file += bytes;
    planned_ += bytes;
  }
  for (std::size_t i = 0; i < files.size(); ++i) {
    if (layout_.order == ShardLayout::Order::kAsReference)
      order_as_reference(files[i]);
    else
      order_for_alignment(files[i]);
    const std::size_t index = shards_.size();
    Shard& shard = shards_.emplace_back();
    shard.name = name(i + 1, files.size());
    shard.path = dir_ / shard.name;
    SafetensorsWriterOptions options;
    options.header_alignment = layout_.header_alignment;
    shard.header = safetensors_header(files[i], options, shard.name);
    shard.bytes = static_cast<std::int64_t>(shard.header.size());
    for (const TensorToWrite& tensor : files[i]) {
      const auto [at, first] = places_.try_emplace(tensor.name);
      LATENT8_CHECK(first);
      Place& place = at->second;
      place.name = at->first;
      place.shard = index;
      place.dtype = tensor.dtype;
      place.begin = shard.bytes;
      place.end = shard.bytes += tensor.bytes();
      shard.places.push_back(&place);
    }
  }
}

void ShardWriter::create(Shard& shard, bool resume) {
  if (resume) {
    // An earlier run that died at its very end has left it as a result, with that one's mode.
    std::error_code ignored;
    fs::permissions(shard.path, fs::perms::owner_write, fs::perm_options::add, ignored);
    StateFile::open(shard.path, shard.bytes);
    return;
  }
  const StateFile file = StateFile::create(shard.path, shard.bytes);
  file.write_at(0, std::as_bytes(std::span(shard.header.data(), shard.header.size())));
  file.sync();
}

void ShardWriter::create_undecided(bool resume) {
  undecided_ = shards_.size();
  Shard& shard = shards_.emplace_back();
  shard.path = state_ / "undecided.bin";
  for (const auto& [name, size] : layout_.undecided) {
    const auto [at, first] = places_.try_emplace(name);
    LATENT8_CHECK(first);
    Place& place = at->second;
    place.name = at->first;
    place.shard = *undecided_;
    place.begin = shard.bytes;
    place.end = shard.bytes += size;
    shard.places.push_back(&place);
    planned_ += size;
  }
  if (resume)
    StateFile::open(shard.path, shard.bytes);
  else
    StateFile::create(shard.path, shard.bytes).sync();
}

// A line per tensor: checksum, grain, bytes, name.
void ShardWriter::read_checksums(std::int64_t units) {
  for (std::int64_t unit = 0; unit < units; ++unit) {
    const fs::path path = checksum_file(state_, unit);
    std::istringstream lines(read_state_text(path));
    std::uint64_t sum = 0;
    std::int64_t grain = 0, bytes = 0;
    for (std::string name; lines >> std::hex >> sum >> std::dec >> grain >> bytes;) {
      lines.get();
      std::getline(lines, name);
      const auto found = places_.find(name);
      if (found == places_.end()) refuse_damage(fmt::format("'{}'", name), path);
      Place& place = found->second;
      place.sum = sum;
      place.grain = grain;
      place.written = bytes;
      written_ += bytes;
    }
  }
}

void ShardWriter::check_earlier_units() const {
  for (const Shard& shard : shards_)
    if (std::any_of(shard.places.begin(), shard.places.end(), [](const Place* p) { return p->written > 0; }))
      read_back(shard.name, [](std::span<const std::byte>) {});
}

void ShardWriter::finish_unit(std::int64_t unit) {
  for (Shard& shard : shards_) {
    if (!shard.file) continue;
    shard.file->sync();
    shard.file.reset();  // there may be more shards than files that a process may open
  }
  std::string text;
  for (Place* place : unit_) {
    if (place->running) place->sum = place->running->value();
    place->running.reset();
    LATENT8_CHECK(!place->dtype || place->written == place->end - place->begin);
    text += fmt::format("{:016x} {} {} {}\n", place->sum.load(), place->grain.load(), place->written.load(),
                        place->name);
  }
  unit_.clear();
  write_state_text(checksum_file(state_, unit), text);
}

std::vector<std::string> ShardWriter::shard_names() const {
  std::vector<std::string> names;
  for (std::size_t i = 0; i < shards_.size(); ++i)
    if (i != undecided_) names.push_back(shards_[i].name);
  return names;
}

void ShardWriter::read_back(const std::string& shard_name, const Bytes& also) const {
  const auto shard =
      std::find_if(shards_.begin(), shards_.end(), [&](const Shard& s) { return s.name == shard_name; });
  LATENT8_CHECK(shard != shards_.end());
  std::string header;
  auto place = shard->places.begin();
  std::optional<StoredSum> sum;
  const auto end_of = [](const Place& p) { return p.begin + p.written; };
  for_each_chunk(shard->path, [&](std::int64_t offset, std::span<const std::byte> bytes) {
    also(bytes);
    const std::int64_t chunk_end = offset + static_cast<std::int64_t>(bytes.size());
    const auto part = [&](std::int64_t from, std::int64_t to) {
      from = std::max(from, offset), to = std::min(to, chunk_end);
      return from < to
                 ? bytes.subspan(static_cast<std::size_t>(from - offset), static_cast<std::size_t>(to - from))
                 : std::span<const std::byte>{};
    };
    const auto of_header = part(0, static_cast<std::int64_t>(shard->header.size()));
    header.append(reinterpret_cast<const char*>(of_header.data()), of_header.size());
    for (; place != shard->places.end() && (*place)->begin < chunk_end; ++place) {
      const Place& p = **place;
      if (p.written == 0) continue;
      if (!sum) sum.emplace(p.grain);
      sum->add(part(p.begin, end_of(p)));
      if (end_of(p) > chunk_end) return;  // goes on in the next chunk
      if (sum->value() != p.sum) refuse_damage(fmt::format("tensor '{}'", p.name), shard->path);
      sum.reset();
    }
  });
  if (header != shard->header) refuse_damage("the header", shard->path);
  if (sum) refuse_damage("the end", shard->path);  // the file has become shorter
}

ShardWriter::Place& ShardWriter::find(const std::string& name) {
  const auto found = places_.find(name);
  LATENT8_CHECK(found != places_.end());
  return found->second;
}

const StateFile& ShardWriter::file(Shard& shard) {
  if (!shard.file) shard.file = StateFile::open(shard.path, shard.bytes);
  return *shard.file;
}

void ShardWriter::begin(Place& place) {
  unit_.push_back(&place);
  file(shards_[place.shard]);
}

void ShardWriter::append(const std::string& name, std::span<const std::byte> bytes) {
  Place& place = find(name);
  if (!place.running) {
    LATENT8_CHECK(place.written == 0);  // a tensor belongs to one unit
    begin(place);
    place.running.emplace();
  }
  const std::int64_t at = place.begin + place.written;
  LATENT8_CHECK(static_cast<std::int64_t>(bytes.size()) <= place.end - at);
  shards_[place.shard].file->write_at(at, bytes);
  place.running->add(bytes);
  place.written += static_cast<std::int64_t>(bytes.size());
  written_ += static_cast<std::int64_t>(bytes.size());
}

void ShardWriter::append_floats(const std::string& name, std::span<const float> values) {
  const std::optional<DType> dtype = find(name).dtype;
  LATENT8_CHECK(dtype.has_value());
  std::vector<std::byte> stored(values.size() * static_cast<std::size_t>(size_of(*dtype)));
  narrow(values.data(), *dtype, static_cast<std::int64_t>(values.size()), stored.data());
  append(name, stored);
}

ShardWriter::Place& ShardWriter::place(const std::string& name) {
  Place& place = find(name);
  LATENT8_CHECK(place.written == 0);
  begin(place);
  return place;
}

void ShardWriter::write_at(Place& place, std::int64_t offset, std::span<const std::byte> bytes) {
  const auto size = static_cast<std::int64_t>(bytes.size());
  LATENT8_CHECK(offset >= 0 && offset + size <= place.end - place.begin);
  shards_[place.shard].file->write_at(place.begin + offset, bytes);
  place.sum += checksum(bytes, static_cast<std::uint64_t>(offset));
  for (std::int64_t grain = place.grain; grain < size && !place.grain.compare_exchange_weak(grain, size);) {
  }
  place.written += size;
  written_ += size;
}

// The undecided tensors, in the form that they have taken, checked on the way.
void ShardWriter::write_undecided(const std::vector<TensorToWrite>& all) {
  std::vector<TensorToWrite> tensors;
  for (const TensorToWrite& tensor : all)
    if (find(tensor.name).shard == undecided_) tensors.push_back(tensor);
  order_for_alignment(tensors);
  SafetensorsWriter writer(dir_ / last_shard_, tensors);
  Shard& from = shards_[*undecided_];
  std::vector<std::byte> chunk(static_cast<std::size_t>(kChunk));
  for (const TensorToWrite& tensor : tensors) {
    const Place& place = find(tensor.name);
    LATENT8_CHECK_EQ(place.written.load(), tensor.bytes());
    StoredSum sum(place.grain);
    for (std::int64_t done = 0; done < place.written; done += kChunk) {
      const std::int64_t size = std::min(kChunk, place.written - done);
      const auto part = std::span(chunk).first(static_cast<std::size_t>(size));
      file(from).read_at(place.begin + done, part);
      sum.add(part);
      writer.append(tensor.name, part);
    }
    if (sum.value() != place.sum) refuse_damage(fmt::format("tensor '{}'", tensor.name), from.path);
  }
  writer.finish();
  from.file.reset();
}

void ShardWriter::finish(const std::vector<TensorToWrite>& tensors) {
  if (undecided_) write_undecided(tensors);
  std::vector<std::pair<std::string, std::string>> weight_map;
  total_ = 0;
  for (const TensorToWrite& tensor : tensors) {
    const Place& place = find(tensor.name);
    LATENT8_CHECK_EQ(place.written.load(), tensor.bytes());
    weight_map.emplace_back(tensor.name, place.shard == undecided_ ? last_shard_ : shards_[place.shard].name);
    total_ += tensor.bytes();
  }
  tensors_ = static_cast<std::int64_t>(weight_map.size());
  write_file_atomically(
      dir_ / fmt::format("quant_model_weight_{}.safetensors.index.json", layout_.weight_kind),
      safetensors_index_json(total_, weight_map, layout_.index_indent));
}

}  // namespace latent8
