// The msmodelslim mode, fed with the statistics that the reference saw, writes the reference's bytes.

#include <gmock/gmock.h>

#include "quant/compat/support.h"

namespace latent8::compat {
namespace {

constexpr const char* kShard = "quant_model_weight_w8a8_dynamic-00001-of-00001.safetensors";

// The JSON text between the length and the tensors.
std::string header_of(const std::filesystem::path& file) {
  const std::string content = read_file(file);
  std::uint64_t size = 0;
  std::memcpy(&size, content.data(), sizeof(size));
  return content.substr(8, size);
}

class CompatParity : public CompatTest {
 protected:
  // Files by name, and the bytes of each; of shards the header and each tensor.
  void expect_equal(const GoldenRun& run) {
    quantize_as_msmodelslim(options(run), given(run));
    const auto hashes = golden_hashes(run);
    for (const std::string& name : files_of(dir_ / "out")) {
      const std::filesystem::path path = dir_ / "out" / name;
      ASSERT_TRUE(hashes.contains(name)) << name;
      if (path.extension() == ".safetensors") {
        EXPECT_EQ(hash64(header_of(path)), hashes.at(name)) << name;
        expect_equal_tensors(hashes, path);
      } else {
        EXPECT_EQ(hash64(read_file(path)), hashes.at(name)) << name;
      }
    }
  }

 private:
  void expect_equal_tensors(const std::map<std::string, std::string>& hashes,
                            const std::filesystem::path& path) {
    const SafetensorsFile whole(kWhole / kShard), ours(path);
    for (const auto& [name, view] : ours.tensors()) {
      const auto listed = hashes.find(name);
      const std::string golden =
          listed != hashes.end() ? listed->second : hash64(whole.tensors().at(name).bytes);
      EXPECT_EQ(hash64(view.bytes), golden) << name;
    }
  }
};

TEST_F(CompatParity, TheWholeCheckpointIsTheReferences) {
  const QuantizeResult result = quantize_as_msmodelslim(options(kRunA), given(kRunA));

  EXPECT_EQ(result.tensors, 905);
  EXPECT_EQ(result.fa_layers, 5);
  ASSERT_EQ(files_of(dir_ / "out"), files_of(kWhole));
  for (const std::string& name : files_of(kWhole))
    EXPECT_TRUE(read_file(dir_ / "out" / name) == read_file(kWhole / name)) << name;
}

TEST_F(CompatParity, AscendV1) { expect_equal(kRunB); }
TEST_F(CompatParity, DynamicWithoutSmoothing) { expect_equal(kRunC); }
TEST_F(CompatParity, SmoothingByM6) { expect_equal(kRunE); }
TEST_F(CompatParity, FloatMtpLayer) { expect_equal(kRunF); }

TEST_F(CompatParity, ModesAreTheReferences) {
  using std::filesystem::perms;
  quantize_as_msmodelslim(options(kRunF), given(kRunF));

  const auto mode = [&](const std::string& name) {
    return std::filesystem::status(dir_ / "out" / name).permissions();
  };
  EXPECT_EQ(mode(""), perms::owner_all | perms::group_read | perms::group_exec);
  for (const std::string& name : files_of(dir_ / "out"))
    EXPECT_EQ(mode(name),
              name.ends_with(".safetensors") ? perms::owner_read : perms::owner_read | perms::owner_write)
        << name;
}

TEST_F(CompatParity, SmallShardsHoldTheSameTensors) {
  QuantizeOptions o = options(kRunB);
  o.shard_bytes = 2 << 20;
  quantize_as_msmodelslim(o, given(kRunB));

  const Checkpoint parts = Checkpoint::open(o.out);
  const SafetensorsFile whole(kWhole / kShard);
  ASSERT_EQ(parts.files().size(), 7U);
  for (const SafetensorsFile& file : parts.files()) {
    std::int64_t bytes = 0;
    for (const auto& [name, view] : file.tensors()) bytes += static_cast<std::int64_t>(view.bytes.size());
    // A tensor as large as a shard is alone in one.
    EXPECT_TRUE(bytes < o.shard_bytes || file.tensors().size() == 1) << file.path();
  }
  EXPECT_THAT(
      files_of(o.out),
      testing::IsSupersetOf({std::string("quant_model_weight_w8a8_dynamic-00001-of-00007.safetensors"),
                             std::string("quant_model_weight_w8a8_dynamic-00007-of-00007.safetensors")}));
  for (const auto& [name, view] : parts.tensors())
    EXPECT_TRUE(std::ranges::equal(view.bytes, whole.tensors().at(name).bytes)) << name;
}

}  // namespace
}  // namespace latent8::compat
