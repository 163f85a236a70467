#include "source/file_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>

#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class FileWatchTest : public testing::Test {
 protected:
  FileWatchTest() {
    fs::create_directory(dir_ / "templates");
    for (const char* name : {"config.json", "model.safetensors", "templates/tools.jinja", ".lock"})
      dir_.write(name, "text");
  }
  std::string complaint(const FileWatch& watch) {
    return error_of(ErrorCode::kIo, [&] { watch.check_unchanged(); });
  }
  // So that a clock of coarse steps has moved on.
  static void wait() { usleep(20'000); }

  TempDir dir_;
};

TEST_F(FileWatchTest, FindsNothingToSayAboutAnUnchangedFolder) {
  const FileWatch watch(dir_.path());
  dir_.write("another", "text");
  dir_.write(".lock", "locked");
  EXPECT_NO_THROW(watch.check_unchanged());
}

TEST_F(FileWatchTest, NoticesAFileThatWasWrittenTo) {
  for (const char* name : {"config.json", "model.safetensors", "templates/tools.jinja"}) {
    const FileWatch watch(dir_.path());
    wait();
    dir_.write(name, "TEXT");
    EXPECT_THAT(complaint(watch), AllOf(HasSubstr(name), HasSubstr("changed while")));
  }
}

TEST_F(FileWatchTest, NoticesAWriterThatSetsTheTimeBack) {
  const FileWatch watch(dir_.path());
  const auto time = fs::last_write_time(dir_ / "config.json");
  wait();
  dir_.write("config.json", "TEXT");
  fs::last_write_time(dir_ / "config.json", time);
  EXPECT_THAT(complaint(watch), HasSubstr("config.json"));
}

TEST_F(FileWatchTest, NoticesAFileThatWasReplaced) {
  const FileWatch watch(dir_.path());
  const auto time = fs::last_write_time(dir_ / "config.json");
  dir_.write("copy", "text");
  fs::last_write_time(dir_ / "copy", time);
  fs::rename(dir_ / "copy", dir_ / "config.json");
  EXPECT_THAT(complaint(watch), HasSubstr("another file"));
}

TEST_F(FileWatchTest, NoticesAFileThatWasRemoved) {
  const FileWatch watch(dir_.path());
  fs::remove(dir_ / "templates/tools.jinja");
  EXPECT_THAT(complaint(watch), HasSubstr("tools.jinja"));
}

}  // namespace
}  // namespace latent8
