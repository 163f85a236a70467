// The reference's service config. The first byte chooses: 'a' with --adapt, others without. Allowed: a config
// whose values a server can have, or an Error.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "json_mutator.h"
#include "latent8/error.h"
#include "server/mindie/relaxed_json.h"
#include "server/mindie/service_config.h"

namespace latent8 {
namespace {

void read_config(std::string_view text, bool adapt) {
  LATENT8_CHECK(plain_json(text).size() == text.size());
  ServiceConfig config = parse_service_config(text, "/nowhere/conf/config.json", adapt);
  LATENT8_CHECK(!config.listeners.empty() && config.listeners.size() == config.planes.size());
  LATENT8_CHECK(adapt || config.changes.empty());
  LATENT8_CHECK(!config.model_name.empty() && config.block_size % 16 == 0 && config.max_n >= 1);
  LATENT8_CHECK(config.max_input_tokens < config.max_seq_len && config.cache_bytes >= 0);
  const ContextLimit limit{.tokens = 4096, .reason = "max_position_embeddings of the model"};
  fit_to_model(config, limit, adapt);
  fit_drafts_to_model(config, /*has_mtp=*/false, adapt);
  LATENT8_CHECK(config.max_seq_len <= limit.tokens && config.max_input_tokens < limit.tokens);
  LATENT8_CHECK(config.speculative != Speculative::kMtp);
}

}  // namespace
}  // namespace latent8

extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size, std::size_t max_size,
                                               unsigned seed) {
  return latent8::mutate_json(data, size, max_size, seed);
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    latent8::read_config({reinterpret_cast<const char*>(data + 1), size - 1}, data[0] == 'a');
  } catch (const latent8::Error&) {
    return 0;
  }
  return 0;
}
