#pragma once
// Models with an MTP layer, and requests of every kind, for the tests of speculative decoding.

#include <algorithm>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>

#include "engine/engine_models.h"
#include "latent8/quantize.h"
#include "support/temp_dir.h"

namespace latent8 {

inline ModelWeights read_weights(const std::string& path, bool load_mtp) {
  const std::filesystem::path dir = std::filesystem::path(LATENT8_SOURCE_DIR) / path;
  return load_weights(std::make_shared<const Checkpoint>(Checkpoint::open(dir)), {.load_mtp = load_mtp});
}

inline std::shared_ptr<const DeepseekModel> float_model_with_mtp() {
  return std::make_shared<const DeepseekModel>(read_weights("models/tiny-r1", true));
}

// The W8A8 + FA3 checkpoint, which has no MTP layer, with the float one's; it has the FA scales of the layer
// before it, so that its cache is int8 too.
inline std::shared_ptr<const DeepseekModel> int8_model_with_mtp() {
  struct Both {
    ModelWeights mtp_of = read_weights("models/tiny-r1", true);
    std::optional<DeepseekModel> model;
  };
  auto both = std::make_shared<Both>();
  ModelWeights weights = read_weights("tests/data/golden/msmodelslim/a_mindie_m4_static", false);
  weights.mtp = std::move(both->mtp_of.mtp);
  weights.mtp->layer.attention.fa = weights.layers.back().attention.fa;
  both->model.emplace(std::move(weights));
  return {both, &*both->model};
}

// models/tiny-r1 in W8A8 + FA3 with its MTP layer, as `quantize --mtp mix` writes it.
inline std::shared_ptr<const DeepseekModel> quantised_model_with_mtp() {
  const TempDir dir;
  QuantizeOptions options;
  options.model = std::filesystem::path(LATENT8_SOURCE_DIR) / "models/tiny-r1";
  options.out = dir / "out";
  options.fa_quant = true;
  options.mtp = QuantizeOptions::Mtp::kMix;
  options.calib = dir.write("calib.json", R"(["What is deep learning? It trains networks of many layers."])");
  options.threads = 1;
  quantize(options);
  return std::make_shared<const DeepseekModel>(
      load_weights(std::make_shared<const Checkpoint>(Checkpoint::open(options.out)), {.load_mtp = true}));
}

// The beginning of a text that the model writes, so that its MTP layer has something to guess.
inline std::vector<std::int32_t> text_tokens(std::size_t text, std::size_t tokens) {
  static const std::vector<std::vector<std::int32_t>> texts = [] {
    std::ifstream file(std::string(LATENT8_SOURCE_DIR) + "/tests/data/golden/greedy.jsonl");
    std::vector<std::vector<std::int32_t>> all;
    for (std::string line; std::getline(file, line);)
      all.push_back(nlohmann::json::parse(line).at("ids").get<std::vector<std::int32_t>>());
    return all;
  }();
  const std::vector<std::int32_t>& from = texts[text % texts.size()];
  std::vector<std::int32_t> ids{0};
  while (ids.size() < tokens) ids.push_back(from[(ids.size() + 40 * text) % from.size()]);
  return ids;
}

// Allows two thirds of the vocabulary, by a hash of all tokens so far; keeps what it was told. A rollback
// beyond what was accepted, or a token that it had forbidden, is remembered.
class HashMask final : public MaskProvider {
 public:
  struct Told {
    std::vector<std::int32_t> tokens;
    bool wrong = false;
    std::int64_t rolled_back = 0;
  };
  explicit HashMask(std::shared_ptr<Told> told) : told_(std::move(told)) {}

  void restrict(std::span<std::uint64_t> bits) noexcept override {
    for (std::int32_t t = 0; t < std::ssize(bits) * 64; ++t)
      if (!allows(t)) bits[static_cast<std::size_t>(t) / 64] &= ~(std::uint64_t{1} << (t % 64));
  }
  void accept(std::int32_t token) noexcept override {
    told_->wrong |= !allows(token);
    told_->tokens.push_back(token);
    hashes_.push_back((hashes_.back() ^ static_cast<std::uint64_t>(token)) * 0x100000001b3ULL);
  }
  void rollback(std::int64_t count) noexcept override {
    told_->wrong |= count > std::ssize(told_->tokens);
    told_->rolled_back += count;
    for (; count > 0 && !told_->tokens.empty(); --count) told_->tokens.pop_back(), hashes_.pop_back();
  }

 private:
  bool allows(std::int32_t token) const {
    return ((hashes_.back() >> 20) + static_cast<std::uint64_t>(token)) % 3 != 0;
  }
  std::shared_ptr<Told> told_;
  std::vector<std::uint64_t> hashes_{0xcbf29ce484222325ULL};
};

// One request and what its sink does.
struct Case {
  const char* name;
  std::function<void(Request&)> change;
  std::size_t stop_after = 0;  // the sink wants no more than so many tokens; 0: all
};

inline constexpr std::int64_t kCaseTokens = 12;
inline constexpr std::int64_t kContext = 96;  // of the engines that answer them

inline const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"greedy", [](Request&) {}},
      {"top_p", [](Request& r) { r.sampling.temperature = 0.8F, r.sampling.top_p = 0.9F; }},
      {"top_k", [](Request& r) { r.sampling.temperature = 1.0F, r.sampling.top_k = 20; }},
      {"min_p", [](Request& r) { r.sampling.temperature = 1.2F, r.sampling.min_p = 0.02F; }},
      {"hot", [](Request& r) { r.sampling.temperature = 1.0F; }},
      {"penalties",
       [](Request& r) {
         r.sampling.repetition_penalty = 1.2F;
         r.sampling.presence_penalty = 0.5F;
         r.sampling.frequency_penalty = 0.3F;
       }},
      {"logit_bias", [](Request& r) { r.sampling.logit_bias = {{335, -3.0F}, {29, 2.0F}, {1, 4.0F}}; }},
      {"logprobs", [](Request& r) { r.sampling.logprobs = 5, r.sampling.temperature = 0.7F; }},
      {"prompt_logprobs", [](Request& r) { r.prompt_logprobs = 2, r.sampling.logprobs = 1; }},
      {"mask", [](Request& r) { r.mask = std::make_unique<HashMask>(std::make_shared<HashMask::Told>()); }},
      {"masked_draw",
       [](Request& r) {
         r.mask = std::make_unique<HashMask>(std::make_shared<HashMask::Told>());
         r.sampling.temperature = 0.9F;
         r.sampling.frequency_penalty = 0.2F;
       }},
      {"eos", [](Request& r) { r.sampling.ignore_eos = false, r.sampling.logit_bias = {{1, 9.0F}}; }},
      {"min_tokens",
       [](Request& r) {
         r.sampling.ignore_eos = false;
         r.sampling.min_tokens = 9;
         r.sampling.logit_bias = {{1, 30.0F}};
       }},
      {"stop_tokens", [](Request& r) { r.sampling.stop_token_ids = {29, 98, 335}; }},
      {"max_tokens_1", [](Request& r) { r.sampling.max_tokens = 1; }},
      {"max_tokens_2", [](Request& r) { r.sampling.max_tokens = 2; }},
      {"max_tokens_5", [](Request& r) { r.sampling.max_tokens = 5; }},
      {"context_full",
       [](Request& r) { r.sampling.max_tokens = 0, r.token_ids = text_tokens(2, kContext - 10); }},
      {"sink_stops_3", [](Request&) {}, 3},
      {"sink_stops_8", [](Request& r) { r.sampling.temperature = 0.5F; }, 8},
  };
  return all;
}

// Texts of 10 to 58 tokens; each begins like some others.
inline Request request_of_case(std::size_t i) {
  SamplingParams sampling;
  sampling.max_tokens = kCaseTokens;
  sampling.ignore_eos = true;
  sampling.logprobs = 0;
  sampling.seed = i;
  Request request = request_of(text_tokens(i % 4, 10 + i * 17 % 50), sampling);
  cases()[i].change(request);
  return request;
}

}  // namespace latent8
