#include "formats/safetensors_writer.h"

#include <algorithm>
#include <array>
#include <bit>
#include <nlohmann/json.hpp>

#include "base/check.h"
#include "base/error.h"
#include "formats/safetensors.h"

namespace latent8 {
namespace {

constexpr std::int64_t kLengthSize = 8;
constexpr int kAlignmentBits = 6;  // 64 bytes: a cache line, a ZMM register

std::string json_text(const std::vector<TensorToWrite>& tensors, const SafetensorsWriterOptions& options) {
  const auto quote = [](std::string_view text) { return nlohmann::json(text).dump(); };
  std::string text = "{";
  if (!options.metadata.empty()) text += "\"__metadata__\":" + nlohmann::json(options.metadata).dump();
  std::int64_t begin = 0;
  for (const TensorToWrite& tensor : tensors) {
    const std::int64_t end = begin + tensor.bytes();
    text += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                        text.size() > 1 ? "," : "", quote(tensor.name), to_string(tensor.dtype),
                        fmt::join(tensor.shape, ","), begin, end);
    begin = end;
  }
  text += "}";
  const auto alignment = static_cast<std::size_t>(options.header_alignment);
  while ((text.size() + kLengthSize) % alignment != 0) text += ' ';
  return text;
}

}  // namespace

std::int64_t TensorToWrite::bytes() const {
  std::int64_t count = size_of(dtype);
  for (const std::int64_t extent : shape) {
    LATENT8_CHECK(extent >= 0);
    LATENT8_CHECK(!__builtin_mul_overflow(count, extent, &count));
  }
  return count;
}

void order_for_alignment(std::vector<TensorToWrite>& tensors) {
  std::array<std::vector<TensorToWrite>, kAlignmentBits + 1> by_alignment;
  for (TensorToWrite& tensor : tensors) {
    const auto bits = std::min(std::countr_zero(static_cast<std::uint64_t>(tensor.bytes())), kAlignmentBits);
    by_alignment[kAlignmentBits - bits].push_back(std::move(tensor));
  }
  tensors.clear();
  for (std::vector<TensorToWrite>& group : by_alignment)
    for (TensorToWrite& tensor : group) tensors.push_back(std::move(tensor));
}

void order_as_reference(std::vector<TensorToWrite>& tensors) {
  constexpr std::array kOrder{DType::kI64,    DType::kF64, DType::kF32, DType::kI32,
                              DType::kBf16,   DType::kF16, DType::kI16, DType::kF8E8M0,
                              DType::kF8E4M3, DType::kI8,  DType::kU8,  DType::kBool};
  const auto rank = [&](DType type) {
    return std::find(kOrder.begin(), kOrder.end(), type) - kOrder.begin();
  };
  std::sort(tensors.begin(), tensors.end(), [&](const TensorToWrite& a, const TensorToWrite& b) {
    return a.dtype != b.dtype ? rank(a.dtype) < rank(b.dtype) : a.name < b.name;
  });
}

std::string safetensors_header(const std::vector<TensorToWrite>& tensors,
                               const SafetensorsWriterOptions& options, const std::string& where) {
  LATENT8_CHECK(options.header_alignment >= kLengthSize);
  const std::string json = json_text(tensors, options);
  if (static_cast<std::int64_t>(json.size()) > kMaxSafetensorsHeaderBytes)
    throw_error(ErrorCode::kInvalidArgument,
                "'{}': a header of at most {} bytes expected, got {}; write more shards", where,
                kMaxSafetensorsHeaderBytes, json.size());
  std::string header;
  for (int i = 0; i < kLengthSize; ++i) header += static_cast<char>(json.size() >> (8 * i));
  return header + json;
}

SafetensorsWriter::SafetensorsWriter(const std::filesystem::path& path, std::vector<TensorToWrite> tensors,
                                     SafetensorsWriterOptions options)
    : file_(path) {
  const std::string header = safetensors_header(tensors, options, path.string());
  file_.write_at(0, std::as_bytes(std::span(header.data(), header.size())));
  auto begin = static_cast<std::int64_t>(header.size());
  for (TensorToWrite& tensor : tensors) {
    const std::int64_t end = begin + tensor.bytes();
    LATENT8_CHECK(ranges_.emplace(std::move(tensor.name), Range{begin, end}).second);
    begin = end;
  }
}

void SafetensorsWriter::append(std::string_view name, std::span<const std::byte> bytes) {
  const auto range = ranges_.find(name);
  LATENT8_CHECK(range != ranges_.end());
  LATENT8_CHECK(static_cast<std::int64_t>(bytes.size()) <= range->second.end - range->second.next);
  file_.write_at(range->second.next, bytes);
  range->second.next += static_cast<std::int64_t>(bytes.size());
}

void SafetensorsWriter::finish() {
  for (const auto& [name, range] : ranges_) LATENT8_CHECK_EQ(range.next, range.end);
  file_.commit();
}

}  // namespace latent8
