#include "quant/compat/writer.h"

#include <nlohmann/json.hpp>
#include <system_error>

#include "base/check.h"
#include "base/error.h"
#include "formats/atomic_file.h"
#include "formats/files.h"
#include "formats/quant_description.h"
#include "formats/safetensors_index.h"

namespace latent8::compat {
namespace {

namespace fs = std::filesystem;

constexpr const char* kWeightKind = "w8a8_dynamic";  // in names, whatever the linears are
constexpr std::int64_t kMtpShardBytes = std::int64_t{5} << 30;
constexpr std::int64_t kHeaderAlignment = 8;
constexpr int kConfigIndent = 4;

bool is_mindie(const QuantizeOptions& options) { return options.format == QuantizeOptions::Format::kMindie; }

}  // namespace

Writer::Writer(fs::path dir, const Plan& plan, std::int64_t shard_bytes, std::optional<std::int64_t> written)
    : dir_(std::move(dir)), index_indent_(plan.mtp.empty() ? 2 : 4), written_(written.value_or(0)) {
  cut(plan.tensors, shard_bytes, [](std::size_t i, std::size_t n) {
    return fmt::format("quant_model_weight_{}-{:05}-of-{:05}.safetensors", kWeightKind, i, n);
  });
  cut(plan.mtp, kMtpShardBytes,
      [](std::size_t i, std::size_t) { return fmt::format("mtp_float-{}.safetensors", i); });
  for (std::size_t i = 0; i < shards_.size(); ++i) create(i, written.has_value());
}

template <class Name>
void Writer::cut(const std::vector<PlannedTensor>& tensors, std::int64_t limit, const Name& name) {
  const std::size_t first = shards_.size();
  for (const PlannedTensor& planned : tensors) {
    const std::int64_t bytes = planned.tensor.bytes();
    if (shards_.size() == first || shards_.back().bytes + bytes >= limit) shards_.emplace_back();
    Shard& shard = shards_.back();
    shard.tensors.push_back(planned.tensor);
    shard.bytes += bytes;
    total_ += bytes;
  }
  for (std::size_t i = first; i < shards_.size(); ++i) {
    Shard& shard = shards_[i];
    shard.file_name = name(i - first + 1, shards_.size() - first);
    for (const TensorToWrite& tensor : shard.tensors) weight_map_.emplace_back(tensor.name, shard.file_name);
    order_as_reference(shard.tensors);
  }
}

void Writer::create(std::size_t index, bool resume) {
  Shard& shard = shards_[index];
  const std::vector<TensorToWrite> tensors = std::move(shard.tensors);
  const std::string header =
      safetensors_header(tensors, {.header_alignment = kHeaderAlignment}, shard.file_name);
  auto begin = static_cast<std::int64_t>(header.size());
  for (const TensorToWrite& tensor : tensors) {
    const std::int64_t end = begin + tensor.bytes();
    LATENT8_CHECK(places_.emplace(tensor.name, Place{index, tensor.dtype, begin, end}).second);
    begin = end;
  }
  shard.bytes = begin;
  if (resume) {
    // An earlier run that died at its very end has left it as a result.
    std::error_code ignored;
    fs::permissions(dir_ / shard.file_name, fs::perms::owner_write, fs::perm_options::add, ignored);
    StateFile::open(dir_ / shard.file_name, shard.bytes);
    return;
  }
  const StateFile file = StateFile::create(dir_ / shard.file_name, shard.bytes);
  file.write_at(0, std::as_bytes(std::span(header.data(), header.size())));
  file.sync();
}

Writer::Place& Writer::place_of(const std::string& name) {
  const auto found = places_.find(name);
  LATENT8_CHECK(found != places_.end());
  return found->second;
}

void Writer::write(const std::string& name, std::span<const std::byte> bytes) {
  const Place& place = place_of(name);
  LATENT8_CHECK_EQ(place.end - place.next, static_cast<std::int64_t>(bytes.size()));
  append(name, bytes);
}

void Writer::write_floats(const std::string& name, std::span<const float> values) {
  const Place& place = place_of(name);
  LATENT8_CHECK_EQ(place.end - place.next, static_cast<std::int64_t>(values.size()) * size_of(place.dtype));
  append_floats(name, values);
}

void Writer::append(const std::string& name, std::span<const std::byte> bytes) {
  Place& place = place_of(name);
  const auto size = static_cast<std::int64_t>(bytes.size());
  LATENT8_CHECK(size <= place.end - place.next);
  Shard& shard = shards_[place.shard];
  if (!shard.file) shard.file = StateFile::open(dir_ / shard.file_name, shard.bytes);
  shard.file->write_at(place.next, bytes);
  place.next += size;
  written_ += size;
}

void Writer::append_floats(const std::string& name, std::span<const float> values) {
  const DType dtype = place_of(name).dtype;
  std::vector<std::byte> stored(values.size() * static_cast<std::size_t>(size_of(dtype)));
  narrow(values.data(), dtype, static_cast<std::int64_t>(values.size()), stored.data());
  append(name, stored);
}

void Writer::sync() {
  for (Shard& shard : shards_) {
    if (!shard.file) continue;
    shard.file->sync();
    shard.file.reset();  // there may be more shards than files that a process may open
  }
}

void Writer::finish() {
  LATENT8_CHECK_EQ(written_, total_);
  write_file_atomically(dir_ / fmt::format("quant_model_weight_{}.safetensors.index.json", kWeightKind),
                        safetensors_index_json(total_, weight_map_, index_indent_));
}

void write_description(const fs::path& dir, const Plan& plan, const QuantizeOptions& options) {
  QuantDescription description;
  if (!is_mindie(options)) description.version = "1.0.0";
  description.model_quant_type = "W8A8_DYNAMIC";
  if (options.fa_quant) description.fa_quant_type = is_mindie(options) ? "FAQuant" : "FAKQuant";
  for (const auto* tensors : {&plan.tensors, &plan.mtp})
    for (const PlannedTensor& planned : *tensors)
      if (planned.described) LATENT8_CHECK(description.add(planned.tensor.name, planned.type));
  const std::string name = is_mindie(options) ? fmt::format("quant_model_description_{}.json", kWeightKind)
                                              : "quant_model_description.json";
  write_file_atomically(dir / name, description.to_json());
}

std::string marked_config(std::string_view source_json, const QuantizeOptions& options) {
  using Json = nlohmann::ordered_json;
  Json config = Json::parse(source_json);
  config.erase("quantization_config");
  if (is_mindie(options)) {
    config["model_type"] = "deepseekv2";
    config["quantize"] = kWeightKind;
    Json& quantization = config["quantization_config"] = Json::object();
    quantization["kv_quant_type"] = nullptr;
    quantization["fa_quant_type"] = options.fa_quant ? Json("FAKQuant") : Json(nullptr);
    quantization["group_size"] = 0;
    config["mla_quantize"] = "w8a8";
  } else {
    config["mla_quantize"] = "w8a8";
    config["quantize"] = kWeightKind;
    if (options.fa_quant) config["quantization_config"]["fa_quant_type"] = "FAKQuant";
  }
  return config.dump(kConfigIndent, ' ', /*ensure_ascii=*/true);
}

void copy_other_files(const fs::path& from, const fs::path& to) {
  for (const std::string& name : list_folder(from)) {
    const fs::path extension = fs::path(name).extension();
    const bool json = extension == ".json" && name != "config.json" && !name.ends_with(".index.json");
    if ((json || extension == ".py") && fs::is_regular_file(from / name))
      write_file_atomically(to / name, read_text_file(from / name));
  }
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
