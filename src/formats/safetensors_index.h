#pragma once
// *.safetensors.index.json: which shard holds which tensor.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace latent8 {

struct SafetensorsIndex {
  std::optional<double> total_size;  // bytes of all tensors; informative, some tools write it as a float
  std::vector<std::pair<std::string, std::string>>
      weight_map;  // tensor name, file name; in rising name order
};

// Throws: Error{kCorrupt | kUnsupported}, also for a shard that is not a plain file name.
SafetensorsIndex parse_safetensors_index(std::string_view json_text, const std::string& where);

// The file's text as Python's json.dump writes it, weight_map in the order given, no final newline.
// Source: docs/format.md, "Shards and index" (the reference indents by 2, and by 4 after adding an MTP
// layer).
std::string safetensors_index_json(std::int64_t total_size,
                                   const std::vector<std::pair<std::string, std::string>>& weight_map,
                                   int indent = 2);

}  // namespace latent8
