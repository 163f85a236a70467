// Any bytes as a safetensors file: tensors inside the bytes, or an Error.

#include <cstddef>
#include <cstdint>
#include <span>

#include "base/check.h"
#include "formats/safetensors.h"
#include "latent8/error.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto file = std::as_bytes(std::span(data, size));
  try {
    for (const auto& [name, view] : latent8::parse_safetensors_header(file)) {
      const auto begin = static_cast<std::size_t>(view.bytes.data() - file.data());
      LATENT8_CHECK(begin <= size && view.bytes.size() <= size - begin);
      std::int64_t elements = 1;
      for (const std::int64_t extent : view.shape) elements *= extent;
      LATENT8_CHECK_EQ(elements, view.elements());
    }
  } catch (const latent8::Error&) {
    return 0;
  }
  return 0;
}
