#pragma once
// The basis in which a layer's latent is stored. Any invertible A may stand between the latent and those that
// read it, c' = A^-1 c, if W_UK and W_UV take it back; two kinds of A go into weights that are there anyway:
// a diagonal into kv_a_layernorm's gamma, and an orthogonal rotation into kv_a_proj_with_mqa, because RMSNorm
// keeps rotations. Both cost nothing when the model runs, and every reader of the checkpoint gets them.
// Source: docs/numerics.md, "Folds of the latent".

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/views.h"
#include "sys/thread_pool.h"

namespace latent8 {

struct LatentFold {
  bool rotate = false;       // by LatentRotation, before the scale
  std::vector<float> scale;  // [rank] by which stored channels are divided; empty: by 1

  std::string name() const;  // "none", "fold", "rotation", "both"
};

// What a fold changes, in float32.
struct LatentWeights {
  Mat<float> kv_a;         // [>= rank, hidden] of kv_a_proj_with_mqa, whose first rank rows make the latent
  std::span<float> gamma;  // [rank] of kv_a_layernorm
  Mat<float> kv_b;         // [heads * (nope + v), rank]
};

// The same function in another basis: exact but for the rounding of float32.
void apply_fold(ThreadPool& pool, const LatentFold& fold, const LatentWeights& weights);

// The powers of two nearest to `scale`: dividing by them changes no bit of a mantissa.
std::vector<float> to_powers_of_two(std::vector<float> scale);

}  // namespace latent8
