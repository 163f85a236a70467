#include "formats/checkpoint.h"

#include <gtest/gtest.h>

namespace latent8 {
namespace {

TEST(Checkpoint, OpensTheEmbeddedModel) {
  const Checkpoint checkpoint = Checkpoint::open(LATENT8_SOURCE_DIR "/models/tiny-r1");

  EXPECT_EQ(checkpoint.quant(), nullptr);
  EXPECT_EQ(checkpoint.get("model.embed_tokens.weight").shape_text(), "[4096, 256]");
}

}  // namespace
}  // namespace latent8
