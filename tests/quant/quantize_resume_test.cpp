#include <gmock/gmock.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <fstream>
#include <map>
#include <thread>

#include "base/rng.h"
#include "kernels/kernel_table.h"
#include "quant/child_process.h"
#include "quant/output/state_file.h"
#include "quant/quantize_fixture.h"
#include "quant/support.h"
#include "support/errors.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;
using Stage = QuantizeProgress::Stage;

std::map<std::string, std::string> contents(const fs::path& dir) {
  std::map<std::string, std::string> out;
  for (const auto& entry : fs::directory_iterator(dir)) {
    const std::string name = entry.path().filename().string();
    out[name] = entry.is_regular_file() ? read_file(entry.path()) : "a folder";
  }
  return out;
}

class QuantizeResume : public QuantizeTest {
 protected:
  // Several shards, so that an interruption leaves some untouched.
  QuantizeOptions sharded(const fs::path& model = kTinyR1) {
    QuantizeOptions o = options(model);
    o.shard_bytes = 2 << 20;
    o.fallback = QuantizeOptions::Fallback::kAuto;  // some tensors are decided on the way
    return o;
  }
  // A run that dies at its n-th report of progress, from 0; returns whether it lived to its end.
  static bool run_until(QuantizeOptions o, int n) {
    o.progress = [n, reports = 0](const QuantizeProgress&) mutable {
      if (reports++ == n) raise(SIGKILL);
    };
    return ChildProcess([&] { quantize(o); }).finished();
  }
  // A run that an error ends before it reaches `layer`.
  void stop_before(QuantizeOptions o, std::int64_t layer) {
    o.progress = [layer](const QuantizeProgress& p) {
      if (p.layer == layer) throw Error(ErrorCode::kInternal, "stopped");
    };
    error_of(ErrorCode::kInternal, [&] { quantize(o); });
  }
  void expect_only_the_result(const std::map<std::string, std::string>& expected) {
    for (const auto& [name, content] : contents(dir_ / "out"))
      EXPECT_TRUE(expected.contains(name) && expected.at(name) == content) << name;
    EXPECT_EQ(contents(dir_ / "out").size(), expected.size());
    std::vector<std::string> beside;
    for (const auto& entry : fs::directory_iterator(dir_.path()))
      beside.push_back(entry.path().filename().string());
    EXPECT_THAT(beside, testing::UnorderedElementsAre("calib.json", "out"));
  }
  // The result of a run that nobody disturbs; `out` is free again.
  std::map<std::string, std::string> undisturbed(const QuantizeOptions& o) {
    quantize(o);
    auto result = contents(o.out);
    fs::remove_all(o.out);
    return result;
  }
};

TEST_F(QuantizeResume, GoesOnAfterAKillAtAnyReport) {
  const QuantizeOptions o = sharded();
  const auto expected = undisturbed(o);
  int points = 0;
  for (int point = 0; !run_until(o, point); point += 5) {
    ++points;
    const bool finished = run_until(o, 4);  // kill the resumed run too
    if (!finished) quantize(o);
    expect_only_the_result(expected);
    fs::remove_all(o.out);
  }
  EXPECT_GT(points, 5);
}

TEST_F(QuantizeResume, GoesOnAfterKillsAtAnyMoment) {
  const QuantizeOptions o = sharded();
  const auto expected = undisturbed(o);
  Rng rng(20261122);
  for (int round = 0; round < 5; ++round) {
    int kills = 0;
    // Later kills come later, so that a slow machine gets to the end too.
    for (bool finished = false; !finished;) {
      const ChildProcess child([&] { quantize(o); });
      std::this_thread::sleep_for(std::chrono::microseconds(rng.below(50'000 + 20'000 * kills)));
      child.kill();
      // Killed when nothing was left to do but to remove an empty folder: the result is there.
      finished = child.finished() || (fs::exists(o.out) && !fs::exists(dir_ / "out.partial") &&
                                      !fs::exists(dir_ / "out.partial.state/manifest.json"));
      ASSERT_LT(++kills, 200);
    }
    fs::remove_all(dir_ / "out.partial.state");
    expect_only_the_result(expected);
    fs::remove_all(o.out);
  }
}

TEST_F(QuantizeResume, SaysHowManyLayersAnEarlierRunFinished) {
  const QuantizeOptions o = sharded();
  stop_before(o, 3);

  const QuantizeResult result = quantize(o);

  EXPECT_EQ(result.resumed_layers, 3);
  ASSERT_EQ(result.per_layer.size(), 6U);
  for (std::int64_t layer = 0; layer < 6; ++layer) {
    const LayerReport& report = result.per_layer[static_cast<std::size_t>(layer)];
    EXPECT_EQ(report.layer, layer);
    EXPECT_GT(report.bytes_in, 0);
    EXPECT_GT(report.latent_amax, report.latent_rms);
    EXPECT_GT(report.k_scale * 127.0, 0.5 * report.stored_amax);
    EXPECT_LT(report.k_scale * 127.0, 1.01 * report.stored_amax);
  }
}

TEST_F(QuantizeResume, ReportsBytesFromWhereItGoesOn) {
  QuantizeOptions o = sharded();
  stop_before(o, 3);
  std::int64_t first = -1, total = 0;
  o.progress = [&](const QuantizeProgress& p) {
    if (first < 0) first = p.bytes;
    total = p.total_bytes;
  };
  quantize(o);
  EXPECT_GT(first, total / 3);
  EXPECT_LT(first, total);
}

TEST_F(QuantizeResume, NamesTheInputsThatDiffer) {
  QuantizeOptions o = sharded();
  stop_before(o, 3);
  o.format = QuantizeOptions::Format::kAscendV1;
  o.calib = dir_.write("calib.json", R"(["Another text."])");

  const std::string message = error_of(ErrorCode::kInvalidArgument, [&] { quantize(o); });

  EXPECT_THAT(message, HasSubstr("format: mindie, now ascendv1"));
  EXPECT_THAT(message, HasSubstr("calibration: 2 prompts"));
  EXPECT_THAT(message, HasSubstr("--no-resume"));
}

// Float sums of one table are not those of another: a result of both would be neither's.
TEST_F(QuantizeResume, RefusesAResultOfOtherKernels) {
  const QuantizeOptions o = sharded();
  stop_before(o, 3);
  const fs::path state = dir_ / "out.partial/state/manifest.json";
  std::string text = read_state_text(state);
  const std::string ours = std::string("\"") + kernels().name + '"';
  ASSERT_NE(text.find(ours), std::string::npos);
  write_state_text(state, text.replace(text.find(ours), ours.size(), R"("another")"));

  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { quantize(o); }),
              AllOf(HasSubstr("kernels (LATENT8_ISA): another, now " + std::string(kernels().name)),
                    HasSubstr("run again with the same"), HasSubstr("--no-resume")));
}

TEST_F(QuantizeResume, NoticesOtherSmoothingPromptsAndNotAnotherPlaceOfThem) {
  QuantizeOptions o = sharded();
  o.anti_calib = dir_.write("anti.json", R"(["One text."])");
  stop_before(o, 3);
  dir_.write("anti.json", R"(["Another text."])");
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { quantize(o); }),
              HasSubstr("smoothing prompts: 1 prompts"));

  o.anti_calib = dir_.write("moved.json", R"(["One text."])");
  EXPECT_EQ(quantize(o).resumed_layers, 3);
}

TEST_F(QuantizeResume, KeepsTheUnfinishedResultOfOtherInputs) {
  const QuantizeOptions o = sharded();
  stop_before(o, 3);
  QuantizeOptions other = o;
  other.dynamic = true;
  error_of(ErrorCode::kInvalidArgument, [&] { quantize(other); });
  EXPECT_EQ(quantize(o).resumed_layers, 3);
}

TEST_F(QuantizeResume, StartsAfreshIfAsked) {
  QuantizeOptions o = sharded();
  const auto expected = undisturbed(o);
  stop_before(o, 3);
  o.resume = false;
  EXPECT_EQ(quantize(o).resumed_layers, 0);
  expect_only_the_result(expected);
}

TEST_F(QuantizeResume, MayGoOnWithOtherThreadsAndMemory) {
  QuantizeOptions o = sharded();
  const auto expected = undisturbed(o);
  stop_before(o, 2);
  o.threads = 2;
  o.max_memory = std::int64_t{8} << 30;
  EXPECT_EQ(quantize(o).resumed_layers, 2);
  expect_only_the_result(expected);
}

TEST_F(QuantizeResume, NoticesAnotherSource) {
  TempDir source;
  source.copy_from(kTinyR1);
  const QuantizeOptions o = sharded(source.path());
  stop_before(o, 2);
  fs::last_write_time(source / "model.safetensors", fs::file_time_type::clock::now() + std::chrono::hours(1));
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { quantize(o); }), HasSubstr("source: files"));
}

TEST_F(QuantizeResume, RefusesASourceThatChangesMeanwhile) {
  TempDir source;
  source.copy_from(kTinyR1);
  QuantizeOptions o = sharded(source.path());
  o.progress = [&](const QuantizeProgress& p) {
    if (p.layer == 2)
      fs::last_write_time(source / "model.safetensors",
                          fs::file_time_type::clock::now() + std::chrono::hours(1));
  };
  EXPECT_THAT(error_of(ErrorCode::kIo, [&] { quantize(o); }), HasSubstr("model.safetensors"));
}

// Every file of the state and every shard; a run of the bad bytes would be a result that nobody can tell from
// the right one.
TEST_F(QuantizeResume, NeverUsesABitThatFlippedWhileItWasInterrupted) {
  const QuantizeOptions o = sharded();
  const auto expected = undisturbed(o);
  stop_before(o, 3);
  const fs::path partial = dir_ / "out.partial";
  std::vector<fs::path> files;
  for (const auto& entry : fs::recursive_directory_iterator(partial))
    if (entry.is_regular_file() && entry.file_size() > 0) files.push_back(entry.path());
  ASSERT_GT(files.size(), 6U);
  Rng rng(7);
  int refused = 0;
  for (const fs::path& file : files)
    for (int i = 0; i < 2; ++i) {
      const auto byte =
          static_cast<std::uintmax_t>(rng.below(static_cast<std::int64_t>(fs::file_size(file))));
      const fs::path copy = dir_ / "copy";
      fs::copy(partial, copy, fs::copy_options::recursive);
      flip_bit(file, byte, i);
      try {
        quantize(o);
        EXPECT_TRUE(contents(o.out) == expected) << file << " " << byte;  // it was not written yet
      } catch (const Error& error) {
        EXPECT_EQ(error.code(), ErrorCode::kCorrupt) << file << " " << byte;
        EXPECT_THAT(error.what(), HasSubstr("--no-resume"));
        ++refused;
      }
      fs::remove_all(o.out);
      fs::remove_all(partial);
      fs::rename(copy, partial);
    }
  EXPECT_GT(refused, 6);
}

// A shard that changes after its unit is finished, in a run that nothing interrupts.
TEST_F(QuantizeResume, ReadsTheShardsBackAtTheEnd) {
  QuantizeOptions o = sharded();
  o.progress = [&, done = false](const QuantizeProgress& p) mutable {
    if (p.layer < 5 || done) return;
    for (const auto& entry : fs::directory_iterator(dir_ / "out.partial"))
      if (entry.path().filename().string().find("00001-of") != std::string::npos)
        flip_bit(entry.path(), entry.file_size() - 1, 0);
    done = true;
  };
  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { quantize(o); }), HasSubstr("00001-of"));
}

TEST_F(QuantizeResume, RefusesASourceWhoseTokenizerChangesMeanwhile) {
  TempDir source;
  source.copy_from(kTinyR1);
  QuantizeOptions o = sharded(source.path());
  o.progress = [&](const QuantizeProgress& p) {
    if (p.layer == 2)
      fs::last_write_time(source / "tokenizer_config.json",
                          fs::file_time_type::clock::now() + std::chrono::hours(1));
  };
  EXPECT_THAT(error_of(ErrorCode::kIo, [&] { quantize(o); }), HasSubstr("tokenizer_config.json"));
}

TEST_F(QuantizeResume, RefusesASecondRunAtOnce) {
  QuantizeOptions o = sharded();
  const QuantizeOptions second = o;
  std::string message;
  o.progress = [&](const QuantizeProgress& p) {
    if (p.layer == 1 && message.empty())
      message = error_of(ErrorCode::kUnavailable, [&] { quantize(second); });
  };
  quantize(o);
  EXPECT_THAT(message, HasSubstr("another run"));
  EXPECT_TRUE(fs::exists(o.out));
}

// The limit stands for a full disk: it lets the shards be but not the activations that are saved after
// layer 1.
TEST_F(QuantizeResume, FinishesAfterAFullDiskOnceThereIsRoom) {
  QuantizeOptions o = sharded();
  const auto expected = undisturbed(o);
  const ChildProcess full([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    QuantizeOptions limited = o;
    limited.progress = [](const QuantizeProgress& p) {
      const rlimit limit{1 << 10, RLIM_INFINITY};
      if (p.layer == 2) setrlimit(RLIMIT_FSIZE, &limit);
    };
    const std::string message = error_of(ErrorCode::kIo, [&] { quantize(limited); });
    if (message.find("out.partial") == std::string::npos) throw std::runtime_error(message);
    if (message.find("make room") == std::string::npos) throw std::runtime_error(message);
  });
  EXPECT_TRUE(full.finished());

  EXPECT_EQ(quantize(o).resumed_layers, 2);

  expect_only_the_result(expected);
}

TEST_F(QuantizeResume, LeavesNothingWhereTheDiskIsFullFromTheStart) {
  const QuantizeOptions o = sharded();
  const ChildProcess full([&] {
    std::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1 << 20, RLIM_INFINITY};
    setrlimit(RLIMIT_FSIZE, &limit);
    const std::string message = error_of(ErrorCode::kIo, [&] { quantize(o); });
    if (message.find("safetensors") == std::string::npos) throw std::runtime_error(message);
  });
  EXPECT_TRUE(full.finished());
  EXPECT_FALSE(fs::exists(o.out.string() + ".partial"));
}

TEST_F(QuantizeResume, NamesATargetThatCannotBeWritten) {
  QuantizeOptions o = sharded();
  dir_.write("file", "");
  o.out = dir_ / "file/out";
  EXPECT_THAT(error_of(ErrorCode::kIo, [&] { quantize(o); }), HasSubstr("file/out.partial"));
}

TEST_F(QuantizeResume, KeepsTheFormerResultUntilTheNextIsComplete) {
  QuantizeOptions o = sharded();
  quantize(o);
  const auto former = contents(o.out);
  o.overwrite = true;
  o.dynamic = true;
  stop_before(o, 3);
  EXPECT_EQ(contents(o.out), former);
  quantize(o);
  EXPECT_NE(contents(o.out), former);
}

}  // namespace
}  // namespace latent8
