#pragma once
// The printable alphabet in which byte-level BPE files write bytes.

#include <optional>
#include <string>
#include <string_view>

namespace latent8 {

// The raw bytes that a token of the vocabulary stands for; nullopt if it has a character outside the
// alphabet (an added token then, which stands for itself).
// Source: GPT-2's bytes_to_unicode: the printable characters of Latin-1 are themselves, the other 68 bytes
// are U+0100 and up in the order of their value.
std::optional<std::string> bytes_from_alphabet(std::string_view token);

}  // namespace latent8
