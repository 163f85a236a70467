#include "formats/safetensors.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "formats/foreign_file.h"
#include "formats/json.h"

namespace latent8 {
namespace {

using nlohmann::json;

constexpr std::size_t kLengthBytes = 8;

std::uint64_t read_header_length(std::span<const std::byte> file) {
  std::uint64_t length = 0;
  for (std::size_t i = 0; i < kLengthBytes; ++i) length |= std::to_integer<std::uint64_t>(file[i]) << (8 * i);
  return length;
}

bool read_size(const json& value, std::int64_t& out) {
  if (!value.is_number_unsigned() || value.get<std::uint64_t>() > INT64_MAX) return false;
  out = value.get<std::int64_t>();
  return true;
}

[[noreturn]] void refuse_tensor(const std::string& where, const std::string& name, std::string_view what) {
  throw_error(ErrorCode::kCorrupt, "{}: tensor '{}': {}", where, name, what);
}

std::vector<std::int64_t> read_shape(const json& entry, const std::string& where, const std::string& name) {
  const auto it = entry.find("shape");
  if (it == entry.end() || !it->is_array()) refuse_tensor(where, name, "'shape' as a list expected");
  std::vector<std::int64_t> shape;
  for (const json& extent : *it) {
    std::int64_t value = 0;
    if (!read_size(extent, value))
      refuse_tensor(where, name,
                    fmt::format("'shape' of non-negative integers expected, got {}", extent.dump()));
    shape.push_back(value);
  }
  return shape;
}

// Bytes of a tensor, or -1 if the product does not fit.
std::int64_t byte_count(const std::vector<std::int64_t>& shape, DType dtype) {
  std::int64_t bytes = size_of(dtype);
  bool empty = false;
  for (const std::int64_t extent : shape) {
    if (extent == 0)
      empty = true;
    else if (__builtin_mul_overflow(bytes, extent, &bytes))
      return -1;
  }
  return empty ? 0 : bytes;
}

TensorView read_entry(const json& entry, std::span<const std::byte> data, const std::string& where,
                      const std::string& name) {
  if (!entry.is_object()) refuse_tensor(where, name, "an object with dtype, shape, data_offsets expected");
  const auto dtype = entry.find("dtype");
  if (dtype == entry.end() || !dtype->is_string()) refuse_tensor(where, name, "'dtype' as a string expected");
  TensorView view;
  if (!parse_dtype(dtype->get_ref<const std::string&>(), view.dtype))
    throw_error(ErrorCode::kUnsupported, "{}: tensor '{}': element type '{}' is not known to latent8", where,
                name, dtype->get_ref<const std::string&>());
  view.shape = read_shape(entry, where, name);
  const auto offsets = entry.find("data_offsets");
  std::int64_t begin = 0, end = 0;
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2 ||
      !read_size((*offsets)[0], begin) || !read_size((*offsets)[1], end) || begin > end)
    refuse_tensor(where, name, "'data_offsets' of two rising non-negative integers expected");
  if (end > static_cast<std::int64_t>(data.size()))
    refuse_tensor(
        where, name,
        fmt::format("data up to byte {} expected, but the file's data has {} bytes; it is truncated or "
                    "its header lies: fetch it again",
                    end, data.size()));
  const std::int64_t want = byte_count(view.shape, view.dtype);
  if (want != end - begin)
    refuse_tensor(
        where, name,
        fmt::format("shape {} of {} needs {} bytes, got offsets {} to {}", view.shape_text(),
                    to_string(view.dtype), want < 0 ? "too many" : std::to_string(want), begin, end));
  view.bytes = data.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
  return view;
}

// Tensors follow each other without gap or overlap from the first to the last byte.
void check_coverage(const TensorMap& tensors, std::span<const std::byte> data, const std::string& where) {
  std::vector<const TensorMap::value_type*> order;
  order.reserve(tensors.size());
  for (const auto& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    const auto& x = a->second.bytes;
    const auto& y = b->second.bytes;
    return x.data() != y.data() ? x.data() < y.data() : x.size() < y.size();
  });
  std::int64_t end = 0;
  for (const auto* tensor : order) {
    const auto begin = static_cast<std::int64_t>(tensor->second.bytes.data() - data.data());
    if (begin != end)
      refuse_tensor(where, tensor->first,
                    fmt::format("data at byte {} expected, got {}: tensors {}", end, begin,
                                begin < end ? "overlap" : "leave a hole"));
    end += static_cast<std::int64_t>(tensor->second.bytes.size());
  }
  if (end != static_cast<std::int64_t>(data.size()))
    throw_error(ErrorCode::kCorrupt, "{}: {} bytes of tensors expected after the header, got {}", where, end,
                data.size());
}

}  // namespace

std::int64_t TensorView::elements() const {
  std::int64_t count = 1;
  for (const std::int64_t extent : shape) count *= extent;
  return count;
}

std::string TensorView::shape_text() const {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + "]";
}

TensorMap parse_safetensors_header(std::span<const std::byte> file, const std::string& where) {
  refuse_foreign(file, where);
  if (file.size() < kLengthBytes)
    throw_error(
        ErrorCode::kCorrupt,
        "{}: a safetensors file of at least {} bytes expected, got {}: the download is incomplete, fetch it "
        "again",
        where, kLengthBytes, file.size());
  const std::uint64_t length = read_header_length(file);
  if (length > static_cast<std::uint64_t>(kMaxSafetensorsHeaderBytes))
    throw_error(ErrorCode::kCorrupt, "{}: a header of at most {} bytes expected, got {}; is it safetensors?",
                where, kMaxSafetensorsHeaderBytes, length);
  if (length > file.size() - kLengthBytes)
    throw_error(
        ErrorCode::kCorrupt,
        "{}: a header of {} bytes expected, but the file has only {} after its length: the download is "
        "incomplete, fetch it again",
        where, length, file.size() - kLengthBytes);
  const auto header = file.subspan(kLengthBytes, static_cast<std::size_t>(length));
  const auto data = file.subspan(kLengthBytes + static_cast<std::size_t>(length));
  const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
  if (text.empty() || text.front() != '{')
    throw_error(ErrorCode::kCorrupt, "{}: a header that starts with '{{' expected", where);
  const json parsed = parse_json(text, where + " (header)");
  TensorMap tensors;
  for (const auto& [name, entry] : parsed.items())
    if (name != "__metadata__") tensors.emplace(name, read_entry(entry, data, where, name));
  check_coverage(tensors, data, where);
  return tensors;
}

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(path), tensors_(parse_safetensors_header(file_.bytes(), path.string())) {}

std::span<const std::byte> SafetensorsFile::header() const {
  return bytes().first(kLengthBytes + static_cast<std::size_t>(read_header_length(bytes())));
}

}  // namespace latent8
