#include "quant/output/shard_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "formats/checkpoint.h"
#include "formats/safetensors_index.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

const fs::path kTinyR1 = fs::path(LATENT8_SOURCE_DIR) / "models/tiny-r1";
constexpr std::int64_t kLimit = 3 << 20;

CheckpointPlan tiny_plan() {
  QuantizeOptions options;
  options.mtp = QuantizeOptions::Mtp::kFloat;
  options.fallback = QuantizeOptions::Fallback::kNone;
  return plan_checkpoint(Checkpoint::open(kTinyR1), options);
}

void write_bytes(ShardWriter& writer, const PlannedUnit& unit, std::byte value) {
  for (const PlannedModule& module : unit.modules)
    for (const PlannedTensor& planned : module.tensors)
      writer.append(planned.tensor.name,
                    std::vector<std::byte>(static_cast<std::size_t>(planned.tensor.bytes()), value));
}

std::set<std::string> indexed_files(const TempDir& dir) {
  std::set<std::string> files;
  for (const auto& [name, file] :
       parse_safetensors_index(read_file(dir / "quant_model_weight_w8a8_dynamic.safetensors.index.json"),
                               "index")
           .weight_map)
    files.insert(file);
  return files;
}

TEST(ShardWriter, StartsAShardBeforeItReachesTheLimit) {
  const CheckpointPlan plan = tiny_plan();
  TempDir dir;
  ShardWriter writer(dir.path(), dir.path(), plan, {"w8a8_dynamic", kLimit});
  for (const PlannedUnit& unit : plan.units) write_bytes(writer, unit, std::byte{0});

  writer.finish(plan);

  std::int64_t total = 0;
  std::size_t tensors = 0;
  const std::set<std::string> files = indexed_files(dir);
  for (const std::string& file : files) {
    const SafetensorsFile shard(dir / file);
    std::int64_t bytes = 0;
    for (const auto& [name, view] : shard.tensors()) bytes += static_cast<std::int64_t>(view.bytes.size());
    if (!file.starts_with("mtp_float")) EXPECT_LT(bytes, kLimit) << file;
    total += bytes;
    tensors += shard.tensors().size();
  }
  EXPECT_EQ(total, writer.total());
  EXPECT_EQ(tensors, static_cast<std::size_t>(writer.tensors()));
  EXPECT_TRUE(files.contains("quant_model_weight_w8a8_dynamic-00001-of-00005.safetensors"));
  EXPECT_TRUE(files.contains("mtp_float-1.safetensors"));
}

TEST(ShardWriter, WritesAUnitAgainWhereItLay) {
  const CheckpointPlan plan = tiny_plan();
  TempDir once, twice;
  {
    ShardWriter writer(once.path(), once.path(), plan, {"w8a8_dynamic", kLimit});
    for (const PlannedUnit& unit : plan.units) write_bytes(writer, unit, std::byte{7});
    writer.finish(plan);
    ShardWriter interrupted(twice.path(), twice.path(), plan, {"w8a8_dynamic", kLimit});
    write_bytes(interrupted, plan.units[0], std::byte{7});
    write_bytes(interrupted, plan.units[1], std::byte{9});
  }

  ShardWriter writer(twice.path(), twice.path(), plan, {"w8a8_dynamic", kLimit, /*resume=*/true});
  for (std::size_t i = 1; i < plan.units.size(); ++i) write_bytes(writer, plan.units[i], std::byte{7});
  writer.finish(plan);

  for (const auto& entry : fs::directory_iterator(once.path()))
    EXPECT_TRUE(read_file(entry.path()) == read_file(twice / entry.path().filename().string()))
        << entry.path();
}

TEST(ShardWriter, NamesAShardThatAnEarlierRunShouldHaveLeft) {
  const CheckpointPlan plan = tiny_plan();
  TempDir dir;
  {
    ShardWriter writer(dir.path(), dir.path(), plan, {"w8a8_dynamic", kLimit});
  }
  fs::remove(dir / "quant_model_weight_w8a8_dynamic-00002-of-00005.safetensors");

  const std::string message = error_of(ErrorCode::kCorrupt, [&] {
    ShardWriter writer(dir.path(), dir.path(), plan, {"w8a8_dynamic", kLimit, /*resume=*/true});
  });

  EXPECT_THAT(message, HasSubstr("00002-of-00005"));
  EXPECT_THAT(message, HasSubstr("--no-resume"));
}

TEST(ShardWriter, ReservesTheWholeShardAtOnce) {
  const CheckpointPlan plan = tiny_plan();
  TempDir dir;
  ShardWriter writer(dir.path(), dir.path(), plan, {"w8a8_dynamic", kLimit});
  std::int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(dir.path()))
    bytes += static_cast<std::int64_t>(entry.file_size());
  EXPECT_GT(bytes, writer.total());  // tensors and headers
}

}  // namespace
}  // namespace latent8
