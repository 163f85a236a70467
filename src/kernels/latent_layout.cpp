#include "kernels/latent_layout.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/dtype.h"

namespace latent8 {
namespace {

DType float_type(const LatentLayout& layout) {
  return layout.type == CacheType::kF32 ? DType::kF32 : DType::kF16;
}

void store_float(const LatentLayout& layout, char* at, float x) { narrow(&x, float_type(layout), 1, at); }

float load_float(const LatentLayout& layout, const char* at) {
  float x;
  widen(at, float_type(layout), 1, &x);
  return x;
}

}  // namespace

std::int64_t store_latent(const LatentLayout& layout, void* page, std::int64_t slot, const float* c_kv,
                          const float* k_pe, float inv_scale) {
  char* bytes = static_cast<char*>(page);
  std::int64_t clipped = 0;
  for (std::int64_t d = 0; d < layout.rank; ++d) {
    char* at = bytes + layout.latent_offset(slot, d);
    if (layout.type != CacheType::kInt8) {
      store_float(layout, at, c_kv[d]);
      continue;
    }
    const float code = std::nearbyint(c_kv[d] * inv_scale);
    const float inside = std::clamp(code, -128.0F, 127.0F);
    clipped += inside != code ? 1 : 0;
    // NaN passes clamp; it is stored as the lowest code, and counts as clipped.
    *at = static_cast<char>(static_cast<std::uint8_t>(inside >= -128.0F ? inside + 128.0F : 0.0F));
  }
  for (std::int64_t r = 0; r < layout.rope; ++r)
    store_float(layout, bytes + layout.k_pe_offset(slot, r), k_pe[r]);
  return clipped;
}

void load_latent(const LatentLayout& layout, const void* page, std::int64_t slot, float scale, float* c_kv,
                 float* k_pe) {
  const char* bytes = static_cast<const char*>(page);
  for (std::int64_t d = 0; d < layout.rank; ++d) {
    const char* at = bytes + layout.latent_offset(slot, d);
    c_kv[d] = layout.type != CacheType::kInt8
                  ? load_float(layout, at)
                  : static_cast<float>(static_cast<int>(static_cast<std::uint8_t>(*at)) - 128) * scale;
  }
  for (std::int64_t r = 0; r < layout.rope; ++r)
    k_pe[r] = load_float(layout, bytes + layout.k_pe_offset(slot, r));
}

void page_to_nz(const LatentLayout& layout, std::int64_t block_size, const void* page, void* latent_nz,
                void* k_pe_nz) {
  const char* from = static_cast<const char*>(page);
  char* latent = static_cast<char*>(latent_nz);
  char* k_pe = static_cast<char*>(k_pe_nz);
  const std::int64_t element = layout.k_pe_element();
  for (std::int64_t slot = 0; slot < block_size; ++slot) {
    for (std::int64_t d = 0; d < layout.rank; ++d) {
      const char* at = from + layout.latent_offset(slot, d);
      if (layout.type == CacheType::kInt8)
        latent[nz_offset(slot, d, block_size, 1)] = static_cast<char>(*at ^ '\x80');
      else
        std::memcpy(latent + nz_offset(slot, d, block_size, element), at, static_cast<std::size_t>(element));
    }
    for (std::int64_t r = 0; r < layout.rope; ++r)
      std::memcpy(k_pe + nz_offset(slot, r, block_size, element), from + layout.k_pe_offset(slot, r),
                  static_cast<std::size_t>(element));
  }
}

void page_from_nz(const LatentLayout& layout, std::int64_t block_size, const void* latent_nz,
                  const void* k_pe_nz, void* page) {
  const char* latent = static_cast<const char*>(latent_nz);
  const char* k_pe = static_cast<const char*>(k_pe_nz);
  char* to = static_cast<char*>(page);
  const std::int64_t element = layout.k_pe_element();
  for (std::int64_t slot = 0; slot < block_size; ++slot) {
    for (std::int64_t d = 0; d < layout.rank; ++d) {
      char* at = to + layout.latent_offset(slot, d);
      if (layout.type == CacheType::kInt8)
        *at = static_cast<char>(latent[nz_offset(slot, d, block_size, 1)] ^ '\x80');
      else
        std::memcpy(at, latent + nz_offset(slot, d, block_size, element), static_cast<std::size_t>(element));
    }
    for (std::int64_t r = 0; r < layout.rope; ++r)
      std::memcpy(to + layout.k_pe_offset(slot, r), k_pe + nz_offset(slot, r, block_size, element),
                  static_cast<std::size_t>(element));
  }
}

}  // namespace latent8
