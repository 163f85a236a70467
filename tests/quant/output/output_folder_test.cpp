#include "quant/output/output_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Earlier = OutputFolder::Earlier;

class OutputFolderTest : public testing::Test {
 protected:
  fs::path out() const { return dir_ / "out"; }
  OutputFolder open(bool overwrite = false, Earlier earlier = Earlier::kKeep) const {
    return OutputFolder("/nowhere/source", out(), overwrite, earlier);
  }
  // What a run leaves that is killed after it has written this much.
  void leave(const char* text) const {
    OutputFolder folder("/nowhere/source", out(), false);
    write(folder.partial() / "result", text);
    write(folder.state() / "manifest", text);
    folder.keep();
  }
  static void write(const fs::path& path, const char* text) { std::ofstream(path) << text; }

  TempDir dir_;
};

TEST_F(OutputFolderTest, KeepsWhatAnInterruptedRunLeft) {
  leave("half");
  const OutputFolder folder = open();
  EXPECT_EQ(read_file(folder.partial() / "result"), "half");
  EXPECT_EQ(read_file(folder.state() / "manifest"), "half");
}

TEST_F(OutputFolderTest, BeginsAfreshUnlessAsked) {
  leave("half");
  const OutputFolder folder = open(false, Earlier::kRemove);
  EXPECT_FALSE(fs::exists(folder.partial() / "result"));
  EXPECT_FALSE(fs::exists(folder.state() / "manifest"));
}

TEST_F(OutputFolderTest, HasOneUserAtATime) {
  const OutputFolder first = open();
  EXPECT_THAT(error_of(ErrorCode::kUnavailable, [&] { open(); }), HasSubstr("another run"));
}

TEST_F(OutputFolderTest, GoesOnWhereACommitWasKilledBeforeTheRename) {
  leave("whole");
  fs::rename(dir_ / "out.partial/state", dir_ / "out.partial.state");
  OutputFolder folder = open();
  EXPECT_FALSE(folder.completed());
  EXPECT_EQ(read_file(folder.state() / "manifest"), "whole");
  folder.commit();
  EXPECT_EQ(read_file(out() / "result"), "whole");
  EXPECT_FALSE(fs::exists(dir_ / "out.partial.state"));
}

TEST_F(OutputFolderTest, PutsTheFormerResultBackWhereACommitWasKilled) {
  leave("next");
  fs::rename(dir_ / "out.partial/state", dir_ / "out.partial.state");
  fs::create_directory(dir_ / "out.partial.state/former");
  write(dir_ / "out.partial.state/former/quant_model_description.json", "former");
  {
    OutputFolder folder = open(/*overwrite=*/true);
    EXPECT_EQ(read_file(out() / "quant_model_description.json"), "former");
    folder.commit();
  }
  EXPECT_EQ(read_file(out() / "result"), "next");
  EXPECT_FALSE(fs::exists(out() / "quant_model_description.json"));
}

TEST_F(OutputFolderTest, SeesThatACommitWasKilledAfterTheRename) {
  leave("whole");
  fs::rename(dir_ / "out.partial/state", dir_ / "out.partial.state");
  fs::rename(dir_ / "out.partial", out());
  OutputFolder folder = open();
  EXPECT_TRUE(folder.completed());
  EXPECT_EQ(read_file(folder.state() / "manifest"), "whole");
  folder.commit();
  EXPECT_EQ(read_file(out() / "result"), "whole");
  EXPECT_FALSE(fs::exists(dir_ / "out.partial.state"));
}

TEST_F(OutputFolderTest, LeavesOutTemporaryFilesOfRunsThatDied) {
  leave("half");
  write(dir_ / "out.partial/config.json.tmp-123", "");
  open().commit();
  EXPECT_FALSE(fs::exists(out() / "config.json.tmp-123"));
  EXPECT_TRUE(fs::exists(out() / "result"));
}

TEST_F(OutputFolderTest, ForgetsACompletedResultOfOtherInputs) {
  leave("whole");
  fs::rename(dir_ / "out.partial/state", dir_ / "out.partial.state");
  fs::rename(dir_ / "out.partial", out());
  OutputFolder folder = open();
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { folder.clear(); }), HasSubstr("--overwrite"));
  EXPECT_FALSE(fs::exists(dir_ / "out.partial.state"));
}

}  // namespace
}  // namespace latent8
