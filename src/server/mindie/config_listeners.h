#pragma once
// The three addresses of a service config, and their certificates.

#include <filesystem>
#include <string>
#include <vector>

#include "server/mindie/config_tree.h"
#include "server/mindie/service_config.h"

namespace latent8 {

// Fills listeners and planes of `out`: equal addresses are one listener. Returns what is wrong.
//   base  where relative paths start
std::vector<std::string> add_listeners(ConfigTree& tree, const std::filesystem::path& base,
                                       ServiceConfig& out);

}  // namespace latent8
