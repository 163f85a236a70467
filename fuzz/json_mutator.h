#pragma once
// Mutations of inputs that are one letter and JSON: bytes of a document are seldom what a reader of it looks
// at, values and places are.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iterator>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <string_view>
#include <vector>

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t max_size);

namespace latent8 {

class JsonMutator {
 public:
  explicit JsonMutator(unsigned seed) : random_(seed) {}

  void change(nlohmann::json& document) {
    std::vector<nlohmann::json*> values;
    collect(document, values);
    nlohmann::json& at = *values[below(values.size())];
    switch (below(5)) {
      case 0:
        at = edge_value();
        break;
      case 1:
        at = nlohmann::json(*values[below(values.size())]);  // of another place
        break;
      case 2:
        at = nlohmann::json::array({nlohmann::json(at)});
        break;
      case 3:
        erase_one(at);
        break;
      default:
        change_text(at);
    }
  }

 private:
  std::size_t below(std::size_t n) { return std::uniform_int_distribution<std::size_t>(0, n - 1)(random_); }

  static void collect(nlohmann::json& value, std::vector<nlohmann::json*>& out) {
    out.push_back(&value);
    if (value.is_structured())
      for (nlohmann::json& member : value) collect(member, out);
  }

  nlohmann::json edge_value() {
    static const nlohmann::json values = nlohmann::json::parse(
        R"([null, true, false, 0, 1, -1, 0.5, 1e308, 255, 256, 65535, 65536, 2147483647, 2147483648,
            9223372036854775807, 18446744073709551615, -9223372036854775808, "", "a", " ", "\u0000", "\u2581",
            "../..", "/dev/zero", [], {}])");
    return values[below(values.size())];
  }

  void erase_one(nlohmann::json& value) {
    if (!value.is_structured() || value.empty()) return;
    value.erase(std::next(value.begin(), static_cast<std::ptrdiff_t>(below(value.size()))));
  }

  void change_text(nlohmann::json& value) {
    if (!value.is_string()) return;
    std::string text = value.get<std::string>();
    constexpr std::size_t kLongest = 64;
    const std::size_t size = std::min(text.size(), kLongest);
    text.resize(kLongest);
    text.resize(LLVMFuzzerMutate(reinterpret_cast<std::uint8_t*>(text.data()), size, kLongest));
    value = text;
  }

  std::mt19937 random_;
};

// What a target's LLVMFuzzerCustomMutator returns: the mutated input's size.
inline std::size_t mutate_json(std::uint8_t* data, std::size_t size, std::size_t max_size, unsigned seed) {
  constexpr unsigned kBytesEvery = 4;  // and what is no JSON always
  if (size < 2 || seed % kBytesEvery == 0) return LLVMFuzzerMutate(data, size, max_size);
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  nlohmann::json document = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return LLVMFuzzerMutate(data, size, max_size);
  JsonMutator(seed).change(document);
  const std::string out = document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  if (out.size() + 1 > max_size) return LLVMFuzzerMutate(data, size, max_size);
  std::copy(out.begin(), out.end(), data + 1);
  return out.size() + 1;
}

}  // namespace latent8
