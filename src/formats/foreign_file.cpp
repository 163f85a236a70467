#include "formats/foreign_file.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <utility>

#include "base/error.h"

namespace latent8 {
namespace {

struct Signature {
  std::string_view begins;
  std::string_view what;
};

using namespace std::string_view_literals;

constexpr std::array kSignatures{
    Signature{"version https://git-lfs.github.com/spec"sv,
              "a Git LFS pointer instead of the content; fetch it with 'git lfs pull' or a download tool"sv},
    Signature{"version https://hawser"sv,
              "a Git LFS pointer instead of the content; fetch it with 'git lfs pull' or a download tool"sv},
    Signature{
        "\0\5\x16\7"sv,
        "an AppleDouble file (what macOS keeps beside a file as '._name'); remove it, and copy the file itself"sv},
    Signature{"\0\5\x16\0"sv, "an AppleSingle file of macOS; copy the file itself"sv},
    Signature{"GGUF"sv,
              "a GGUF file (llama.cpp); this program reads the safetensors checkpoint it was made of"sv},
    Signature{"PK\3\4"sv,
              "a zip archive, as torch.save writes pickles; this program reads safetensors: convert it"sv},
    Signature{"\x80\2"sv, "a Python pickle; this program reads safetensors: convert it"sv},
    Signature{"\x80\3"sv, "a Python pickle; this program reads safetensors: convert it"sv},
    Signature{"\x80\4"sv, "a Python pickle; this program reads safetensors: convert it"sv},
    Signature{"\x80\5"sv, "a Python pickle; this program reads safetensors: convert it"sv},
    Signature{"\x1f\x8b"sv, "compressed (gzip); unpack it"sv},
    Signature{"\x28\xb5\x2f\xfd"sv, "compressed (zstd); unpack it"sv},
    Signature{"\xfd"
              "7zXZ"sv,
              "compressed (xz); unpack it"sv},
    Signature{"BZh"sv, "compressed (bzip2); unpack it"sv},
    Signature{"\x04\x22\x4d\x18"sv, "compressed (lz4); unpack it"sv},
    Signature{"7z\xbc\xaf\x27\x1c"sv, "a 7z archive; unpack it"sv},
    Signature{"Rar!\x1a\x07"sv, "a rar archive; unpack it"sv},
    Signature{"\xff\xfe"sv, "a text in UTF-16; save it as UTF-8"sv},
    Signature{"\xfe\xff"sv, "a text in UTF-16; save it as UTF-8"sv},
    Signature{"<<<<<<<"sv, "left by git with the marks of a merge conflict; resolve it"sv},
    Signature{"\x89HDF"sv, "an HDF5 file; this program reads safetensors"sv},
    Signature{"\x93NUMPY"sv, "a numpy array; this program reads safetensors"sv},
};

// What servers answer instead of a file, in small letters.
constexpr std::array kPages{
    Signature{"<!doctype html"sv, "a web page instead of the file"sv},
    Signature{"<html"sv, "a web page instead of the file"sv},
    Signature{"<head"sv, "a web page instead of the file"sv},
    Signature{"<body"sv, "a web page instead of the file"sv},
    Signature{"<!--"sv, "a web page instead of the file"sv},
    Signature{"<title"sv, "a web page instead of the file"sv},
    Signature{"<?xml"sv, "an XML answer of a server instead of the file"sv},
    Signature{"{\"error\""sv, "a server's error message instead of the file"sv},
    Signature{"entry not found"sv, "a server's answer 'Entry not found'"sv},
    Signature{"not found"sv, "a server's answer 'Not found'"sv},
    Signature{"unauthorized"sv, "a server's refusal of a login"sv},
    Signature{"forbidden"sv, "a server's refusal"sv},
    Signature{"too many requests"sv, "a server's refusal of so many requests"sv},
    Signature{"invalid username or password"sv, "a server's refusal of a login"sv},
    Signature{"access to model"sv, "a server's refusal: the model is gated"sv},
    Signature{"repository not found"sv, "a server's answer 'Repository not found'"sv},
};

// The first characters, in small letters, without blanks at their beginning, blanks behind a '{' and the mark
// of UTF-8.
std::string beginning(std::string_view text) {
  constexpr std::size_t kEnough = 64;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::string out;
  for (const char c : text) {
    const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
    if (blank && (out.empty() || out == "{")) continue;
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    if (out.size() == kEnough) break;
  }
  return out;
}

// The length of a header may begin with the bytes of any signature: 640 with those of a pickle.
bool looks_like_safetensors(std::string_view bytes) {
  constexpr std::size_t kHighBytes = 4, kLengthBytes = 8;
  return bytes.size() > kLengthBytes && bytes[kLengthBytes] == '{' &&
         bytes.substr(kHighBytes, kLengthBytes - kHighBytes) == std::string_view("\0\0\0\0", 4);
}

bool is_tar(std::string_view bytes) {
  constexpr std::size_t kMagic = 257;  // its place in the first header
  return bytes.size() > kMagic && bytes.substr(kMagic).starts_with("ustar");
}

// What copying and downloading leave of a file.
std::optional<std::string> lost_content(std::string_view bytes) {
  if (bytes.empty()) return "an empty file; fetch it again";
  constexpr std::size_t kLongestLink = 255;
  if (bytes.size() <= kLongestLink && bytes.starts_with("../") && bytes.find('\n') == std::string_view::npos)
    return "the path of a symbolic link instead of the file; copy the file that it names";
  constexpr std::size_t kFewest = 16, kProbe = 4096;
  if (bytes.size() >= kFewest && bytes.find_first_not_of('\0') >= std::min(bytes.size(), kProbe))
    return "filled with zero bytes; fetch it again";
  return std::nullopt;
}

struct Method {
  std::string_view name, tool;
};
constexpr std::array kMethods{
    Method{"compressed-tensors", "llm-compressor"},
    Method{"gptq", "AutoGPTQ or GPTQModel"},
    Method{"gptqmodel", "GPTQModel"},
    Method{"awq", "AutoAWQ"},
    Method{"bitsandbytes", "bitsandbytes"},
    Method{"modelopt", "NVIDIA ModelOpt"},
    Method{"quark", "AMD Quark"},
    Method{"auto-round", "Intel AutoRound"},
    Method{"intel/auto-round", "Intel AutoRound"},
    Method{"inc", "Intel Neural Compressor"},
    Method{"torchao", "torchao"},
    Method{"hqq", "HQQ"},
    Method{"eetq", "EETQ"},
    Method{"quanto", "Optimum Quanto"},
    Method{"fbgemm_fp8", "FBGEMM"},
    Method{"aqlm", "AQLM"},
    Method{"vptq", "VPTQ"},
    Method{"exl2", "ExLlamaV2"},
    Method{"exl3", "ExLlamaV3"},
    Method{"mxfp4", "OpenAI's MXFP4"},
    Method{"ascend", "vllm-ascend"},
    Method{"w8a8_int8", "SGLang"},
    Method{"gguf", "llama.cpp"},
};

}  // namespace

std::optional<std::string> foreign_kind(std::span<const std::byte> bytes) {
  constexpr std::size_t kLongest = 256;
  const std::string_view whole(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  if (looks_like_safetensors(whole)) return std::nullopt;
  const std::string_view text = whole.substr(0, kLongest);
  for (const Signature& s : kSignatures)
    if (text.starts_with(s.begins)) return std::string(s.what);
  const std::string first = beginning(text);
  for (const Signature& s : kPages)
    if (first.starts_with(s.begins))
      return std::string(s.what) + "; fetch it again, logged in if it needs that";
  if (is_tar(whole)) return "a tar archive; unpack it";
  return lost_content(whole);
}

void refuse_foreign(std::span<const std::byte> bytes, const std::string& where) {
  if (const auto kind = foreign_kind(bytes))
    throw_error(ErrorCode::kCorrupt, "{}: the file is {}", where, *kind);
}

void refuse_foreign(std::string_view bytes, const std::string& where) {
  refuse_foreign(std::as_bytes(std::span(bytes)), where);
}

bool is_hidden_name(std::string_view name) { return name.starts_with("."); }

bool is_other_weights(std::string_view name) {
  return name == "adapter_model.safetensors" || name.starts_with("consolidated");
}

bool is_unfinished_download(std::string_view name) {
  constexpr std::array kEndings{".incomplete", ".part", ".partial", ".aria2", ".crdownload", ".download"};
  return std::any_of(kEndings.begin(), kEndings.end(), [&](const char* end) { return name.ends_with(end); });
}

std::optional<ForeignMethod> foreign_method(std::string_view tensor) {
  // Of GPTQ and AWQ the names are the same but for g_idx, which AWQ has not.
  static constexpr std::array kEndings{
      std::pair{".qweight"sv, ForeignMethod{"gptq or awq", "AutoGPTQ, GPTQModel or AutoAWQ"}},
      std::pair{".g_idx"sv, ForeignMethod{"gptq", "AutoGPTQ or GPTQModel"}},
      std::pair{".weight_packed"sv, ForeignMethod{"compressed-tensors", "llm-compressor"}},
      std::pair{".weight_scale_2"sv, ForeignMethod{"nvfp4", "NVIDIA ModelOpt"}},
      std::pair{".absmax"sv, ForeignMethod{"bitsandbytes", "bitsandbytes"}},
      std::pair{".SCB"sv, ForeignMethod{"bitsandbytes", "bitsandbytes"}},
      std::pair{".q_weight"sv, ForeignMethod{"exl2", "ExLlamaV2"}},
      std::pair{".trellis"sv, ForeignMethod{"exl3", "ExLlamaV3"}},
      std::pair{".W_q"sv, ForeignMethod{"hqq", "HQQ"}},
  };
  for (const auto& [ending, method] : kEndings)
    if (tensor.ends_with(ending)) return method;
  return std::nullopt;
}

std::string_view tool_of_method(std::string_view method) {
  for (const Method& m : kMethods)
    if (m.name == method) return m.tool;
  return "";
}

}  // namespace latent8
