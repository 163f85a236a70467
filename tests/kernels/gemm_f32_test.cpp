#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "base/dtype.h"
#include "kernels/ref/linear_ref.h"
#include "support/kernels.h"

namespace latent8 {
namespace {

constexpr WeightType kWeightTypes[] = {WeightType::kF32, WeightType::kBf16, WeightType::kF16,
                                       WeightType::kF8E4M3};

std::int64_t bytes_of(WeightType type) { return type == WeightType::kF8E4M3 ? 1 : size_of(dtype_of(type)); }

void encode(WeightType type, float x, char* out) {
  if (type == WeightType::kF8E4M3)
    *out = static_cast<char>(to_fp8_e4m3(x).bits);
  else
    narrow(&x, dtype_of(type), 1, out);
}

// Operands of one call: b has `rows` rows of `cols` weights, an element of padding after each row, and starts
// one element off alignment. fp8 rows begin at row 100 of their tensor, so that a block ends after 28 rows.
struct Operands {
  Operands(WeightType type, std::int64_t m, std::int64_t n, std::int64_t k, bool nn)
      : a(normal_floats(m * (k + 1) + 1, 1)),
        scales(normal_floats(64 * 64, 3)),
        c(static_cast<std::size_t>(m * (n + 2))) {
    const std::int64_t rows = nn ? k : n, stride = (nn ? n : k) + 1, size = bytes_of(type);
    const std::vector<float> values = normal_floats(rows * stride, 2);
    b.resize(static_cast<std::size_t>((rows * stride + 1) * size));
    for (std::int64_t i = 0; i < rows * stride; ++i)
      encode(type, values[static_cast<std::size_t>(i)], b.data() + (i + 1) * size);
    args = {.a = a.data() + 1,
            .b = b.data() + size,
            .c = c.data(),
            .m = m,
            .n = n,
            .k = k,
            .a_stride = k + 1,
            .b_stride = stride,
            .c_stride = n + 2,
            .b_type = type,
            .b_scale = scales.data(),
            .b_scale_stride = 64,
            .b_row0 = 100};
  }
  std::vector<float> result() const {
    std::vector<float> out;
    for (std::int64_t i = 0; i < args.m; ++i)
      out.insert(out.end(), args.c + i * args.c_stride, args.c + i * args.c_stride + args.n);
    return out;
  }

  std::vector<float> a, scales;
  std::vector<char> b;
  std::vector<float> c;
  GemmF32Args args{};
};

struct Shape {
  std::int64_t m, n, k;
};

constexpr Shape kShapes[] = {{1, 1, 1},    {1, 9, 7},    {2, 17, 8},    {3, 15, 9},    {5, 33, 15},
                             {6, 16, 16},  {7, 37, 17},  {11, 31, 31},  {12, 24, 32},  {13, 41, 33},
                             {25, 64, 64}, {1, 72, 256}, {4, 192, 129}, {31, 35, 300}, {1, 300, 260}};

using GemmF32Test = KernelTest;

TEST_P(GemmF32Test, MatchesTheReferenceWithinTheBoundOfItsAdditions) {
  for (const WeightType type : kWeightTypes)
    for (const Shape s : kShapes) {
      SCOPED_TRACE(testing::Message()
                   << "type " << static_cast<int>(type) << " m " << s.m << " n " << s.n << " k " << s.k);
      Operands x(type, s.m, s.n, s.k, false);

      table().gemm_f32(x.args);

      const RealMatrix want = gemm_f32_ref(x.args);
      expect_close(x.result(), want.value, [&](std::size_t i) { return sum_bound(s.k, want.magnitude[i]); });
    }
}

TEST_P(GemmF32Test, ReadsBAlongItsRowsWithinTheBoundOfItsAdditions) {
  for (const WeightType type : kWeightTypes)
    for (const Shape s : kShapes) {
      SCOPED_TRACE(testing::Message()
                   << "type " << static_cast<int>(type) << " m " << s.m << " n " << s.n << " k " << s.k);
      Operands x(type, s.m, s.n, s.k, true);

      table().gemm_nn_f32(x.args);

      const RealMatrix want = gemm_nn_f32_ref(x.args);
      expect_close(x.result(), want.value, [&](std::size_t i) { return sum_bound(s.k, want.magnitude[i]); });
    }
}

// Runs `kernel` on all rows at once and on runs of `rows` rows, and expects the same bits.
void expect_same_bits(void (*kernel)(const GemmF32Args&), Operands& x, std::int64_t rows) {
  kernel(x.args);
  const std::vector<float> together = x.result();
  const GemmF32Args all = x.args;
  for (std::int64_t i = 0; i < all.m; i += rows) {
    GemmF32Args part = all;
    part.a += i * all.a_stride;
    part.c += i * all.c_stride;
    part.m = std::min(rows, all.m - i);
    kernel(part);
  }
  const std::vector<float> apart = x.result();
  EXPECT_EQ(std::memcmp(together.data(), apart.data(), together.size() * sizeof(float)), 0);
}

TEST_P(GemmF32Test, GivesARowTheSameBitsWhateverTheNumberOfRows) {
  for (const WeightType type : kWeightTypes)
    for (const std::int64_t rows : {1, 2, 3, 5, 6, 12, 16, 47})
      for (const std::int64_t k : {15, 131, 1056}) {
        SCOPED_TRACE(testing::Message()
                     << "type " << static_cast<int>(type) << " rows " << rows << " k " << k);
        Operands x(type, 70, 35, k, false);
        expect_same_bits(table().gemm_f32, x, rows);
      }
}

TEST_P(GemmF32Test, GivesARowTheSameBitsWhateverTheNumberOfRowsWhenBIsReadAlongItsRows) {
  for (const WeightType type : kWeightTypes)
    for (const std::int64_t rows : {1, 2, 3, 5, 6, 12, 16, 47}) {
      SCOPED_TRACE(testing::Message() << "type " << static_cast<int>(type) << " rows " << rows);
      Operands x(type, 70, 300, 129, true);
      expect_same_bits(table().gemm_nn_f32, x, rows);
    }
}

TEST_P(GemmF32Test, GivesAColumnTheSameBitsWhereverTheCallStarts) {
  Operands x(WeightType::kBf16, 14, 40, 100, false);
  table().gemm_f32(x.args);
  const std::vector<float> whole = x.result();

  GemmF32Args part = x.args;  // as a worker that has columns [7, 40)
  part.b = static_cast<const char*>(part.b) + 7 * part.b_stride * 2;
  part.c += 7;
  part.n = 33;
  table().gemm_f32(part);

  const std::vector<float> again = x.result();
  EXPECT_EQ(std::memcmp(whole.data(), again.data(), whole.size() * sizeof(float)), 0);
}

TEST_P(GemmF32Test, WritesZerosWhenKIsZero) {
  Operands x(WeightType::kBf16, 3, 20, 0, false);
  x.c.assign(x.c.size(), 5.0F);

  table().gemm_f32(x.args);

  EXPECT_EQ(x.result(), std::vector<float>(60, 0.0F));
}

INSTANTIATE_TEST_SUITE_P(Tables, GemmF32Test, every_table(), table_name);

}  // namespace
}  // namespace latent8
