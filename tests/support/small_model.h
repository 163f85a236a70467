#pragma once
// The small random models of tests/data/golden: configs that models/tiny-r1 lacks. The repository holds what
// they consist of (tensors.txt); their weights are drawn here, as tools/reference/make_small_models.py does.

#include <filesystem>
#include <string>
#include <vector>

namespace latent8 {

// The folder of a model, whole, by its name in tests/data/golden ("kimi-k2-small"). Written at
// the first call; lives as long as the program.
std::filesystem::path small_model(const std::string& name);

// The names of all of them.
std::vector<std::string> all_small_models();

}  // namespace latent8
