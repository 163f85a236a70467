#pragma once
// A folder to quantise into, and options that make it fast.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "formats/checkpoint.h"
#include "latent8/quantize.h"
#include "support/temp_dir.h"

namespace latent8 {

inline const std::filesystem::path kTinyR1 = std::filesystem::path(LATENT8_SOURCE_DIR) / "models/tiny-r1";
inline const std::filesystem::path kGolden =
    std::filesystem::path(LATENT8_SOURCE_DIR) / "tests/data/golden/msmodelslim";

// Two short prompts: what is tested here does not depend on how many there are.
constexpr const char* kPrompts =
    R"(["What is deep learning? Deep learning trains networks of many layers on data.",)"
    R"( "def mean(values):\n    return sum(values) / len(values)\n"])";

class QuantizeTest : public testing::Test {
 protected:
  QuantizeOptions options(const std::filesystem::path& model = kTinyR1) {
    QuantizeOptions o;
    o.model = model;
    o.out = dir_ / "out";
    o.fa_quant = true;
    o.fallback = QuantizeOptions::Fallback::kNone;  // the tensors of the reference, whatever is measured
    o.calib = dir_.write("calib.json", kPrompts);
    o.threads = 1;
    return o;
  }
  Checkpoint quantized(const QuantizeOptions& o) {
    result_ = quantize(o);
    return Checkpoint::open(o.out);
  }
  nlohmann::json json(const char* name) { return nlohmann::json::parse(read_file(dir_ / "out" / name)); }

  TempDir dir_;
  QuantizeResult result_;
};

}  // namespace latent8
