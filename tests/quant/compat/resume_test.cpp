// The msmodelslim mode after an interruption, and under a cap of memory.

#include <gmock/gmock.h>

#include <csignal>
#include <fstream>

#include "quant/child_process.h"
#include "quant/compat/support.h"
#include "quant/peak_memory.h"
#include "quant/random_model.h"
#include "support/errors.h"

namespace latent8::compat {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class CompatResume : public CompatTest {
 protected:
  // Several shards, and prompts that are run.
  QuantizeOptions sharded(const GoldenRun& run = kRunF) {
    QuantizeOptions o = options(run);
    o.shard_bytes = 2 << 20;
    o.calib = dir_.write("calib.json", kPrompts);
    o.anti_calib = dir_.write("anti.json", R"(["One text for smoothing."])");
    o.batch_size = 2;
    return o;
  }
  // A run that dies at its n-th report of progress, from 0; returns whether it lived to its end.
  static bool run_until(QuantizeOptions o, int n) {
    o.progress = [n, reports = 0](const QuantizeProgress&) mutable {
      if (reports++ == n) raise(SIGKILL);
    };
    return ChildProcess([&] { quantize(o); }).finished();
  }
  static std::map<std::string, std::string> contents(const fs::path& dir) {
    std::map<std::string, std::string> out;
    for (const std::string& name : files_of(dir)) out[name] = read_file(dir / name);
    return out;
  }
};

TEST_F(CompatResume, GoesOnAfterAKillAtAnyReport) {
  for (const GoldenRun& run : {kRunF, kRunE}) {
    const QuantizeOptions o = sharded(run);
    quantize(o);
    const auto expected = contents(o.out);
    fs::remove_all(o.out);
    int points = 0;
    for (int point = 0; !run_until(o, point); point += 3) {
      ++points;
      if (!run_until(o, 2)) quantize(o);  // kill the resumed run too
      EXPECT_TRUE(contents(o.out) == expected) << point;
      EXPECT_FALSE(fs::exists(o.out.string() + ".partial"));
      fs::remove_all(o.out);
    }
    EXPECT_GT(points, 3);
    fs::remove_all(o.out);
  }
}

TEST_F(CompatResume, SaysHowManyLayersAnEarlierRunFinished) {
  const QuantizeOptions o = sharded();
  ASSERT_FALSE(run_until(o, 6));  // two reports per layer
  const QuantizeResult result = quantize(o);
  EXPECT_EQ(result.resumed_layers, 3);
  EXPECT_EQ(result.layers, 5);
  EXPECT_EQ(result.prompts, 2);
}

TEST_F(CompatResume, NamesTheInputsThatDiffer) {
  QuantizeOptions o = sharded();
  ASSERT_FALSE(run_until(o, 6));
  o.batch_size = 1;
  dir_.write("anti.json", R"(["Another text."])");
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { quantize(o); }),
              AllOf(HasSubstr("prompts per call: 2, now 1"), HasSubstr("smoothing prompts: 1 prompts")));
  o.resume = false;
  EXPECT_EQ(quantize(o).resumed_layers, 0);
}

TEST_F(CompatResume, RefusesABitThatFlippedWhileItWasInterrupted) {
  const QuantizeOptions o = sharded();
  ASSERT_FALSE(run_until(o, 6));
  const fs::path partial = o.out.string() + ".partial";
  int activations = 0, shards = 0;
  for (const auto& entry : fs::recursive_directory_iterator(partial)) {
    const std::string name = entry.path().filename().string();
    const bool shard = name.find("-00001-of-") != std::string::npos;
    if (!shard && !name.starts_with("activations-")) continue;
    ++(shard ? shards : activations);
    const std::uintmax_t byte = shard ? entry.file_size() - 1 : entry.file_size() / 2;
    flip_bit(entry.path(), byte, 3);
    EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { quantize(o); }), HasSubstr("--no-resume")) << name;
    flip_bit(entry.path(), byte, 3);
  }
  EXPECT_EQ(activations, 1);
  EXPECT_EQ(shards, 1);
  quantize(o);
}

class CompatMemory : public CompatTest {
 protected:
  QuantizeOptions large(const fs::path& model) {
    QuantizeOptions o = options(kRunB);
    o.model = model;
    o.calib = o.anti_calib = dir_.write("calib.json", many_prompts());
    o.max_memory = 128 << 20;
    o.threads = 2;
    return o;
  }
};

TEST_F(CompatMemory, StaysBelowTheCapOnALargerModel) {
  if (kSanitized) GTEST_SKIP() << "sanitizers need memory of their own";
  TempDir source;
  const RandomModel model(source, {.layers = 5, .hidden = 512, .intermediate = 512, .experts = 64});
  QuantizeOptions o = large(source.path());
  o.anti = QuantizeOptions::Anti::kM6;  // which holds more than m4
  o.max_memory = 1;
  const std::string message = error_of(ErrorCode::kInvalidArgument, [&] { quantize(o); });
  o.max_memory = std::stoll(message.substr(message.find("at least ") + 9)) << 20;
  ASSERT_GT(model.bytes(), 2 * o.max_memory);
  EXPECT_LE(peak_of(o, dir_), o.max_memory) << message;
}

TEST_F(CompatMemory, SaysHowMuchIsNeeded) {
  QuantizeOptions o = large(kTinyR1);
  o.max_memory = 1 << 20;
  EXPECT_THAT(error_of(ErrorCode::kInvalidArgument, [&] { quantize(o); }),
              AllOf(HasSubstr("MiB expected by the msmodelslim mode"), HasSubstr("got 1 MiB")));
  EXPECT_FALSE(fs::exists(dir_ / "out.partial"));
}

}  // namespace
}  // namespace latent8::compat
