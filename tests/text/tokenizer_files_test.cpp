// Which files of a checkpoint a tokenizer is read from, and what is said of files that are something else.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "latent8/error.h"
#include "support/temp_dir.h"
#include "text/incremental_detokenizer.h"
#include "text/tokenizer.h"

namespace latent8 {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using SortedJson = nlohmann::json;

const std::string kSpace = "\xE2\x96\x81";  // sentencepiece's

SortedJson added(int id, const std::string& content) {
  return {{"id", id}, {"content", content}, {"special", true}, {"normalized", false}};
}

SortedJson bos_template() {
  return {{"type", "TemplateProcessing"},
          {"single", SortedJson::array({{{"SpecialToken", {{"id", "<s>"}}}}, {{"Sequence", {{"id", "A"}}}}})},
          {"special_tokens", {{"<s>", {{"id", "<s>"}, {"ids", {1}}}}}}};
}

// A converted sentencepiece model: <unk> <s> </s>, the bytes, then characters and one merge.
SortedJson llama_like() {
  SortedJson vocab = {{"<unk>", 0}, {"<s>", 1}, {"</s>", 2}};
  for (int byte = 0; byte < 256; ++byte) {
    std::array<char, 8> name{};
    std::snprintf(name.data(), name.size(), "<0x%02X>", static_cast<unsigned>(byte));
    vocab[name.data()] = 3 + byte;
  }
  vocab[kSpace] = 259;
  vocab["a"] = 260;
  vocab[kSpace + "a"] = 261;
  const auto replace = [](const std::string& from, const std::string& to) {
    return SortedJson{{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
  };
  return {
      {"added_tokens", SortedJson::array({added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")})},
      {"normalizer",
       {{"type", "Sequence"},
        {"normalizers",
         SortedJson::array({{{"type", "Prepend"}, {"prepend", kSpace}}, replace(" ", kSpace)})}}},
      {"decoder",
       {{"type", "Sequence"},
        {"decoders", SortedJson::array({replace(kSpace, " "),
                                        {{"type", "ByteFallback"}},
                                        {{"type", "Fuse"}},
                                        {{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}}})}}},
      {"model",
       {{"type", "BPE"},
        {"vocab", vocab},
        {"merges", SortedJson::array({kSpace + " a"})},
        {"unk_token", "<unk>"},
        {"byte_fallback", true}}}};
}

std::string refusal(const TempDir& dir, ErrorCode code) {
  try {
    Tokenizer::load(dir.path());
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), code) << error.what();
    EXPECT_THAT(error.what(), Not(HasSubstr("json.exception")));
    return error.what();
  }
  return "accepted";
}

TEST(TokenizerFiles, AConvertedSentencepieceModelFallsBackToBytes) {
  const TempDir dir;
  dir.write("tokenizer.json", llama_like().dump());
  const Tokenizer tokenizer = Tokenizer::load(dir.path());

  const auto ids = tokenizer.encode("a a\xC3\xA9<s>a");

  EXPECT_THAT(ids, ElementsAre(261, 261, 3 + 0xC3, 3 + 0xA9, 1, 261));
  EXPECT_EQ(tokenizer.decode(ids), "a a\xC3\xA9<s> a");
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{3 + 0xC3, 3 + 'x', 260}),
            "\uFFFD\uFFFD"
            "a");
}

TEST(TokenizerFiles, PiecesOfByteFallbackGiveWhatTheWholeGives) {
  const TempDir dir;
  dir.write("tokenizer.json", llama_like().dump());
  const Tokenizer tokenizer = Tokenizer::load(dir.path());
  EXPECT_TRUE(rc::check("streamed == decoded", [&] {
    const auto ids = *rc::gen::container<std::vector<std::int32_t>>(rc::gen::inRange(0, 265));
    for (const bool keep_special : {false, true}) {
      IncrementalDetokenizer detokenizer(tokenizer, keep_special);
      std::string streamed;
      for (const std::int32_t id : ids) streamed += detokenizer.push(id);
      streamed += detokenizer.finish();
      RC_ASSERT(streamed == tokenizer.decode(ids, keep_special));
    }
  }));
}

// file: post_processor; config: keys of tokenizer_config.json. Cases of transformers 4.57.6 and 5.24.
TEST(TokenizerFiles, BosStandsWhereThePostProcessorOrTheConfigurationPutsIt) {
  struct Case {
    SortedJson post_processor;
    SortedJson config;
    bool bos, eos;
  };
  const SortedJson none;
  const SortedJson byte_level = {{"type", "ByteLevel"}};
  const SortedJson both = {{"type", "Sequence"},
                           {"processors", SortedJson::array({byte_level, bos_template()})}};
  const char* llama = "LlamaTokenizerFast";
  const char* fast = "PreTrainedTokenizerFast";
  const std::vector<Case> cases = {
      {none, {}, false, false},
      {byte_level, {{"tokenizer_class", llama}}, false, false},
      {bos_template(), {{"tokenizer_class", fast}}, true, false},
      {bos_template(), {{"tokenizer_class", fast}, {"add_bos_token", false}}, true, false},
      {both, {{"tokenizer_class", fast}, {"add_bos_token", nullptr}}, true, false},
      {none, {{"tokenizer_class", llama}, {"add_bos_token", true}}, true, false},
      {none, {{"tokenizer_class", llama}, {"add_bos_token", true}, {"add_eos_token", true}}, true, true},
      {bos_template(), {{"tokenizer_class", llama}, {"add_bos_token", true}}, true, false},
      {bos_template(), {{"tokenizer_class", "LlamaTokenizer"}, {"add_bos_token", false}}, false, false},
      {none, {{"tokenizer_class", fast}, {"add_eos_token", true}}, false, false},
  };
  for (const Case& test : cases) {
    const TempDir dir;
    SortedJson file = llama_like();
    file["post_processor"] = test.post_processor;
    dir.write("tokenizer.json", file.dump());
    SortedJson config = test.config;
    config["bos_token"] = "<s>";
    config["eos_token"] = "</s>";
    dir.write("tokenizer_config.json", config.dump());
    const Tokenizer tokenizer = Tokenizer::load(dir.path());

    std::vector<std::int32_t> want = {261};
    if (test.bos) want.insert(want.begin(), 1);
    if (test.eos) want.push_back(2);
    EXPECT_EQ(tokenizer.encode_prompt("a"), want) << test.post_processor << test.config;
    EXPECT_THAT(tokenizer.encode("a"), ElementsAre(261));
    if (test.bos && !test.eos) EXPECT_THAT(tokenizer.encode_prompt("<s>a"), ElementsAre(1, 261));
  }
}

TEST(TokenizerFiles, SpecialTokensMapNamesBosWhereTheConfigurationDoesNotListTokens) {
  const TempDir dir;
  dir.write("tokenizer.json", llama_like().dump());
  dir.write("special_tokens_map.json", R"({"bos_token": {"content": "<s>"}, "eos_token": "</s>"})");

  const Tokenizer tokenizer = Tokenizer::load(dir.path());

  EXPECT_EQ(tokenizer.bos_id(), 1);
  EXPECT_EQ(tokenizer.eos_id(), 2);
}

TEST(TokenizerFiles, TheConfigurationsAddedTokensJoinThoseOfTheFile) {
  const TempDir dir;
  dir.write("tokenizer.json", llama_like().dump());
  dir.write("tokenizer_config.json",
            R"({"added_tokens_decoder": {"300": {"content": "<|x|>", "special": true}}})");

  const Tokenizer tokenizer = Tokenizer::load(dir.path());

  EXPECT_THAT(tokenizer.encode("<|x|>"), ElementsAre(300));
  EXPECT_TRUE(tokenizer.is_special(300));
  EXPECT_EQ(tokenizer.decode(std::vector<std::int32_t>{280, 300}), "<|x|>");  // 280 is nobody's
}

TEST(TokenizerFiles, SaysWhatAFileIsInsteadOfJson) {
  const TempDir dir;
  const auto says = [&](const std::string& content) {
    dir.write("tokenizer.json", content);
    return refusal(dir, ErrorCode::kCorrupt);
  };
  EXPECT_THAT(says("version https://git-lfs.github.com/spec/v1\noid sha256:4d\nsize 7\n"),
              HasSubstr("Git LFS pointer"));
  EXPECT_THAT(says("<!DOCTYPE html><html></html>"), HasSubstr("a web page"));
  EXPECT_THAT(says(""), HasSubstr("empty"));
  EXPECT_THAT(says(std::string(100, '\0')), HasSubstr("zero bytes"));
  EXPECT_THAT(says("../../blobs/0f3a"), HasSubstr("symbolic link"));
  EXPECT_THAT(says(R"({"model": {"type)"), HasSubstr("ends too early"));
  EXPECT_THAT(says(R"({"model": ?})"), HasSubstr("not JSON from byte 11"));
  EXPECT_THAT(says("[]"), HasSubstr("a JSON object expected, got array"));
  EXPECT_THAT(says("{}"), HasSubstr("'model'"));
}

TEST(TokenizerFiles, NamesThePartThatHasAnotherTypeOrIsNotSupported) {
  const TempDir dir;
  const auto says = [&](const char* pointer, const SortedJson& value,
                        ErrorCode code = ErrorCode::kUnsupported) {
    SortedJson file = llama_like();
    file[SortedJson::json_pointer(pointer)] = value;
    dir.write("tokenizer.json", file.dump());
    return refusal(dir, code);
  };
  EXPECT_THAT(says("/added_tokens", "x"), HasSubstr("'added_tokens'"));
  EXPECT_THAT(says("/added_tokens/0/id", -1, ErrorCode::kCorrupt), HasSubstr("an id from 0"));
  EXPECT_THAT(says("/model/type", "Unigram"), HasSubstr("'Unigram'"));
  EXPECT_THAT(says("/model/vocab/a", "x", ErrorCode::kCorrupt), HasSubstr("model.vocab"));
  EXPECT_THAT(says("/model/merges/0", 5, ErrorCode::kCorrupt), HasSubstr("model.merges"));
  EXPECT_THAT(says("/normalizer", SortedJson{{"type", "NFKC"}}),
              HasSubstr("normalizer \"NFKC\" is not supported"));
  EXPECT_THAT(says("/decoder", SortedJson{{"type", "ByteLevel"}}), HasSubstr("ByteLevel in both or in none"));
  EXPECT_THAT(says("/decoder", nullptr), HasSubstr("no decoder"));
  EXPECT_THAT(says("/post_processor", SortedJson{{"type", "\x1b[31m" + std::string(500, 'x')}}),
              Not(HasSubstr("\x1b")));
}

TEST(TokenizerFiles, RefusesNestingWithoutEnd) {
  const TempDir dir;
  std::string deep;
  constexpr int kLevels = 200'000;
  for (int i = 0; i < kLevels; ++i) deep += R"({"type":"Sequence","normalizers":[)";
  for (int i = 0; i < kLevels; ++i) deep += "]}";
  dir.write("tokenizer.json", R"({"model": {}, "normalizer": )" + deep + "}");
  EXPECT_THAT(refusal(dir, ErrorCode::kCorrupt), HasSubstr("nesting of at most 64 levels expected"));
}

// Forty rules that double a text: 10^12 bytes of one.
TEST(TokenizerFiles, BoundsWhatRulesMakeOfAText) {
  const auto forty = [](const char* name, const SortedJson& rule) {
    SortedJson rules = {{"type", "Sequence"}, {name, SortedJson::array()}};
    for (int i = 0; i < 40; ++i) rules[name].push_back(rule);
    return rules;
  };
  const SortedJson doubled = {{"type", "Replace"}, {"pattern", {{"String", "a"}}}, {"content", "aa"}};
  const SortedJson spaces = {{"type", "Metaspace"}, {"replacement", "  "}, {"prepend_scheme", "never"}};
  const TempDir dir;
  const auto says = [&](const char* key, const SortedJson& rules) {
    SortedJson file = llama_like();
    file["normalizer"] = nullptr;
    file[key] = rules;
    dir.write("tokenizer.json", file.dump());
    try {
      Tokenizer::load(dir.path()).encode("a a");
    } catch (const Error& error) {
      return std::string(error.what());
    }
    return std::string("accepted");
  };

  EXPECT_THAT(says("normalizer", forty("normalizers", doubled)), HasSubstr("normalizer: at most 1216 bytes"));
  EXPECT_THAT(says("pre_tokenizer", forty("pretokenizers", spaces)), HasSubstr("pre_tokenizer: at most"));
  EXPECT_THAT(says("decoder", forty("decoders", doubled)), HasSubstr("decoder: at most"));
}

TEST(TokenizerFiles, NamesTheOtherFilesOfTokenizersAndTheWayOut) {
  const TempDir dir;
  EXPECT_THAT(refusal(dir, ErrorCode::kNotFound), HasSubstr("tokenizer.json or tiktoken.model expected"));
  dir.write("tokenizer.model", "\n\x0e");
  EXPECT_THAT(refusal(dir, ErrorCode::kUnsupported), HasSubstr("save_pretrained"));
}

// Lines of tiktoken.model for the 256 bytes.
std::string byte_lines() {
  std::string lines;
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  for (unsigned byte = 0; byte < 256; ++byte)
    lines += std::string{kDigits[byte >> 2], kDigits[(byte & 3) << 4]} + "== " + std::to_string(byte) + "\n";
  return lines;
}

// Every cut of a token is looked at: of 300 kB that takes an hour.
TEST(TokenizerFiles, RefusesTokensThatAreLongerThanAnyInUse) {
  const TempDir dir;
  dir.write("tiktoken.model", byte_lines() + std::string(400'000, 'Y') + " 256\n");
  EXPECT_THAT(refusal(dir, ErrorCode::kCorrupt), HasSubstr("line 257: a token of at most 1024 bytes"));

  SortedJson file = llama_like();
  file["added_tokens"].push_back(added(300, std::string(2000, 'a')));
  dir.write("tokenizer.json", file.dump());
  EXPECT_THAT(refusal(dir, ErrorCode::kUnsupported), HasSubstr("'content': a text of 1 to 1024 bytes"));
}

TEST(TokenizerFiles, ReadsTiktokenModelWithReservedTokens) {
  const TempDir dir;
  dir.write("tiktoken.model", byte_lines() + "YWI= 256\n");  // ab
  dir.write("tokenizer_config.json", R"({"tokenizer_class": "TikTokenTokenizer", "eos_token": "[EOS]",
      "added_tokens_decoder": {"258": {"content": "[EOS]", "special": true}}})");

  const Tokenizer tokenizer = Tokenizer::load(dir.path());

  EXPECT_THAT(tokenizer.encode("ab[EOS]c<|reserved_token_300|>"), ElementsAre(256, 258, 'c', 300));
  EXPECT_THAT(tokenizer.encode_prompt("ab"), ElementsAre(256));
  EXPECT_EQ(tokenizer.eos_id(), 258);
  EXPECT_EQ(tokenizer.vocab_size(), 257 + 256);

  dir.write("tiktoken.model", byte_lines() + "YWI 256\n");
  EXPECT_THAT(refusal(dir, ErrorCode::kCorrupt), HasSubstr("line 257"));
  dir.write("tiktoken.model", byte_lines() + "YWI= 7\n");
  EXPECT_THAT(refusal(dir, ErrorCode::kCorrupt), HasSubstr("its id 7 belongs to another token too"));
  dir.write("tiktoken.model", "YWI= 0\n");
  EXPECT_THAT(refusal(dir, ErrorCode::kCorrupt), HasSubstr("no token for byte 0x00"));
}

}  // namespace
}  // namespace latent8
