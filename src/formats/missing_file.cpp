#include "formats/missing_file.h"

#include <algorithm>
#include <array>

#include "base/error.h"
#include "formats/files.h"
#include "formats/foreign_file.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;

// A file that says what somebody took for a checkpoint.
struct Other {
  std::string_view name, what;
};
constexpr std::array kOtherConfigs{
    Other{"adapter_config.json", "a LoRA adapter; merge it into its base model and take what that gives"},
    Other{"params.json", "Mistral's or Llama's own layout; take the publishers' Hugging Face layout"},
    Other{"model_index.json", "a pipeline of models; take the folder of its language model"},
    Other{"mlc-chat-config.json", "a model compiled by MLC; take the checkpoint that it was made of"}};

constexpr std::array<std::string_view, 11> kOtherWeights{
    ".gguf", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".npz", ".h5", ".msgpack", ".onnx", ".distcp"};

}  // namespace

std::string missing_config_text(const fs::path& dir) {
  const std::vector<std::string> names = list_folder(dir);
  for (const Other& other : kOtherConfigs)
    if (std::binary_search(names.begin(), names.end(), other.name))
      return fmt::format("'{}': config.json expected, got {}: {}", dir.string(), other.name, other.what);
  for (const std::string& name : names)
    if (!is_hidden_name(name) && fs::is_regular_file(dir / name / "config.json"))
      return fmt::format("'{}': config.json expected, got it in '{}'; name that folder", dir.string(), name);
  return fmt::format("'{}': config.json expected, got no such file; is it a checkpoint?", dir.string());
}

std::string missing_weights_text(const fs::path& dir) {
  const std::vector<std::string> names = list_folder(dir);
  for (const std::string& name : names)
    if (is_unfinished_download(name))
      return fmt::format(
          "'{}': *.safetensors expected, got '{}', a download that has not ended; fetch it again",
          dir.string(), name);
  for (const std::string& name : names)
    for (const std::string_view ending : kOtherWeights)
      if (name.ends_with(ending) && !is_hidden_name(name))
        return fmt::format(
            "'{}': *.safetensors expected, got '{}'; this program reads safetensors: fetch or convert the "
            "weights in that form",
            dir.string(), name);
  return fmt::format("'{}': *.safetensors expected, got no such file", dir.string());
}

}  // namespace latent8
