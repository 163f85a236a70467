#pragma once
// Figures of an engine as JSON.

#include <nlohmann/json_fwd.hpp>

#include "latent8/engine.h"

namespace latent8 {

// Tokens that one sequence got in one step, on average.
double tokens_per_step(const EngineStats& stats);

// What became of drafts so far: {"max_tokens", "drafted", "accepted", "drafted_per_position",
// "accepted_per_position", "tokens_per_step"}; max_tokens is 0 where none are made.
nlohmann::ordered_json speculation_json(const Engine& engine);

}  // namespace latent8
