// The JSON files of a checkpoint. The first byte chooses the reader: 'c' config.json, 'g'
// generation_config.json, 'd' the quantisation description, 'i' the index of the shards. Allowed: a checked
// result, or an Error.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "base/check.h"
#include "formats/model_config.h"
#include "formats/quant_description.h"
#include "formats/safetensors_index.h"
#include "latent8/error.h"

namespace latent8 {
namespace {

void read_config(std::string_view text) {
  const ModelConfig c = parse_model_config(text, "config.json");
  LATENT8_CHECK(c.vocab_size > 0 && c.hidden_size > 0 && c.qk_head_dim() > 0 && c.n_group > 0 &&
                c.topk_group > 0);
  LATENT8_CHECK(c.n_routed_experts % c.n_group == 0 && c.topk_group <= c.n_group);
  LATENT8_CHECK(c.n_routed_experts == 0 ||
                c.num_experts_per_tok <= c.n_routed_experts / c.n_group * c.topk_group);
  for (std::int64_t l = 0; l < c.num_hidden_layers; ++l) static_cast<void>(c.is_moe_layer(l));
}

// What was read, written and read again is the same.
void read_description(std::string_view text) {
  const QuantDescription first = parse_quant_description(text, "description");
  const QuantDescription second = parse_quant_description(first.to_json(), "description");
  LATENT8_CHECK(first.entries() == second.entries() && first.fa_quant_type == second.fa_quant_type);
}

void read_index(std::string_view text) {
  const SafetensorsIndex first = parse_safetensors_index(text, "index");
  const SafetensorsIndex second =
      parse_safetensors_index(safetensors_index_json(0, first.weight_map), "index");
  LATENT8_CHECK(first.weight_map == second.weight_map);
}

void read_any(char kind, std::string_view text) {
  if (kind == 'c') read_config(text);
  if (kind == 'd') read_description(text);
  if (kind == 'i') read_index(text);
  if (kind != 'g') return;
  ModelConfig config;
  config.vocab_size = 1000;
  add_generation_config(config, text, "generation_config.json");
}

}  // namespace
}  // namespace latent8

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  try {
    latent8::read_any(static_cast<char>(data[0]), {reinterpret_cast<const char*>(data + 1), size - 1});
  } catch (const latent8::Error&) {
    return 0;
  }
  return 0;
}
