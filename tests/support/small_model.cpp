#include "support/small_model.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <functional>
#include <numeric>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "formats/safetensors_writer.h"
#include "support/recipe.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

// A line of tensors.txt.
struct Line {
  std::string form;
  int exponent;
  std::uint64_t stream;
};

DType dtype_of(const std::string& form) {
  if (form == "codes") return DType::kF8E4M3;
  return form == "scales" || form == "bias" ? DType::kF32 : DType::kBf16;
}

// An element before the factor 2^exponent.
int value_of(const Line& line, std::uint64_t index) {
  const std::uint64_t bits = recipe_bits(line.stream, index);
  if (line.form == "weight") return recipe_bell(line.stream, index) >> 2;
  if (line.form == "norm") return 77 + static_cast<int>(bits % 103);
  if (line.form == "bias") return static_cast<int>(bits % 410) - 307;
  if (line.form == "scales") return 96 + static_cast<int>(bits % 64);
  if (line.form == "codes") return static_cast<int>(56 + bits % 71 + 128 * (bits >> 63));
  throw std::runtime_error("tensors.txt: unknown form " + line.form);
}

std::vector<std::byte> draw(const Line& line, std::int64_t count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const int value = value_of(line, i);
    if (line.form == "codes") bytes.push_back(static_cast<std::byte>(value));
    values[i] = std::ldexp(static_cast<float>(value), line.exponent);
  }
  if (line.form == "codes") return bytes;
  bytes.resize(values.size() * static_cast<std::size_t>(size_of(dtype_of(line.form))));
  narrow(values.data(), dtype_of(line.form), count, bytes.data());
  return bytes;
}

void write_weights(const std::filesystem::path& recipe, const std::filesystem::path& file) {
  std::ifstream in(recipe);
  std::uint64_t attempt = 0;
  in >> attempt;
  std::vector<TensorToWrite> tensors;
  std::vector<Line> lines;
  for (std::string text; std::getline(in, text);) {
    std::istringstream fields(text);
    TensorToWrite tensor;
    Line line{{}, 0, (attempt << 16) + lines.size()};
    if (!(fields >> tensor.name >> line.form >> line.exponent)) continue;
    tensor.dtype = dtype_of(line.form);
    for (std::int64_t extent = 0; fields >> extent;) tensor.shape.push_back(extent);
    tensors.push_back(std::move(tensor));
    lines.push_back(std::move(line));
  }
  if (tensors.empty()) throw std::runtime_error("no tensors in " + recipe.string());
  SafetensorsWriter writer(file, tensors);
  for (std::size_t i = 0; i < tensors.size(); ++i)
    writer.append(tensors[i].name,
                  draw(lines[i], std::accumulate(tensors[i].shape.begin(), tensors[i].shape.end(),
                                                 std::int64_t{1}, std::multiplies<>())));
  writer.finish();
}

}  // namespace

std::filesystem::path small_model(const std::string& name) {
  static const TempDir dir;
  const std::filesystem::path golden = std::filesystem::path(LATENT8_SOURCE_DIR "/tests/data/golden") / name,
                              out = dir / name;
  if (!std::filesystem::exists(out)) {
    std::filesystem::create_directory(out);
    std::filesystem::copy_file(golden / "config.json", out / "config.json");
    write_weights(golden / "tensors.txt", out / "model.safetensors");
  }
  return out;
}

std::vector<std::string> all_small_models() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(LATENT8_SOURCE_DIR "/tests/data/golden"))
    if (std::filesystem::exists(entry.path() / "tensors.txt"))
      names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

}  // namespace latent8
