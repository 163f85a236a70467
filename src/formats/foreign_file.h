#pragma once
// Files that are something else than their name says, as interrupted or half-configured downloads leave them.

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace latent8 {

// What the bytes of a file are, and the way out: "a Git LFS pointer instead of the file; fetch it with ...".
// None for what is not recognised, JSON and safetensors among it.
std::optional<std::string> foreign_kind(std::span<const std::byte> bytes);

// Throws: Error{kCorrupt} "WHERE: the file is ..." if foreign_kind() recognises the bytes.
void refuse_foreign(std::string_view bytes, const std::string& where);
void refuse_foreign(std::span<const std::byte> bytes, const std::string& where);

// Files that a system or a download tool puts beside others and nobody asked for: "._x" (AppleDouble),
// ".DS_Store".
bool is_hidden_name(std::string_view name);

// Weights of an adapter (LoRA), or a model's own in Mistral's layout: *.safetensors that may lie beside those
// of a checkpoint.
bool is_other_weights(std::string_view name);

// What browsers and download tools call a file that they have not finished.
bool is_unfinished_download(std::string_view name);

// A way to quantise that this program does not read.
struct ForeignMethod {
  std::string_view name, tools;
};
// What a tensor of this name was quantised by. None for names of float weights and of this program's and the
// reference's forms.
std::optional<ForeignMethod> foreign_method(std::string_view tensor);

// The tool that writes checkpoints with this quantization_config.quant_method: "llm-compressor". "" if
// unknown.
std::string_view tool_of_method(std::string_view method);

}  // namespace latent8
