#pragma once
// A copy of a quantised checkpoint whose files a test can change.

#include <gtest/gtest.h>

#include <cstring>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "base/dtype.h"
#include "formats/safetensors.h"
#include "formats/safetensors_index.h"
#include "formats/safetensors_writer.h"
#include "latent8/verify.h"
#include "support/temp_dir.h"

namespace latent8 {

// A checkpoint of the reference, and the float model it was made of.
inline const std::filesystem::path kSource = std::filesystem::path(LATENT8_SOURCE_DIR) / "models/tiny-r1";
inline const std::filesystem::path kReference =
    std::filesystem::path(LATENT8_SOURCE_DIR) / "tests/data/golden/msmodelslim/a_mindie_m4_static";

// The problems as text.
inline std::vector<std::string> texts_of(const std::vector<VerifyFinding>& problems) {
  std::vector<std::string> out;
  for (const VerifyFinding& problem : problems) out.push_back(to_string(problem));
  return out;
}

struct OwnedTensor {
  DType dtype = DType::kF32;
  std::vector<std::int64_t> shape;
  std::vector<std::byte> bytes;

  template <class T>
  T get(std::size_t i) const {
    T value;
    std::memcpy(&value, bytes.data() + i * sizeof(T), sizeof(T));
    return value;
  }
  template <class T>
  void set(std::size_t i, T value) {
    std::memcpy(bytes.data() + i * sizeof(T), &value, sizeof(T));
  }
  std::vector<float> values() const {
    std::vector<float> out(bytes.size() / static_cast<std::size_t>(size_of(dtype)));
    widen(bytes.data(), dtype, static_cast<std::int64_t>(out.size()), out.data());
    return out;
  }
  void set_values(const std::vector<float>& values) {
    narrow(values.data(), dtype, static_cast<std::int64_t>(values.size()), bytes.data());
  }
};

// One shard with an index and a description.
class DamagedCheckpoint {
 public:
  using Tensors = std::map<std::string, OwnedTensor>;

  explicit DamagedCheckpoint(const std::filesystem::path& original) { dir_.copy_from(original); }

  const std::filesystem::path& path() const { return dir_.path(); }
  // The file of that name, else one whose name ends like that.
  std::filesystem::path file(std::string_view ending) const {
    if (std::filesystem::exists(dir_.path() / ending)) return dir_.path() / ending;
    for (const auto& entry : std::filesystem::directory_iterator(dir_.path()))
      if (entry.path().filename().string().ends_with(ending)) return entry.path();
    throw std::runtime_error("no file ends with " + std::string(ending));
  }
  // Rewrites the only shard after `change`, and nothing else.
  void tensors(const std::function<void(Tensors&)>& change) {
    const std::filesystem::path shard = file(".safetensors");
    Tensors all;
    {
      const SafetensorsFile mapped(shard);
      for (const auto& [name, view] : mapped.tensors())
        all[name] = {view.dtype, view.shape, {view.bytes.begin(), view.bytes.end()}};
    }
    change(all);
    std::vector<TensorToWrite> list;
    for (const auto& [name, tensor] : all) list.push_back({name, tensor.dtype, tensor.shape});
    SafetensorsWriter writer(shard, list);
    for (const auto& [name, tensor] : all) writer.append(name, tensor.bytes);
    writer.finish();
  }
  void tensor(const std::string& name, const std::function<void(OwnedTensor&)>& change) {
    tensors([&](Tensors& all) { change(all.at(name)); });
  }
  void json(std::string_view ending, const std::function<void(nlohmann::ordered_json&)>& change) {
    const std::filesystem::path path = file(ending);
    auto value = nlohmann::ordered_json::parse(read_file(path));
    change(value);
    dir_.write(path.filename().string(), value.dump(2));
  }
  void write(const std::string& name, const std::string& content) { dir_.write(name, content); }
  void text(std::string_view ending, const std::string& content) {
    dir_.write(file(ending).filename().string(), content);
  }

 private:
  TempDir dir_;
};

}  // namespace latent8
