#include "source/source_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <string>
#include <vector>

#include "formats/safetensors_writer.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

namespace fs = std::filesystem;

// A checkpoint of two files: "a" and "b" in the first, "c" in the second.
class SourceReaderTest : public testing::Test {
 protected:
  SourceReaderTest() {
    fs::copy_file(fs::path(LATENT8_SOURCE_DIR) / "tests/data/golden/v3-fp8-small/config.json",
                  dir_ / "config.json");
    write(first_, {{"a", {1, 2, 3, 4, 5}}, {"b", {6, 7, 8}}});
    write(second_, {{"c", {9, 10}}});
  }
  static void write(const fs::path& path, const std::map<std::string, std::vector<int>>& tensors) {
    std::vector<TensorToWrite> to_write;
    for (const auto& [name, values] : tensors)
      to_write.push_back({name, DType::kU8, {static_cast<std::int64_t>(values.size())}});
    SafetensorsWriter writer(path, to_write);
    for (const auto& [name, values] : tensors)
      for (const int value : values) {
        const auto byte = static_cast<std::byte>(value);
        writer.append(name, {&byte, 1});
      }
    writer.finish();
  }
  static std::vector<int> read(const SourceReader& reader, const std::string& name, std::int64_t offset,
                               std::size_t count) {
    std::vector<std::byte> bytes(count);
    reader.read(name, offset, bytes);
    std::vector<int> values;
    for (const std::byte b : bytes) values.push_back(std::to_integer<int>(b));
    return values;
  }
  static void touch(const fs::path& path) {
    fs::last_write_time(path, fs::last_write_time(path) + std::chrono::seconds(5));
  }
  Checkpoint open() const { return Checkpoint::open(dir_.path()); }

  TempDir dir_;
  fs::path first_ = dir_ / "1.safetensors", second_ = dir_ / "2.safetensors";
};

TEST_F(SourceReaderTest, ReadsAnyPartOfATensorOfAnyFile) {
  const Checkpoint checkpoint = open();
  const SourceReader reader(checkpoint);

  EXPECT_THAT(read(reader, "a", 0, 5), ElementsAre(1, 2, 3, 4, 5));
  EXPECT_THAT(read(reader, "b", 1, 2), ElementsAre(7, 8));
  EXPECT_THAT(read(reader, "c", 1, 1), ElementsAre(10));
  EXPECT_THAT(read(reader, "c", 2, 0), ElementsAre());
}

TEST_F(SourceReaderTest, NamesAnUnknownTensor) {
  const Checkpoint checkpoint = open();
  const SourceReader reader(checkpoint);

  EXPECT_THAT(error_of(ErrorCode::kNotFound, [&] { read(reader, "d", 0, 1); }), HasSubstr("'d'"));
}

TEST_F(SourceReaderTest, SaysThatAFileBecameShorter) {
  const Checkpoint checkpoint = open();
  const SourceReader reader(checkpoint);
  fs::resize_file(first_, fs::file_size(first_) - 2);

  const std::string message = error_of(ErrorCode::kIo, [&] { read(reader, "b", 0, 3); });

  EXPECT_THAT(message, HasSubstr(first_.string()));
  EXPECT_THAT(message, HasSubstr("changed while it was being read"));
}

TEST_F(SourceReaderTest, RefusesAFileThatIsNotTheOneThatWasMapped) {
  const Checkpoint checkpoint = open();
  fs::remove(second_);
  write(second_, {{"c", {9, 10, 11}}});

  EXPECT_THAT(error_of(ErrorCode::kIo, [&] { SourceReader reader(checkpoint); }), HasSubstr("changed"));
}

TEST_F(SourceReaderTest, HasTheSameFingerprintForTheSameSource) {
  const Checkpoint a = open(), b = open();

  EXPECT_EQ(SourceReader(a).fingerprint(), SourceReader(b).fingerprint());
}

TEST_F(SourceReaderTest, HasAnotherFingerprintForAnotherTime) {
  const Checkpoint before = open();
  const std::uint64_t fingerprint = SourceReader(before).fingerprint();
  touch(first_);

  EXPECT_NE(SourceReader(before).fingerprint(), fingerprint);
}

TEST_F(SourceReaderTest, HasAnotherFingerprintForOtherTensorNames) {
  std::uint64_t fingerprint = 0;
  const auto time = fs::last_write_time(second_);
  {
    const Checkpoint before = open();
    fingerprint = SourceReader(before).fingerprint();
  }
  fs::remove(second_);
  write(second_, {{"d", {9, 10}}});
  fs::last_write_time(second_, time);
  const Checkpoint after = open();

  EXPECT_NE(SourceReader(after).fingerprint(), fingerprint);
}

}  // namespace
}  // namespace latent8
