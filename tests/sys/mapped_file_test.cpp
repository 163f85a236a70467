#include "sys/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>

#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

std::string text(const MappedFile& file) {
  return {reinterpret_cast<const char*>(file.bytes().data()), file.bytes().size()};
}

TEST(MappedFile, ShowsTheBytesOfTheFile) {
  const TempDir dir;

  const MappedFile file(dir.write("a", "some bytes"));

  EXPECT_EQ(text(file), "some bytes");
  EXPECT_EQ(file.path(), dir / "a");
}

TEST(MappedFile, EmptyFileHasNoBytes) {
  const TempDir dir;

  EXPECT_TRUE(MappedFile(dir.write("empty", "")).bytes().empty());
}

TEST(MappedFile, MovingKeepsTheBytesInPlace) {
  const TempDir dir;
  MappedFile first(dir.write("a", "first")), second(dir.write("b", "second"));
  const std::byte* place = first.bytes().data();

  second = std::move(first);

  EXPECT_EQ(second.bytes().data(), place);
  EXPECT_EQ(text(second), "first");
}

TEST(MappedFile, WhatIsNoRegularFileIsRefusedAtOnce) {
  const TempDir dir;
  ASSERT_EQ(mkfifo((dir / "fifo").c_str(), 0600), 0);
  std::filesystem::create_directory(dir / "folder");

  EXPECT_THAT(error_of(ErrorCode::kIo, [&] { const MappedFile file(dir / "fifo"); }),
              testing::HasSubstr("a regular file expected, got a FIFO"));
  EXPECT_THAT(error_of(ErrorCode::kIo, [&] { const MappedFile file(dir / "folder"); }),
              testing::HasSubstr("got a folder"));
  EXPECT_THAT(error_of(ErrorCode::kIo, [&] { const MappedFile file("/dev/null"); }),
              testing::HasSubstr("got a device"));
  EXPECT_THAT(error_of(ErrorCode::kNotFound, [&] { const MappedFile file(dir / "none"); }),
              testing::HasSubstr("No such file"));
}

TEST(MappedFile, NamesTheFileThatBecameShorter) {
  const TempDir dir;
  const std::filesystem::path path = dir.write("shrinks", std::string(1 << 16, 'x'));

  EXPECT_EXIT(
      {
        const MappedFile file(path);
        static_cast<void>(truncate(path.c_str(), 0));
        const volatile std::byte* last = &file.bytes().back();
        static_cast<void>(*last);
      },
      testing::ExitedWithCode(1), "shrinks' became shorter");
}

}  // namespace
}  // namespace latent8
