#pragma once
// The reference's checkpoints of models/tiny-r1, and the statistics it saw. Made by
// tools/reference/make_msmodelslim_golden.py.

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <sstream>
#include <string>

#include "formats/safetensors.h"
#include "quant/compat/compat.h"
#include "quant/quantize_fixture.h"

namespace latent8::compat {

inline const std::filesystem::path kWhole = kGolden / "a_mindie_m4_static";

// FNV-1a over little-endian words of 8 bytes, the last one filled up with zeros, then over the length.
inline std::string hash64(std::span<const std::byte> bytes) {
  std::uint64_t hash = 0xcbf29ce484222325U;
  const auto add = [&](std::uint64_t word) { hash = (hash ^ word) * 0x100000001b3U; };
  for (std::size_t at = 0; at < bytes.size(); at += 8) {
    std::uint64_t word = 0;
    std::memcpy(&word, bytes.data() + at, std::min<std::size_t>(8, bytes.size() - at));
    add(word);
  }
  add(bytes.size());
  return fmt::format("{:016x}", hash);
}
inline std::string hash64(const std::string& text) {
  return hash64(std::as_bytes(std::span(text.data(), text.size())));
}

// "name hash" per line.
inline std::map<std::string, std::string> read_hashes(const std::filesystem::path& file) {
  std::map<std::string, std::string> hashes;
  std::istringstream in(read_file(file));
  for (std::string name, hash; in >> name >> hash;) hashes[name] = hash;
  return hashes;
}

inline std::vector<std::string> files_of(const std::filesystem::path& dir) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(dir))
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

// A tensor as floats.
inline std::vector<float> values_of(const TensorView& view) {
  std::vector<float> values(static_cast<std::size_t>(view.elements()));
  widen(view.bytes.data(), view.dtype, view.elements(), values.data());
  return values;
}

// golden/stats: what the reference saw in one run.
class GoldenStatistics {
 public:
  explicit GoldenStatistics(const std::string& run) : file_(kGolden / "stats" / (run + ".safetensors")) {}

  LayerStatistics layer(std::int64_t index) const {
    LayerStatistics out;
    const std::string name = fmt::format("model.layers.{}.self_attn.", index);
    const std::array linears{"q_a_proj", "q_b_proj", "o_proj"};  // by Group
    for (std::size_t g = 0; g < kGroups; ++g) {
      out.groups[g] = group("anti." + name + linears[g]);
      const std::vector<float> calls = values("calib." + name + linears[g] + ".min_max");
      for (std::size_t i = 0; i < calls.size(); i += 2) out.inputs[g].add({calls[i], calls[i + 1]});
    }
    out.fa = FaRanges{windows("fa." + name + "fa_q"), windows("fa." + name + "fa_k")[0],
                      windows("fa." + name + "fa_v")[0]};
    return out;
  }
  std::vector<float> values(const std::string& name) const { return values_of(file_.tensors().at(name)); }
  const TensorMap& tensors() const { return file_.tensors(); }

 private:
  GroupStatistics group(const std::string& name) const {
    GroupStatistics out;
    if (!file_.tensors().contains(name + ".max")) return out;
    const std::vector<float> high = values(name + ".max"), low = values(name + ".min");
    for (std::size_t c = 0; c < high.size(); ++c) out.channels.push_back({low[c], high[c]});
    if (!file_.tensors().contains(name + ".alpha_beta")) return out;
    const std::vector<float> exponents = values(name + ".alpha_beta");
    out.exponents = {exponents[0], exponents[1]};
    return out;
  }
  // The union over the calls, per row.
  std::vector<Range> windows(const std::string& name) const {
    const TensorView& view = file_.tensors().at(name + ".window");  // [calls, rows, 2]
    const std::vector<float> all = values_of(view);
    std::vector<Range> rows(static_cast<std::size_t>(view.shape[1]), {all[0], all[1]});
    for (std::size_t r = 0; r < rows.size(); ++r) rows[r] = {all[2 * r], all[2 * r + 1]};
    for (std::size_t i = 0; i < all.size() / 2; ++i)
      rows[i % rows.size()] = joined(rows[i % rows.size()], {all[2 * i], all[2 * i + 1]});
    return rows;
  }

  SafetensorsFile file_;
};

// The settings of one of the reference's runs.
struct GoldenRun {
  const char* folder;
  const char* statistics;
  QuantizeOptions::Format format;
  QuantizeOptions::Anti anti;
  bool dynamic;
  QuantizeOptions::Mtp mtp;
};
inline const GoldenRun kRunA{"a_mindie_m4_static",       "a",   QuantizeOptions::Format::kMindie,
                             QuantizeOptions::Anti::kM4, false, QuantizeOptions::Mtp::kNone};
inline const GoldenRun kRunB{"b_ascendv1_m4_static",     "a",   QuantizeOptions::Format::kAscendV1,
                             QuantizeOptions::Anti::kM4, false, QuantizeOptions::Mtp::kNone};
inline const GoldenRun kRunC{"c_ascendv1_dynamic_noanti",  "c",  QuantizeOptions::Format::kAscendV1,
                             QuantizeOptions::Anti::kNone, true, QuantizeOptions::Mtp::kNone};
inline const GoldenRun kRunE{"e_ascendv1_m6_static",     "e",   QuantizeOptions::Format::kAscendV1,
                             QuantizeOptions::Anti::kM6, false, QuantizeOptions::Mtp::kNone};
inline const GoldenRun kRunF{"f_ascendv1_m4_mtpfloat",   "a",   QuantizeOptions::Format::kAscendV1,
                             QuantizeOptions::Anti::kM4, false, QuantizeOptions::Mtp::kFloat};

// Of files and of those tensors that are not equal to run a's. What run f's folder lacks is run b's.
inline std::map<std::string, std::string> golden_hashes(const GoldenRun& run) {
  auto hashes = read_hashes(kGolden / run.folder / "hashes.txt");
  if (run.folder == kRunF.folder) hashes.merge(read_hashes(kGolden / kRunB.folder / "hashes.txt"));
  return hashes;
}

class CompatTest : public testing::Test {
 protected:
  QuantizeOptions options(const GoldenRun& run) {
    QuantizeOptions o;
    o.model = kTinyR1;
    o.out = dir_ / "out";
    o.compat = QuantizeOptions::Compat::kMsmodelslim;
    o.fa_quant = true;
    o.format = run.format;
    o.anti = run.anti;
    o.dynamic = run.dynamic;
    o.mtp = run.mtp;
    o.calib = kGolden / "prompts/calib.json";
    o.anti_calib = kGolden / "prompts/anti.json";
    o.threads = 1;
    return o;
  }
  // All layers have scales of the int8 cache; statistics are the reference's.
  Given given(const GoldenRun& run) {
    Given given;
    given.float_layers.emplace();
    given.statistics = [statistics = std::make_shared<GoldenStatistics>(run.statistics)](std::int64_t layer) {
      return statistics->layer(layer);
    };
    return given;
  }

  TempDir dir_;
};

}  // namespace latent8::compat
