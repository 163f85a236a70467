#pragma once
// Where a token's latent lies inside a cache page: in memory, and in NZ order at boundaries. The only home of
// both maps.
//
// In memory a page of block_size tokens is block_size / 16 groups, each a contiguous piece that holds 16
// tokens:
//   int8 layer   latent u8 (code + 128) [rank / 4][16][4]   then k_pe fp16 [rope][16]
//   float layer  latent fp16 or fp32 [rank][16]    then k_pe of the same type [rope][16]
// so that a vector register holds the same dimensions of 16 keys, whatever the block size is.
// NZ (the Ascend order): [C1, block_size, C0] with C0 = 32 bytes of elements: int8 latent C0 = 32, fp16 C0 =
// 16; the latent and k_pe are separate tensors there. Source: docs/numerics.md, "Cache pages".

#include <cstdint>

namespace latent8 {

enum class CacheType : std::uint8_t {
  kInt8,  // latent int8, k_pe fp16
  kF16,   // both fp16
  kF32,   // both fp32: exact for float checkpoints (fp16 k_pe moves logits by up to 6e-3)
};

inline constexpr std::int64_t kGroupKeys = 16;

struct LatentLayout {
  CacheType type = CacheType::kInt8;
  std::int64_t rank = 0;  // kv_lora_rank, a multiple of 16
  std::int64_t rope = 0;  // qk_rope_head_dim, even

  constexpr std::int64_t k_pe_element() const { return type == CacheType::kF32 ? 4 : 2; }  // bytes
  constexpr std::int64_t latent_element() const { return type == CacheType::kInt8 ? 1 : k_pe_element(); }
  constexpr std::int64_t latent_bytes() const { return kGroupKeys * rank * latent_element(); }
  constexpr std::int64_t group_bytes() const { return latent_bytes() + kGroupKeys * rope * k_pe_element(); }
  constexpr std::int64_t page_bytes(std::int64_t block_size) const {
    return block_size / kGroupKeys * group_bytes();
  }
  constexpr std::int64_t bytes_per_token() const { return group_bytes() / kGroupKeys; }

  // Byte offset inside a page of token `slot`'s latent dimension d, and of its k_pe dimension r.
  constexpr std::int64_t latent_offset(std::int64_t slot, std::int64_t d) const {
    const std::int64_t group = slot / kGroupKeys * group_bytes(), key = slot % kGroupKeys;
    return type == CacheType::kInt8 ? group + d / 4 * 64 + key * 4 + d % 4
                                    : group + (d * kGroupKeys + key) * latent_element();
  }
  constexpr std::int64_t k_pe_offset(std::int64_t slot, std::int64_t r) const {
    return slot / kGroupKeys * group_bytes() + latent_bytes() +
           (r * kGroupKeys + slot % kGroupKeys) * k_pe_element();
  }
};

// NZ byte offsets of the separate latent and k_pe tensors of one page.
constexpr std::int64_t nz_offset(std::int64_t slot, std::int64_t d, std::int64_t block_size,
                                 std::int64_t element_bytes) {
  const std::int64_t c0 = 32 / element_bytes;
  return (d / c0 * block_size * c0 + slot * c0 + d % c0) * element_bytes;
}

// Writes one token into its page. Returns how many codes were clipped to [-128, 127] (int8 only).
//   c_kv [rank] f32 after kv_a_layernorm, k_pe [rope] f32 after RoPE; inv_scale = 1 / fa_k scale (unused by
//   float caches)
std::int64_t store_latent(const LatentLayout& layout, void* page, std::int64_t slot, const float* c_kv,
                          const float* k_pe, float inv_scale);
// Reads one token back as float: code * scale, or the stored values.
void load_latent(const LatentLayout& layout, const void* page, std::int64_t slot, float scale, float* c_kv,
                 float* k_pe);

// A whole page to and from NZ: latent (s8 codes without the 128, or fp16) and k_pe (fp16).
void page_to_nz(const LatentLayout& layout, std::int64_t block_size, const void* page, void* latent_nz,
                void* k_pe_nz);
void page_from_nz(const LatentLayout& layout, std::int64_t block_size, const void* latent_nz,
                  const void* k_pe_nz, void* page);

}  // namespace latent8
