#pragma once
// Models and requests that the engine's tests share.

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "base/rng.h"
#include "formats/checkpoint.h"
#include "latent8/engine.h"
#include "model/deepseek_model.h"
#include "support/collecting_sink.h"

namespace latent8 {

// A checkpoint of the repository, without its MTP layer.
inline std::shared_ptr<const DeepseekModel> open_model(const std::string& path) {
  const std::filesystem::path dir = std::filesystem::path(LATENT8_SOURCE_DIR) / path;
  auto checkpoint = std::make_shared<const Checkpoint>(Checkpoint::open(dir));
  return std::make_shared<const DeepseekModel>(load_weights(std::move(checkpoint), {.load_mtp = false}));
}
inline std::shared_ptr<const DeepseekModel> float_model() {
  static const auto model = open_model("models/tiny-r1");
  return model;
}

inline std::shared_ptr<const DeepseekModel> int8_model() {
  static const auto model = open_model("tests/data/golden/msmodelslim/a_mindie_m4_static");
  return model;
}

inline std::vector<std::int32_t> random_prompt(std::int64_t tokens, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<std::int32_t> ids{0};
  while (static_cast<std::int64_t>(ids.size()) < tokens)
    ids.push_back(static_cast<std::int32_t>(2 + rng.below(4000)));
  return ids;
}

inline Request request_of(std::vector<std::int32_t> ids, SamplingParams sampling) {
  Request request;
  request.token_ids = std::move(ids);
  request.sampling = std::move(sampling);
  return request;
}

inline constexpr std::int64_t kBlockBytes16 = 16 * 5 * 576 * 4;  // a block of 16 tokens of tiny-r1, fp32

}  // namespace latent8
