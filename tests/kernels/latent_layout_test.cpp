#include "kernels/latent_layout.h"

#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <limits>
#include <vector>

#include "base/dtype.h"
#include "base/rng.h"

namespace latent8 {
namespace {

std::int64_t arbitrary_block_size() { return *rc::gen::inRange<std::int64_t>(1, 9) * 16; }

LatentLayout arbitrary_layout() {
  return {.type = *rc::gen::element(CacheType::kInt8, CacheType::kF16),
          .rank = *rc::gen::inRange<std::int64_t>(1, 17) * 32,
          .rope = *rc::gen::element<std::int64_t>(16, 32, 64)};
}

std::vector<float> arbitrary_floats(std::int64_t n, float limit) {
  std::vector<float> values = *rc::gen::container<std::vector<float>>(
      static_cast<std::size_t>(n), rc::gen::map(rc::gen::inRange(-20000, 20000), [limit](int i) {
        return static_cast<float>(i) / 20000.0F * limit;
      }));
  return values;
}

RC_GTEST_PROP(LatentLayout, LoadsEveryCodeThatWasStored, ()) {
  const LatentLayout layout{CacheType::kInt8, 64, 32};
  const std::int64_t block_size = arbitrary_block_size();
  const auto slot = *rc::gen::inRange<std::int64_t>(0, block_size);
  const float scale = 0.25F;
  std::vector<float> c_kv, k_pe = arbitrary_floats(32, 4.0F);
  for (float& x : k_pe) x = to_float(to_fp16(x));
  for (int i = 0; i < 64; ++i) c_kv.push_back(static_cast<float>(*rc::gen::inRange(-128, 128)) * scale);
  std::vector<char> page(static_cast<std::size_t>(layout.page_bytes(block_size)));

  RC_ASSERT(store_latent(layout, page.data(), slot, c_kv.data(), k_pe.data(), 1 / scale) == 0);
  std::vector<float> c_kv_back(64), k_pe_back(32);
  load_latent(layout, page.data(), slot, scale, c_kv_back.data(), k_pe_back.data());

  RC_ASSERT(c_kv_back == c_kv);
  RC_ASSERT(k_pe_back == k_pe);
}

RC_GTEST_PROP(LatentLayout, KeepsFloatsAsFp16, ()) {
  const LatentLayout layout{CacheType::kF16, 32, 16};
  const std::vector<float> c_kv = arbitrary_floats(32, 9.0F), k_pe = arbitrary_floats(16, 9.0F);
  std::vector<char> page(static_cast<std::size_t>(layout.page_bytes(48)));

  store_latent(layout, page.data(), 37, c_kv.data(), k_pe.data(), 0.0F);
  std::vector<float> c_kv_back(32), k_pe_back(16);
  load_latent(layout, page.data(), 37, 0.0F, c_kv_back.data(), k_pe_back.data());

  for (std::size_t i = 0; i < 32; ++i) RC_ASSERT(c_kv_back[i] == to_float(to_fp16(c_kv[i])));
  for (std::size_t i = 0; i < 16; ++i) RC_ASSERT(k_pe_back[i] == to_float(to_fp16(k_pe[i])));
}

TEST(LatentLayout, GivesEveryElementItsOwnBytesInThePage) {
  for (const CacheType type : {CacheType::kInt8, CacheType::kF16})
    for (std::int64_t block_size = 16; block_size <= 128; block_size += 16) {
      const LatentLayout layout{type, 48, 32};
      std::vector<int> used(static_cast<std::size_t>(layout.page_bytes(block_size)));
      const auto take = [&](std::int64_t offset, std::int64_t bytes) {
        for (std::int64_t i = 0; i < bytes; ++i) ++used.at(static_cast<std::size_t>(offset + i));
      };

      for (std::int64_t slot = 0; slot < block_size; ++slot) {
        for (std::int64_t d = 0; d < 48; ++d)
          take(layout.latent_offset(slot, d), type == CacheType::kInt8 ? 1 : 2);
        for (std::int64_t r = 0; r < 32; ++r) take(layout.k_pe_offset(slot, r), 2);
      }

      EXPECT_EQ(used, std::vector<int>(used.size(), 1)) << block_size;
    }
}

TEST(LatentLayout, CostsTheBytesPerTokenOfTheReference) {
  EXPECT_EQ((LatentLayout{CacheType::kInt8, 512, 64}.bytes_per_token()), 640);
  EXPECT_EQ((LatentLayout{CacheType::kF16, 512, 64}.bytes_per_token()), 1152);
}

TEST(LatentLayout, RoundsTiesToTheEvenCode) {
  const LatentLayout layout{CacheType::kInt8, 16, 16};
  const std::vector<float> c_kv{0.5F, 1.5F, 2.5F, -0.5F, -1.5F, -2.5F, 3.49F, -3.51F, 0, 0, 0, 0, 0, 0, 0, 0};
  const std::vector<float> k_pe(16);
  std::vector<char> page(static_cast<std::size_t>(layout.page_bytes(16)));

  store_latent(layout, page.data(), 3, c_kv.data(), k_pe.data(), 1.0F);
  std::vector<float> codes(16), ignored(16);
  load_latent(layout, page.data(), 3, 1.0F, codes.data(), ignored.data());

  EXPECT_EQ(codes, (std::vector<float>{0, 2, 2, 0, -2, -2, 3, -4, 0, 0, 0, 0, 0, 0, 0, 0}));
}

TEST(LatentLayout, ClampsAndCountsWhatDoesNotFit) {
  const LatentLayout layout{CacheType::kInt8, 16, 16};
  std::vector<float> c_kv(16), k_pe(16), codes(16), ignored(16);
  c_kv[0] = 127.4F;
  c_kv[1] = 127.6F;
  c_kv[2] = -128.4F;
  c_kv[3] = -1e9F;
  c_kv[4] = std::numeric_limits<float>::quiet_NaN();
  std::vector<char> page(static_cast<std::size_t>(layout.page_bytes(16)));

  const std::int64_t clipped = store_latent(layout, page.data(), 0, c_kv.data(), k_pe.data(), 1.0F);
  load_latent(layout, page.data(), 0, 1.0F, codes.data(), ignored.data());

  EXPECT_EQ(clipped, 3);
  EXPECT_EQ(std::vector<float>(codes.begin(), codes.begin() + 5),
            (std::vector<float>{127, 127, -128, -128, -128}));
}

// The operator's addresses for blocks of 128. Source: docs/numerics.md, "Cache pages".
TEST(NzOrder, MatchesTheAddressesOfTheReference) {
  for (std::int64_t slot = 0; slot < 128; ++slot) {
    for (std::int64_t d = 0; d < 512; ++d)
      ASSERT_EQ(nz_offset(slot, d, 128, 1), d / 32 * 4096 + slot * 32 + d % 32);
    for (std::int64_t r = 0; r < 64; ++r)
      ASSERT_EQ(nz_offset(slot, r, 128, 2), 2 * (r / 16 * 2048 + slot * 16 + r % 16));
  }
}

TEST(NzOrder, HoldsSignedCodes) {
  const LatentLayout layout{CacheType::kInt8, 32, 16};
  std::vector<float> c_kv(32), k_pe(16);
  c_kv[5] = -7.0F;
  std::vector<char> page(static_cast<std::size_t>(layout.page_bytes(16)), '\x80'), latent(16 * 32),
      rope(16 * 16 * 2);
  store_latent(layout, page.data(), 2, c_kv.data(), k_pe.data(), 1.0F);

  page_to_nz(layout, 16, page.data(), latent.data(), rope.data());

  EXPECT_EQ(latent[2 * 32 + 5], -7);
  EXPECT_EQ(latent[2 * 32 + 6], 0);
}

RC_GTEST_PROP(NzOrder, ComesBackAsThePageItWas, ()) {
  const LatentLayout layout = arbitrary_layout();
  const std::int64_t block_size = arbitrary_block_size();
  const auto bytes = static_cast<std::size_t>(layout.page_bytes(block_size));
  Rng rng(*rc::gen::arbitrary<std::uint64_t>());
  std::vector<char> page(bytes);
  for (char& byte : page) byte = static_cast<char>(rng.next_u64() & 255U);
  const auto latent_bytes = static_cast<std::size_t>(layout.latent_bytes() * block_size / 16);
  std::vector<char> latent(latent_bytes), k_pe(bytes - latent_bytes), back(bytes);

  page_to_nz(layout, block_size, page.data(), latent.data(), k_pe.data());
  page_from_nz(layout, block_size, latent.data(), k_pe.data(), back.data());

  RC_ASSERT(back == page);
}

}  // namespace
}  // namespace latent8
