#include "quant/output/shard_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "formats/checkpoint.h"
#include "formats/safetensors_index.h"
#include "quant/output/checkpoint_layout.h"
#include "quant/quantize_fixture.h"
#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

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

ShardLayout tiny_layout() {
  QuantizeOptions options;
  options.shard_bytes = kLimit;
  return shard_layout(tiny_plan(), options);
}

// Units [begin, end) of the plan, each byte of them `value`.
void write_units(ShardWriter& writer, const CheckpointPlan& plan, std::size_t begin, std::size_t end,
                 std::byte value) {
  for (std::size_t i = begin; i < end; ++i) {
    write_bytes(writer, plan.units[i], value);
    writer.finish_unit(static_cast<std::int64_t>(i));
  }
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
  ShardWriter writer(dir.path(), dir.path(), tiny_layout());
  write_units(writer, plan, 0, plan.units.size(), std::byte{0});

  writer.finish(tensors_of(plan));

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
  const std::size_t units = plan.units.size();
  TempDir once, twice;
  {
    ShardWriter writer(once.path(), once.path(), tiny_layout());
    write_units(writer, plan, 0, units, std::byte{7});
    writer.finish(tensors_of(plan));
    ShardWriter interrupted(twice.path(), twice.path(), tiny_layout());
    write_units(interrupted, plan, 0, 1, std::byte{7});
    write_bytes(interrupted, plan.units[1], std::byte{9});
  }

  ShardWriter writer(twice.path(), twice.path(), tiny_layout(), /*units=*/1);
  write_units(writer, plan, 1, units, std::byte{7});
  writer.finish(tensors_of(plan));

  for (const auto& entry : fs::directory_iterator(once.path()))
    EXPECT_TRUE(read_file(entry.path()) == read_file(twice / entry.path().filename().string()))
        << entry.path();
}

TEST(ShardWriter, NamesAShardThatAnEarlierRunShouldHaveLeft) {
  TempDir dir;
  {
    ShardWriter writer(dir.path(), dir.path(), tiny_layout());
    write_units(writer, tiny_plan(), 0, 1, std::byte{7});
  }
  fs::remove(dir / "quant_model_weight_w8a8_dynamic-00002-of-00005.safetensors");

  const std::string message = error_of(
      ErrorCode::kCorrupt, [&] { ShardWriter writer(dir.path(), dir.path(), tiny_layout(), /*units=*/1); });

  EXPECT_THAT(message, HasSubstr("00002-of-00005"));
  EXPECT_THAT(message, HasSubstr("--no-resume"));
}

TEST(ShardWriter, NamesATensorThatIsNotWhatAnEarlierRunWrote) {
  TempDir dir;
  {
    ShardWriter writer(dir.path(), dir.path(), tiny_layout());
    write_units(writer, tiny_plan(), 0, 1, std::byte{7});
  }
  const fs::path shard = dir / "quant_model_weight_w8a8_dynamic-00001-of-00005.safetensors";
  const SafetensorsFile file(shard);
  const auto header = file.tensors().at("model.embed_tokens.weight").bytes.data() - file.bytes().data();
  flip_bit(shard, static_cast<std::uintmax_t>(header) + 5, 3);

  const std::string message = error_of(
      ErrorCode::kCorrupt, [&] { ShardWriter writer(dir.path(), dir.path(), tiny_layout(), /*units=*/1); });

  EXPECT_THAT(message, AllOf(HasSubstr("embed_tokens"), HasSubstr("00001-of-00005")));
}

TEST(ShardWriter, ReadsBackPiecesThatCameInAnyOrder) {
  ShardLayout layout;
  layout.tensors = {{"a", DType::kU8, {1000}}, {"b", DType::kF32, {3}}};
  layout.weight_kind = "float";
  TempDir dir;
  ShardWriter writer(dir.path(), dir.path(), layout);
  ShardWriter::Place& a = writer.place("a");
  const std::vector<std::byte> bytes(300, std::byte{5});
  for (const std::int64_t at : {900, 300, 0, 600})
    writer.write_at(a, at, std::span(bytes).first(at == 900 ? 100 : 300));
  writer.append_floats("b", std::vector<float>{1.0F, 2.0F});
  writer.append_floats("b", std::vector<float>{3.0F});
  writer.finish_unit(0);

  std::int64_t read = 0;
  const std::string name = writer.shard_names().at(0);
  writer.read_back(name,
                   [&](std::span<const std::byte> part) { read += static_cast<std::int64_t>(part.size()); });

  EXPECT_EQ(read, static_cast<std::int64_t>(fs::file_size(dir / name)));
  flip_bit(dir / name, fs::file_size(dir / name) - 1, 0);
  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { writer.read_back(name, [](auto) {}); }), HasSubstr("'"));
}

TEST(ShardWriter, ReservesTheWholeShardAtOnce) {
  TempDir dir;
  ShardWriter writer(dir.path(), dir.path(), tiny_layout());
  std::int64_t bytes = 0;
  for (const auto& entry : fs::directory_iterator(dir.path()))
    bytes += static_cast<std::int64_t>(entry.file_size());
  EXPECT_GT(bytes, writer.planned());  // tensors and headers
}

}  // namespace
}  // namespace latent8
