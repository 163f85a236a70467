#pragma once
// Small checkpoints that a test makes itself.

#include <cstring>
#include <map>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "formats/checkpoint.h"
#include "formats/safetensors_writer.h"
#include "support/temp_dir.h"

namespace latent8 {

// A folder with the config of the fp8 test model and float tensors of the test's choice.
class SmallCheckpoint {
 public:
  void add(const std::string& name, const std::vector<float>& values, std::int64_t cols,
           DType type = DType::kF32) {
    const auto count = static_cast<std::int64_t>(values.size());
    std::vector<std::byte> bytes(static_cast<std::size_t>(count * size_of(type)));
    narrow(values.data(), type, count, bytes.data());
    add_stored(name, type, {count / cols, cols}, std::move(bytes));
  }
  void add_stored(const std::string& name, DType type, std::vector<std::int64_t> shape,
                  std::vector<std::byte> bytes) {
    tensors_.push_back({name, type, std::move(shape)});
    values_.push_back(std::move(bytes));
  }
  Checkpoint open() {
    std::filesystem::copy_file(
        std::filesystem::path(LATENT8_SOURCE_DIR) / "tests/data/golden/v3-fp8-small/config.json",
        dir_ / "config.json");
    SafetensorsWriter writer(dir_ / "model.safetensors", tensors_);
    for (std::size_t i = 0; i < tensors_.size(); ++i) writer.append(tensors_[i].name, values_[i]);
    writer.finish();
    return Checkpoint::open(dir_.path());
  }

 private:
  TempDir dir_;
  std::vector<TensorToWrite> tensors_;
  std::vector<std::vector<std::byte>> values_;
};

// A copy of the model, stored as bfloat16, in which some tensors have other values; names that it lacks are
// added as vectors.
inline void write_changed_model(const TempDir& dir, const Checkpoint& model,
                                const std::map<std::string, std::vector<float>>& changes) {
  dir.copy_from(model.dir());
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, view] : model.tensors()) tensors.push_back({name, view.dtype, view.shape});
  for (const auto& [name, values] : changes)
    if (model.find(name) == nullptr)
      tensors.push_back({name, DType::kBf16, {static_cast<std::int64_t>(values.size())}});
  SafetensorsWriter writer(dir / "model.safetensors", tensors);
  for (const auto& [name, view] : model.tensors())
    if (!changes.contains(name)) writer.append(name, view.bytes);
  for (const auto& [name, values] : changes) {
    std::vector<std::byte> bytes(values.size() * 2);
    narrow(values.data(), DType::kBf16, static_cast<std::int64_t>(values.size()), bytes.data());
    writer.append(name, bytes);
  }
  writer.finish();
}

// Changes the bytes of one tensor of a safetensors file.
template <class Change>
void change_tensor(const std::filesystem::path& file, const std::string& name, const Change& change) {
  std::string content = read_file(file);
  std::uint64_t header = 0;
  std::memcpy(&header, content.data(), sizeof(header));
  const auto json = nlohmann::json::parse(content.substr(8, header));
  const auto offsets = json.at(name).at("data_offsets").get<std::vector<std::size_t>>();
  change(std::span(content).subspan(8 + header + offsets[0], offsets[1] - offsets[0]));
  std::ofstream(file, std::ios::binary) << content;
}

}  // namespace latent8
