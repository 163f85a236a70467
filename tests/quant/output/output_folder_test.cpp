#include "quant/output/output_folder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sched.h>
#include <sys/mount.h>

#include "formats/sha256sums.h"
#include "quant/child_process.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Earlier = OutputFolder::Earlier;

constexpr const char* kDescription = R"({"model_quant_type": "FLOAT", "a": "FLOAT"})";

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
  write(dir_ / "out.partial.state/former/quant_model_description.json", kDescription);
  {
    OutputFolder folder = open(/*overwrite=*/true);
    EXPECT_EQ(read_file(out() / "quant_model_description.json"), kDescription);
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

class Overwriting : public OutputFolderTest {
 protected:
  // A former result, with files of the user's beside it.
  void former(bool sums) {
    fs::create_directories(out() / "templates");
    fs::create_directories(out() / "notes");
    write(out() / "quant_model_description.json", kDescription);
    write(out() / "quant_model_weight_float.safetensors.index.json",
          R"({"metadata": {"total_size": 1}, "weight_map": {"a": "w.safetensors"}})");
    write(out() / "w.safetensors", "weights");
    write(out() / "templates/old.jinja", "former");
    write(out() / "result", "former");
    std::vector<FileSum> files;
    for (const std::string& name : files_below(out())) files.push_back({name, sha256_of_file(out() / name)});
    if (sums) write(out() / kSumsFile, sha256sums_text(files).c_str());
    write(out() / "thesis.txt", "precious");
    write(out() / "notes/one.txt", "precious");
    write(out() / "templates/mine.jinja", "precious");
  }
  void overwrite() {
    OutputFolder folder = open(/*overwrite=*/true);
    write(folder.partial() / "result", "next");
    folder.commit();
  }
  std::vector<std::string> files() { return files_below(out()); }
};

TEST_F(Overwriting, RemovesOnlyWhatTheListNames) {
  former(/*sums=*/true);
  overwrite();
  EXPECT_THAT(files(), testing::ElementsAre("notes/one.txt", "result", "templates/mine.jinja", "thesis.txt"));
  EXPECT_EQ(read_file(out() / "result"), "next");
  EXPECT_FALSE(fs::exists(out() / kSumsFile));
  EXPECT_FALSE(fs::exists(dir_ / "out.partial.state"));
}

TEST_F(Overwriting, RemovesOnlyWhatIndexAndDescriptionNameWithoutAList) {
  former(/*sums=*/false);
  overwrite();
  EXPECT_THAT(files(), testing::ElementsAre("notes/one.txt", "result", "templates/mine.jinja",
                                            "templates/old.jinja", "thesis.txt"));
  EXPECT_EQ(read_file(out() / "result"), "next");
}

TEST_F(Overwriting, KeepsAFileOfTheUsersThatHasANameOfTheNewResult) {
  former(/*sums=*/true);
  OutputFolder folder = open(/*overwrite=*/true);
  write(folder.partial() / "thesis.txt", "of the new source");
  folder.commit();
  EXPECT_EQ(read_file(out() / "thesis.txt"), "of the new source");
  EXPECT_EQ(read_file(out() / "thesis.txt.former"), "precious");
}

TEST_F(Overwriting, TakesNoFolderForAResultThatDescribesNoTensor) {
  fs::create_directories(out());
  for (const char* text : {"{}", "[]", "", R"({"model_quant_type": "FLOAT"})"}) {
    write(out() / "quant_model_description_mine.json", text);
    EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { open(/*overwrite=*/true); }),
                HasSubstr("only a quantised checkpoint is overwritten"));
    EXPECT_EQ(read_file(out() / "quant_model_description_mine.json"), text);
  }
}

// As after a kill between the rename of the new result and the removal of the former one.
TEST_F(Overwriting, GoesOnWhereACommitWasKilledAfterTheRename) {
  former(/*sums=*/true);
  fs::rename(out(), dir_ / "former");
  leave("next");
  fs::rename(dir_ / "out.partial/state", dir_ / "out.partial.state");
  fs::rename(dir_ / "former", dir_ / "out.partial.state/former");
  fs::rename(dir_ / "out.partial", out());
  open(/*overwrite=*/true).commit();
  EXPECT_THAT(files(), testing::ElementsAre("notes/one.txt", "result", "templates/mine.jinja", "thesis.txt"));
  EXPECT_FALSE(fs::exists(dir_ / "out.partial.state"));
}

TEST_F(OutputFolderTest, RefusesTheSourceUnderAnotherName) {
  fs::create_directories(dir_ / "source/sub");
  fs::create_directory_symlink(dir_ / "source", dir_ / "link");
  for (const char* name : {"source", "source/out", "link/out", "source/sub/out", "link"})
    EXPECT_THAT(error_of(ErrorCode::kInvalidArgument,
                         [&] { OutputFolder(dir_ / "source", dir_ / name, false, Earlier::kKeep); }),
                HasSubstr("outside the source"))
        << name;
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument,
                       [&] { OutputFolder(dir_ / "source/sub", dir_ / "source", false, Earlier::kKeep); }),
              HasSubstr("outside the source"));
}

// A bind mount, in a mount namespace of our own; skipped where the system lets nobody make one.
TEST_F(OutputFolderTest, RefusesABindMountOfTheSource) {
  fs::create_directories(dir_ / "source");
  fs::create_directories(dir_ / "mounted");
  bool may_mount = true;
  const ChildProcess child([&] {
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0 ||
        mount((dir_ / "source").c_str(), (dir_ / "mounted").c_str(), nullptr, MS_BIND, nullptr) != 0) {
      dir_.write("skipped", "");
      return;
    }
    for (const char* name : {"mounted", "mounted/out"})
      error_of(ErrorCode::kInvalidArgument,
               [&] { OutputFolder(dir_ / "source", dir_ / name, false, Earlier::kKeep); });
    if (testing::Test::HasFailure()) throw std::runtime_error("not refused");
  });
  EXPECT_TRUE(child.finished());
  may_mount = !fs::exists(dir_ / "skipped");
  if (!may_mount) GTEST_SKIP() << "no mount namespaces here";
}

}  // namespace
}  // namespace latent8
