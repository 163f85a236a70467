#pragma once
// The one rule for the cache of layers that have no int8 one.

#include "formats/checkpoint.h"
#include "kernels/latent_layout.h"
#include "latent8/numerics.h"
#include "model/deepseek_model.h"

namespace latent8 {

// What `wanted` comes to. A description alone quantises nothing: kAuto asks for an entry that is not FLOAT.
CacheType float_cache_type(CacheDType wanted, const Checkpoint& checkpoint);
// The same for a loaded model. One that was made in memory counts as quantised if any layer's cache is int8.
CacheType float_cache_type(CacheDType wanted, const DeepseekModel& model);

}  // namespace latent8
