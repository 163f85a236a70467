#include "formats/sha256sums.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::ElementsAre;
using testing::HasSubstr;

std::string sha256(std::string_view text) {
  Sha256 sum;
  for (const char c : text) sum.add(std::as_bytes(std::span(&c, 1)));
  return sum.hex();
}

// Source: FIPS 180-4's examples.
TEST(Sha256, IsTheStandards) {
  EXPECT_EQ(sha256("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(sha256(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
}

class Sha256Sums : public testing::Test {
 protected:
  Sha256Sums() {
    fs::create_directory(dir_ / "templates");
    dir_.write("config.json", "{}");
    dir_.write("back\\slash\nand line", "x");
    dir_.write("templates/tools.jinja", std::string(3 << 20, 'x'));
    dir_.write("config.json.tmp-123", "");
    std::vector<FileSum> sums;
    for (const std::string& name : files_below(dir_.path()))
      sums.push_back({name, sha256_of_file(dir_ / name)});
    dir_.write(kSumsFile, sha256sums_text(sums));
  }
  std::vector<SumProblem> check() { return check_sha256sums(dir_.path(), pool_); }

  TempDir dir_;
  ThreadPool pool_{2};
};

TEST_F(Sha256Sums, IsWhatSha256sumAccepts) {
  const std::string command = "cd '" + dir_.path().string() + "' && sha256sum --strict --quiet -c SHA256SUMS";
  EXPECT_EQ(std::system(command.c_str()), 0);
}

TEST_F(Sha256Sums, NamesEveryFileButItselfAndTemporaryOnes) {
  EXPECT_THAT(files_below(dir_.path()),
              ElementsAre("back\\slash\nand line", "config.json", "templates/tools.jinja"));
  EXPECT_TRUE(check().empty());
  EXPECT_NO_THROW(require_sha256sums(dir_.path(), pool_));
}

TEST_F(Sha256Sums, NoticesEveryBitOfEveryFile) {
  for (const char* name : {"config.json", "back\\slash\nand line", "templates/tools.jinja"})
    for (int bit = 0; bit < 8; ++bit) {
      flip_bit(dir_ / name, fs::file_size(dir_ / name) - 1, bit);
      const auto problems = check();
      ASSERT_EQ(problems.size(), 1U) << name;
      EXPECT_EQ(problems[0].name, name);
      flip_bit(dir_ / name, fs::file_size(dir_ / name) - 1, bit);
    }
  EXPECT_TRUE(check().empty());
}

TEST_F(Sha256Sums, NoticesEveryBitOfTheListItself) {
  const fs::path list = dir_ / kSumsFile;
  for (std::uintmax_t byte = 0; byte < fs::file_size(list); ++byte)
    for (int bit = 0; bit < 8; ++bit) {
      flip_bit(list, byte, bit);
      bool noticed = true;
      try {
        noticed = !check().empty();
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kCorrupt);
      }
      EXPECT_TRUE(noticed) << byte << " " << bit;
      flip_bit(list, byte, bit);
    }
}

TEST_F(Sha256Sums, NamesAFileThatIsMissing) {
  fs::remove(dir_ / "config.json");
  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { require_sha256sums(dir_.path(), pool_); }),
              HasSubstr("config.json"));
}

TEST(ParseSha256Sums, RefusesNamesOutsideTheFolder) {
  const std::string hex(64, 'a');
  for (const char* name : {"../x", "/etc/passwd", "a/../../b", "", "./x"})
    EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { parse_sha256sums(hex + "  " + name + "\n", "list"); }),
                HasSubstr("line 1"));
  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { parse_sha256sums(hex + "  x\n" + hex + "  x\n", "list"); }),
              HasSubstr("twice"));
  EXPECT_EQ(parse_sha256sums(hex + "  a/b c\n", "list").at(0).name, "a/b c");
}

}  // namespace
}  // namespace latent8
