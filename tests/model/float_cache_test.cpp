#include "model/float_cache.h"

#include <gtest/gtest.h>

#include "support/model_runner.h"

namespace latent8 {
namespace {

// A checkpoint of one tensor of this type, or without a description.
Checkpoint checkpoint_with(std::optional<QuantType> type) {
  std::optional<QuantDescription> quant;
  if (type) {
    quant.emplace();
    quant->add("model.norm.weight", QuantType::kFloat);
    quant->add("lm_head.weight", *type);
  }
  return Checkpoint::of_tensors({}, {}, quant);
}

TEST(FloatCache, AutoIsFp32WhereNothingIsQuantised) {
  EXPECT_EQ(float_cache_type(CacheDType::kAuto, checkpoint_with(std::nullopt)), CacheType::kF32);
}

TEST(FloatCache, AutoIsFp32WhereADescriptionCallsEverythingFloat) {
  EXPECT_EQ(float_cache_type(CacheDType::kAuto, checkpoint_with(QuantType::kFloat)), CacheType::kF32);
}

TEST(FloatCache, AutoIsFp16WhereATensorIsQuantised) {
  for (const QuantType type : {QuantType::kW8A8, QuantType::kW8A8Dynamic, QuantType::kFAQuant})
    EXPECT_EQ(float_cache_type(CacheDType::kAuto, checkpoint_with(type)), CacheType::kF16);
}

TEST(FloatCache, IsWhatWasAskedForWhateverTheCheckpointIs) {
  for (const auto type : {QuantType::kFloat, QuantType::kW8A8}) {
    EXPECT_EQ(float_cache_type(CacheDType::kFp16, checkpoint_with(type)), CacheType::kF16);
    EXPECT_EQ(float_cache_type(CacheDType::kFp32, checkpoint_with(type)), CacheType::kF32);
  }
}

TEST(FloatCache, OfALoadedModelIsThatOfItsCheckpoint) {
  for (const char* path : {"models/tiny-r1", "tests/data/golden/msmodelslim/a_mindie_m4_static"}) {
    const auto model = load_model(source_path(path));

    EXPECT_EQ(float_cache_type(CacheDType::kAuto, *model),
              float_cache_type(CacheDType::kAuto, *model->weights().checkpoint));
  }
}

}  // namespace
}  // namespace latent8
