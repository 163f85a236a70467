#pragma once
// Rewrites a checkpoint of the reference into the form that MindIE's page fa3_quantization.md shows: one
// file quant_model_weight_w8a8.safetensors without an index, quant_model_description.json with "FAKQuant",
// scales and offsets of the int8 cache as float16 [heads, head_dim].

#include <filesystem>
#include <string>
#include <vector>

#include "formats/atomic_file.h"
#include "formats/checkpoint.h"
#include "formats/safetensors_writer.h"

namespace latent8 {

// `target` is an existing, empty folder. Scales that float16 cannot hold exactly are rounded.
inline void rewrite_in_seed_form(const std::filesystem::path& source, const std::filesystem::path& target) {
  const Checkpoint checkpoint = Checkpoint::open(source);
  const std::int64_t head_dim = checkpoint.config().kv_lora_rank;
  const auto is_fa = [](const std::string& name) { return name.find(".self_attn.fa_") != std::string::npos; };
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, view] : checkpoint.tensors())
    if (is_fa(name))
      tensors.push_back({name, DType::kF16, {view.elements(), head_dim}});
    else
      tensors.push_back({name, view.dtype, view.shape});
  order_as_reference(tensors);

  SafetensorsWriter writer(target / "quant_model_weight_w8a8.safetensors", tensors,
                           {.header_alignment = 8, .metadata = {}});
  for (const auto& [name, view] : checkpoint.tensors()) {
    if (!is_fa(name)) {
      writer.append(name, view.bytes);
      continue;
    }
    std::vector<float> values(static_cast<std::size_t>(view.elements()));
    widen(view.bytes.data(), view.dtype, view.elements(), values.data());
    for (const float value : values) {
      const std::vector<Fp16> row(static_cast<std::size_t>(head_dim), to_fp16(value));
      writer.append(name, std::as_bytes(std::span(row)));
    }
  }
  writer.finish();

  QuantDescription description = *checkpoint.quant();
  description.version.clear();
  description.fa_quant_type = "FAKQuant";
  write_file_atomically(target / "quant_model_description.json", description.to_json());
  for (const char* name :
       {"config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json"})
    if (std::filesystem::exists(source / name)) std::filesystem::copy_file(source / name, target / name);
}

}  // namespace latent8
