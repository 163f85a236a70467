#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <tuple>
#include <vector>

#include "base/aligned_buffer.h"
#include "kernels/attend_args.h"
#include "kernels/latent_layout.h"
#include "kernels/ref/mla_ref.h"
#include "support/kernels.h"

namespace latent8 {
namespace {

constexpr std::int64_t kKeyBegin = kRunKeys;  // the second run of a sequence
constexpr std::int64_t kPageKeys = 256;       // whole tiles of every table
constexpr float kScale = 0.03F;

struct AttendShape {
  std::int64_t rows, keys, rank, rope;
};

struct AttendResult {
  std::vector<float> out, max, sum;
  bool operator==(const AttendResult&) const = default;
};

// One sequence's run of keys in an int8 and in a float page, and query rows for it. Every third row sees only
// some of the keys.
class Problem {
 public:
  explicit Problem(AttendShape shape, CacheType float_type = CacheType::kF16, std::uint64_t seed = 1)
      : shape_(shape),
        s8_{CacheType::kInt8, shape.rank, shape.rope},
        float_{float_type, shape.rank, shape.rope},
        s8_pages_(pages(s8_)),
        float_pages_(pages(float_)),
        q8(random_codes(shape.rows * shape.rank, seed)),
        q(scaled(normal_floats(shape.rows * shape.rank, seed + 1), 0.05F)),
        q_pe(scaled(normal_floats(shape.rows * shape.rope, seed + 2), 0.1F)) {
    Rng rng(seed + 3);
    for (std::int64_t row = 0; row < shape.rows; ++row) {
      qk_scale.push_back(kScale * static_cast<float>(0.0002 + 0.0005 * rng.uniform()));
      visible.push_back(
          static_cast<std::int32_t>(kKeyBegin + (row % 3 == 1 ? rng.below(shape.keys + 1) : shape.keys)));
    }
    const std::vector<float> c_kv = scaled(normal_floats(shape.keys * shape.rank, seed + 4), 1.3F);
    const std::vector<float> k_pe = normal_floats(shape.keys * shape.rope, seed + 5);
    for (std::int64_t key = 0; key < shape.keys; ++key) {
      store_latent(s8_, s8_pages_.data(), key, &c_kv[at(key * shape.rank)], &k_pe[at(key * shape.rope)],
                   1 / kScale);
      store_latent(float_, float_pages_.data(), key, &c_kv[at(key * shape.rank)], &k_pe[at(key * shape.rope)],
                   0);
    }
  }

  AttendResult run_s8(const KernelTable& table) { return run_s8(table, 0, shape_.rows, shape_.keys); }
  AttendResult run_s8(const KernelTable& table, std::int64_t row, std::int64_t rows, std::int64_t keys) {
    AttendResult result = empty_result(rows);
    const std::vector<const void*> groups = pointers(s8_, s8_pages_, keys);
    AlignedBuffer<char> scratch(table.attend_scratch_bytes(shape_.rank, shape_.rope));
    table.mla_attend_s8({.groups = groups.data(),
                         .key_begin = kKeyBegin,
                         .n_keys = keys,
                         .rows = rows,
                         .rank = shape_.rank,
                         .rope = shape_.rope,
                         .q = &q8[at(row * shape_.rank)],
                         .qk_scale = &qk_scale[at(row)],
                         .q_pe = &q_pe[at(row * shape_.rope)],
                         .visible = &visible[at(row)],
                         .v_scale = kScale,
                         .out = result.out.data(),
                         .max = result.max.data(),
                         .sum = result.sum.data(),
                         .scratch = scratch.data()});
    return result;
  }
  AttendResult run_float(const KernelTable& table) { return run_float(table, 0, shape_.rows, shape_.keys); }
  AttendResult run_float(const KernelTable& table, std::int64_t row, std::int64_t rows, std::int64_t keys) {
    AttendResult result = empty_result(rows);
    const std::vector<const void*> groups = pointers(float_, float_pages_, keys);
    AlignedBuffer<char> scratch(table.attend_scratch_bytes(shape_.rank, shape_.rope));
    const auto attend = float_.type == CacheType::kF16 ? table.mla_attend_f16 : table.mla_attend_f32;
    attend({.groups = groups.data(),
            .key_begin = kKeyBegin,
            .n_keys = keys,
            .rows = rows,
            .rank = shape_.rank,
            .rope = shape_.rope,
            .q = &q[at(row * shape_.rank)],
            .q_pe = &q_pe[at(row * shape_.rope)],
            .visible = &visible[at(row)],
            .out = result.out.data(),
            .max = result.max.data(),
            .sum = result.sum.data(),
            .scratch = scratch.data()});
    return result;
  }

  MlaRefResult reference_s8(const KernelTable& table) const {
    return reference(s8_, s8_pages_, {q8.begin(), q8.end()}, table.attend_tile_keys);
  }
  MlaRefResult reference_float() const { return reference(float_, float_pages_, {q.begin(), q.end()}, 0); }

  // Fills the bytes of keys [begin, end) in both pages with `bits`: 0xff is NaN in k_pe and in float latents.
  void spoil_keys(std::int64_t begin, std::int64_t end, int bits) {
    for (std::int64_t key = begin; key < end; ++key)
      for (auto [layout, page] : {std::pair{&s8_, &s8_pages_}, std::pair{&float_, &float_pages_}}) {
        for (std::int64_t d = 0; d < shape_.rank; ++d)
          std::memset(page->data() + layout->latent_offset(key, d), bits, at(layout->latent_element()));
        for (std::int64_t r = 0; r < shape_.rope; ++r)
          std::memset(page->data() + layout->k_pe_offset(key, r), bits, at(layout->k_pe_element()));
      }
  }
  // Gives a key the k_pe (value, 0, 0, ...).
  void set_k_pe(std::int64_t key, float value) {
    const LatentLayout layout = s8_;
    std::vector<float> c_kv(at(shape_.rank)), k_pe(at(shape_.rope));
    load_latent(layout, s8_pages_.data(), key, 1.0F, c_kv.data(), k_pe.data());
    std::fill(k_pe.begin(), k_pe.end(), 0.0F);
    k_pe[0] = value;
    store_latent(layout, s8_pages_.data(), key, c_kv.data(), k_pe.data(), 1.0F);
  }
  // Moves the groups to other places: what blocks of another size, or another block table, look like.
  void scatter_groups() {
    reversed_ = true;
    for (auto [layout, page] : {std::pair{&s8_, &s8_pages_}, std::pair{&float_, &float_pages_}}) {
      const std::int64_t bytes = layout->group_bytes(), n = page->size() / bytes;
      for (std::int64_t g = 0; g < n / 2; ++g)
        std::swap_ranges(page->data() + g * bytes, page->data() + (g + 1) * bytes,
                         page->data() + (n - 1 - g) * bytes);
    }
  }

 private:
  static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
  static std::vector<float> scaled(std::vector<float> x, float factor) {
    for (float& value : x) value *= factor;
    return x;
  }
  // Room for whole tiles; bytes that hold no key are NaN.
  AlignedBuffer<char> pages(const LatentLayout& layout) const {
    const std::int64_t n = (shape_.keys + kPageKeys - 1) / kPageKeys;
    AlignedBuffer<char> page(n * layout.page_bytes(kPageKeys));
    std::fill(page.span().begin(), page.span().end(), '\xff');
    return page;
  }
  // Only the groups that n keys need: the rest of the last tile is missing.
  std::vector<const void*> pointers(const LatentLayout& layout, const AlignedBuffer<char>& page,
                                    std::int64_t keys) const {
    const std::int64_t bytes = layout.group_bytes(), n = page.size() / bytes;
    std::vector<const void*> groups;
    for (std::int64_t g = 0; g < (keys + kGroupKeys - 1) / kGroupKeys; ++g)
      groups.push_back(page.data() + (reversed_ ? n - 1 - g : g) * bytes);
    return groups;
  }
  AttendResult empty_result(std::int64_t rows) const {
    const float nan = std::numeric_limits<float>::quiet_NaN();
    return {std::vector<float>(at(rows * shape_.rank), nan), std::vector<float>(at(rows), nan),
            std::vector<float>(at(rows), nan)};
  }
  MlaRefResult reference(const LatentLayout& layout, const AlignedBuffer<char>& page,
                         const std::vector<double>& queries, std::int64_t tile_keys) const {
    std::vector<double> k, k_pe;
    std::vector<float> c_kv(at(shape_.rank)), rope(at(shape_.rope));
    for (std::int64_t key = 0; key < shape_.keys; ++key) {
      load_latent(layout, page.data(), key, 1.0F, c_kv.data(), rope.data());
      k.insert(k.end(), c_kv.begin(), c_kv.end());
      k_pe.insert(k_pe.end(), rope.begin(), rope.end());
    }
    const std::vector<double> scale(qk_scale.begin(), qk_scale.end()), pe(q_pe.begin(), q_pe.end());
    const MlaRefArgs args{.rows = shape_.rows,
                          .rank = shape_.rank,
                          .rope = shape_.rope,
                          .n_keys = shape_.keys,
                          .key_begin = kKeyBegin,
                          .tile_keys = tile_keys,
                          .q = queries.data(),
                          .qk_scale = scale.data(),
                          .q_pe = pe.data(),
                          .k = k.data(),
                          .k_pe = k_pe.data(),
                          .visible = visible.data(),
                          .v_scale = kScale};
    return layout.type == CacheType::kInt8 ? mla_attend_s8_ref(args) : mla_attend_ref(args);
  }

  AttendShape shape_;
  LatentLayout s8_, float_;
  AlignedBuffer<char> s8_pages_, float_pages_;
  bool reversed_ = false;

 public:
  std::vector<std::int8_t> q8;
  std::vector<float> q, q_pe, qk_scale;
  std::vector<std::int32_t> visible;
};

// S has a magnitude of at most about 20 here, so its fp32 error stays below 1e-5, and that of exp(S - max)
// and of the sums it enters below 2e-5 of their magnitude: |V| <= `largest` times the row's sum.
void expect_matches(const AttendResult& got, const MlaRefResult& want, double largest) {
  const std::size_t rows = want.max.size(), rank = want.out.size() / rows;
  for (std::size_t row = 0; row < rows; ++row) {
    if (std::isinf(want.max[row]))
      ASSERT_EQ(got.max[row], want.max[row]) << row;
    else
      ASSERT_NEAR(got.max[row], want.max[row], 1e-5) << row;
    ASSERT_NEAR(got.sum[row], want.sum[row], 2e-5 * want.sum[row]) << row;
    for (std::size_t d = 0; d < rank; ++d)
      ASSERT_NEAR(got.out[row * rank + d], want.out[row * rank + d],
                  want.tie_slack[row] + 2e-5 * largest * want.sum[row])
          << row << ", " << d;
  }
}

using MlaAttend = KernelTest;
INSTANTIATE_TEST_SUITE_P(Tables, MlaAttend, every_table(), table_name);

class MlaAttendShapes : public testing::TestWithParam<std::tuple<const KernelTable*, AttendShape>> {
 protected:
  void SetUp() override {
    if (!is_supported(table())) GTEST_SKIP() << "this CPU cannot run " << table().name;
  }
  const KernelTable& table() const { return *std::get<0>(GetParam()); }
  AttendShape shape() const { return std::get<1>(GetParam()); }
};

std::vector<AttendShape> shapes() {
  std::vector<AttendShape> all;
  for (const std::int64_t rows : {1, 2, 5, 6, 7, 16, 17})
    for (const std::int64_t keys : {1, 15, 16, 17, 63, 64, 65, 129, 300})
      all.push_back({rows, keys, rows % 2 == 0 ? 256 : 32, keys % 2 == 0 ? 64 : 32});
  for (const std::int64_t keys : {1, 32, 33, 64, 65, 129}) all.push_back({6, keys, 512, 64});
  all.push_back({16, 300, 80, 64});  // a last strip of one vector
  all.push_back({128, 300, 64, 64});
  all.push_back({3, 4096, 512, 64});
  return all;
}

std::string shape_name(const testing::TestParamInfo<std::tuple<const KernelTable*, AttendShape>>& info) {
  const auto& [table, shape] = info.param;
  return fmt::format("{}_rows_{}_keys_{}_rank_{}_rope_{}", table->name, shape.rows, shape.keys, shape.rank,
                     shape.rope);
}

INSTANTIATE_TEST_SUITE_P(Tables, MlaAttendShapes,
                         testing::Combine(every_table(), testing::ValuesIn(shapes())), shape_name);

TEST_P(MlaAttendShapes, MatchesTheReferenceOnInt8Keys) {
  Problem problem(shape());

  const AttendResult got = problem.run_s8(table());

  expect_matches(got, problem.reference_s8(table()), 128 * kScale);
}

TEST_P(MlaAttendShapes, MatchesTheReferenceOnFp16Keys) {
  Problem problem(shape());

  const AttendResult got = problem.run_float(table());

  expect_matches(got, problem.reference_float(), 8.0);
}

TEST_P(MlaAttendShapes, MatchesTheReferenceOnFp32Keys) {
  Problem problem(shape(), CacheType::kF32);

  const AttendResult got = problem.run_float(table());

  expect_matches(got, problem.reference_float(), 8.0);
}

// With one key P8 is 255 and the int32 product is 255 times the code.
TEST_P(MlaAttend, ReturnsTheValueOfASingleInt8Key) {
  Problem problem({7, 1, 64, 32});
  problem.visible.assign(7, kKeyBegin + 1);
  const MlaRefResult want = problem.reference_s8(table());

  const AttendResult got = problem.run_s8(table());

  EXPECT_EQ(got.sum, std::vector<float>(7, 1.0F));
  for (std::size_t i = 0; i < got.out.size(); ++i)
    ASSERT_NEAR(got.out[i], want.out[i], 3 * kUnit * std::fabs(want.out[i])) << i;
}

// Without a rope part S is the exact integer product, rounded once by the multiplication.
TEST_P(MlaAttend, ComputesTheIntegerPartOfSExactly) {
  Problem problem({5, 1, 512, 32});
  problem.q8.assign(problem.q8.size(), -128);
  problem.q8[512] = 127;
  problem.q_pe.assign(problem.q_pe.size(), 0.0F);
  problem.qk_scale.assign(5, 1.0F);
  problem.visible.assign(5, kKeyBegin + 1);
  const MlaRefResult want = problem.reference_s8(table());

  const AttendResult got = problem.run_s8(table());

  EXPECT_EQ(std::vector<double>(got.max.begin(), got.max.end()), want.max);
}

TEST_P(MlaAttend, GivesARowTheSameBitsWhateverRowsAreInTheCall) {
  Problem problem({17, 300, 80, 64});
  const AttendResult s8 = problem.run_s8(table()), f16 = problem.run_float(table());

  for (std::int64_t row = 0; row < 17; ++row) {
    const std::int64_t keys =
        std::max<std::int64_t>(1, problem.visible[static_cast<std::size_t>(row)] - kKeyBegin);
    const AttendResult s8_alone = problem.run_s8(table(), row, 1, keys);
    const AttendResult f16_alone = problem.run_float(table(), row, 1, keys);

    const auto i = static_cast<std::size_t>(row);
    ASSERT_EQ(s8_alone.max[0], s8.max[i]) << row;
    ASSERT_EQ(s8_alone.sum[0], s8.sum[i]) << row;
    ASSERT_EQ(std::memcmp(s8_alone.out.data(), &s8.out[i * 80], 80 * sizeof(float)), 0) << row;
    ASSERT_EQ(f16_alone.max[0], f16.max[i]) << row;
    ASSERT_EQ(f16_alone.sum[0], f16.sum[i]) << row;
    ASSERT_EQ(std::memcmp(f16_alone.out.data(), &f16.out[i * 80], 80 * sizeof(float)), 0) << row;
  }
}

TEST_P(MlaAttend, DoesNotDependOnWhereTheGroupsLie) {
  Problem problem({7, 300, 64, 64});
  const AttendResult s8 = problem.run_s8(table()), f16 = problem.run_float(table());

  problem.scatter_groups();

  EXPECT_EQ(problem.run_s8(table()), s8);
  EXPECT_EQ(problem.run_float(table()), f16);
}

TEST_P(MlaAttend, IgnoresWhatLiesBehindTheLastVisibleKey) {
  Problem problem({7, 200, 64, 64});
  problem.visible = {kKeyBegin + 40, kKeyBegin + 150, kKeyBegin + 129, kKeyBegin + 128,
                     kKeyBegin + 1,  kKeyBegin + 150, kKeyBegin - 5};
  const AttendResult s8 = problem.run_s8(table()), f16 = problem.run_float(table());

  for (const int bits : {0xff, 0x7c, 0x00}) {  // NaN, large, zero
    problem.spoil_keys(150, 200, bits);

    ASSERT_EQ(problem.run_s8(table()), s8) << bits;
    ASSERT_EQ(problem.run_float(table()), f16) << bits;
  }
}

// k_pe NaN of a key that this row does not see must not reach it, though another row reads the key.
TEST_P(MlaAttend, DoesNotLetARowSeeAKeyThatOnlyAnotherRowSees) {
  Problem problem({2, 130, 64, 64});
  problem.visible = {kKeyBegin + 100, kKeyBegin + 130};
  const AttendResult clean = problem.run_s8(table());

  problem.spoil_keys(100, 130, 0xff);
  const AttendResult spoiled = problem.run_s8(table());

  EXPECT_EQ(spoiled.max[0], clean.max[0]);
  EXPECT_EQ(spoiled.sum[0], clean.sum[0]);
  EXPECT_EQ(std::vector<float>(spoiled.out.begin(), spoiled.out.begin() + 64),
            std::vector<float>(clean.out.begin(), clean.out.begin() + 64));
}

TEST_P(MlaAttend, ReturnsAnEmptyStateToARowThatSeesNoKey) {
  Problem problem({3, 20, 32, 32});
  problem.visible = {kKeyBegin + 20, kKeyBegin, 7};

  for (const AttendResult& got : {problem.run_s8(table()), problem.run_float(table())})
    for (const std::size_t row : {std::size_t{1}, std::size_t{2}}) {
      EXPECT_EQ(got.max[row], -std::numeric_limits<float>::infinity());
      EXPECT_EQ(got.sum[row], 0.0F);
      EXPECT_EQ(std::vector<float>(got.out.begin() + static_cast<std::ptrdiff_t>(row * 32),
                                   got.out.begin() + static_cast<std::ptrdiff_t>(row * 32 + 32)),
                std::vector<float>(32));
    }
}

// Every key has the same score, so a row's sum counts the keys that it sees, wherever its limit lies in a
// tile.
TEST_P(MlaAttend, SeesExactlyTheKeysBelowTheLimitOfARow) {
  const std::int64_t tile = table().attend_tile_keys;
  std::vector<std::int32_t> limits;
  for (const std::int64_t edge : {std::int64_t{0}, std::int64_t{16}, tile, tile + 16, 2 * tile})
    for (const std::int64_t off : {-1, 0, 1})
      if (edge + off > 0) limits.push_back(static_cast<std::int32_t>(kKeyBegin + edge + off));
  const auto rows = static_cast<std::int64_t>(limits.size());
  for (const CacheType type : {CacheType::kF16, CacheType::kF32}) {
    Problem problem({rows, 2 * tile + 1, 32, 32}, type);
    problem.visible = limits;
    std::fill(problem.q8.begin(), problem.q8.end(), std::int8_t{0});
    std::fill(problem.q.begin(), problem.q.end(), 0.0F);
    std::fill(problem.q_pe.begin(), problem.q_pe.end(), 0.0F);

    const AttendResult s8 = problem.run_s8(table()), floats = problem.run_float(table());

    for (std::size_t row = 0; row < limits.size(); ++row) {
      const auto seen = static_cast<float>(limits[row] - kKeyBegin);
      EXPECT_EQ(s8.sum[row], seen);
      EXPECT_EQ(floats.sum[row], seen);
    }
    expect_matches(s8, problem.reference_s8(table()), 128 * kScale);
    expect_matches(floats, problem.reference_float(), 8.0);
  }
}

// P8 is taken against the tile's maximum: a tile with a weight of exp(-9), far below a step of 1 / 255 of the
// other one, still counts.
TEST_P(MlaAttend, KeepsATileFarBelowTheMaximumOfTheOthers) {
  const std::int64_t half = 2 * table().attend_tile_keys;
  Problem problem({1, 2 * half, 32, 32});
  problem.visible.assign(1, static_cast<std::int32_t>(kKeyBegin + 2 * half));
  problem.q8.assign(problem.q8.size(), 0);
  problem.q_pe.assign(problem.q_pe.size(), 0.0F);
  problem.q_pe[0] = 9.0F;
  for (std::int64_t key = 0; key < 2 * half; ++key) problem.set_k_pe(key, key < half ? 1.0F : 0.0F);

  const AttendResult both = problem.run_s8(table());
  const AttendResult first = problem.run_s8(table(), 0, 1, half);

  expect_matches(both, problem.reference_s8(table()), 128 * kScale);
  EXPECT_NEAR(both.sum[0] - first.sum[0], static_cast<double>(half) * std::exp(-9.0), 1e-3);
  EXPECT_NE(both.out, first.out);
}

}  // namespace
}  // namespace latent8
