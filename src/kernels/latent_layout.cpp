#include "kernels/latent_layout.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/dtype.h"
#include "kernels/kernel_table.h"

namespace latent8 {
namespace {

void store_fp16(char* at, float x) {
  const Fp16 half = to_fp16(x);
  std::memcpy(at, &half, sizeof half);
}

float load_fp16(const char* at) {
  Fp16 half;
  std::memcpy(&half, at, sizeof half);
  return to_float(half);
}

constexpr std::int64_t round_up_64(std::int64_t bytes) { return (bytes + 63) / 64 * 64; }

}  // namespace

std::int64_t store_latent(const LatentLayout& layout, void* page, std::int64_t slot, const float* c_kv,
                          const float* k_pe, float inv_scale) {
  char* bytes = static_cast<char*>(page);
  std::int64_t clipped = 0;
  for (std::int64_t d = 0; d < layout.rank; ++d) {
    char* at = bytes + layout.latent_offset(slot, d);
    if (layout.type == CacheType::kF16) {
      store_fp16(at, c_kv[d]);
      continue;
    }
    const float code = std::nearbyint(c_kv[d] * inv_scale);
    const float inside = std::clamp(code, -128.0F, 127.0F);
    clipped += inside != code ? 1 : 0;
    // NaN passes clamp; it is stored as the lowest code, and counts as clipped.
    *at = static_cast<char>(static_cast<std::uint8_t>(inside >= -128.0F ? inside + 128.0F : 0.0F));
  }
  for (std::int64_t r = 0; r < layout.rope; ++r) store_fp16(bytes + layout.k_pe_offset(slot, r), k_pe[r]);
  return clipped;
}

void load_latent(const LatentLayout& layout, const void* page, std::int64_t slot, float scale, float* c_kv,
                 float* k_pe) {
  const char* bytes = static_cast<const char*>(page);
  for (std::int64_t d = 0; d < layout.rank; ++d) {
    const char* at = bytes + layout.latent_offset(slot, d);
    c_kv[d] = layout.type == CacheType::kF16
                  ? load_fp16(at)
                  : static_cast<float>(static_cast<int>(static_cast<std::uint8_t>(*at)) - 128) * scale;
  }
  for (std::int64_t r = 0; r < layout.rope; ++r) k_pe[r] = load_fp16(bytes + layout.k_pe_offset(slot, r));
}

void page_to_nz(const LatentLayout& layout, std::int64_t block_size, const void* page, void* latent_nz,
                void* k_pe_nz) {
  const char* from = static_cast<const char*>(page);
  char* latent = static_cast<char*>(latent_nz);
  char* k_pe = static_cast<char*>(k_pe_nz);
  for (std::int64_t slot = 0; slot < block_size; ++slot) {
    for (std::int64_t d = 0; d < layout.rank; ++d) {
      const char* at = from + layout.latent_offset(slot, d);
      if (layout.type == CacheType::kInt8)
        latent[nz_offset(slot, d, block_size, 1)] = static_cast<char>(*at ^ '\x80');
      else
        std::memcpy(latent + nz_offset(slot, d, block_size, 2), at, 2);
    }
    for (std::int64_t r = 0; r < layout.rope; ++r)
      std::memcpy(k_pe + nz_offset(slot, r, block_size, 2), from + layout.k_pe_offset(slot, r), 2);
  }
}

void page_from_nz(const LatentLayout& layout, std::int64_t block_size, const void* latent_nz,
                  const void* k_pe_nz, void* page) {
  const char* latent = static_cast<const char*>(latent_nz);
  const char* k_pe = static_cast<const char*>(k_pe_nz);
  char* to = static_cast<char*>(page);
  for (std::int64_t slot = 0; slot < block_size; ++slot) {
    for (std::int64_t d = 0; d < layout.rank; ++d) {
      char* at = to + layout.latent_offset(slot, d);
      if (layout.type == CacheType::kInt8)
        *at = static_cast<char>(latent[nz_offset(slot, d, block_size, 1)] ^ '\x80');
      else
        std::memcpy(at, latent + nz_offset(slot, d, block_size, 2), 2);
    }
    for (std::int64_t r = 0; r < layout.rope; ++r)
      std::memcpy(to + layout.k_pe_offset(slot, r), k_pe + nz_offset(slot, r, block_size, 2), 2);
  }
}

// One tile of widened k_pe, of V in PV order (fp32 for a float cache), of S, of P8, and five row vectors.
std::int64_t attend_scratch_bytes(std::int64_t rank, std::int64_t rope) {
  return round_up_64(kTileKeys * rope * 4) + round_up_64(kTileKeys * rank * 4) +
         kAttendMaxRows * kTileKeys * 5 + 8 * kAttendMaxRows * 4;
}

}  // namespace latent8
