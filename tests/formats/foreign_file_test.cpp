#include "formats/foreign_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>

#include "formats/json.h"
#include "formats/safetensors.h"
#include "support/errors.h"

namespace latent8 {
namespace {

using namespace std::string_literals;

struct Case {
  std::string bytes;
  const char* said;
};

const Case kCases[] = {
    {"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4302341\n", "Git LFS pointer"},
    {"\0\5\x16\7\0\2\0\0Mac OS X        "s, "AppleDouble"},
    {"<!DOCTYPE html>\n<html><head><title>Log in</title>", "a web page"},
    {"\xef\xbb\xbf \n<HTML lang=\"en\">", "a web page"},
    {"<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code>", "XML answer"},
    {"Entry not found", "Entry not found"},
    {"GGUF\3\0\0\0"s, "a GGUF file"},
    {"PK\3\4\0\0archive/data.pkl"s, "torch.save"},
    {"\x80\2}q\0"s, "a Python pickle"},
    {"\x1f\x8b\x08\0"s, "gzip"},
    {"BZh91AY&SY", "bzip2"},
    {"7z\xbc\xaf\x27\x1c\0\4"s, "a 7z archive"},
    {"Rar!\x1a\x07\x01\0"s, "a rar archive"},
    {"model.safetensors" + std::string(240, '\0') + "ustar\0"s, "a tar archive"},
    {"\xff\xfe{\0"s, "UTF-16"},
    {"<<<<<<< HEAD\n{", "merge conflict"},
    {"<!-- 404 --><html>", "a web page"},
    {"<head><title>502 Bad Gateway</title>", "a web page"},
    {"Not Found", "Not found"},
};

TEST(ForeignFile, IsNamedInsteadOfItsBytes) {
  for (const Case& c : kCases) {
    const auto bytes = std::as_bytes(std::span(c.bytes));

    EXPECT_THAT(
        error_of(ErrorCode::kCorrupt, [&] { parse_safetensors_header(bytes, "w.safetensors"); }),
        testing::AllOf(testing::StartsWith("w.safetensors: the file is"), testing::HasSubstr(c.said)));
    EXPECT_THAT(error_of(ErrorCode::kCorrupt, [&] { parse_json(c.bytes, "config.json"); }),
                testing::AllOf(testing::StartsWith("config.json: the file is"), testing::HasSubstr(c.said)));
  }
}

TEST(ForeignFile, AServersErrorInJsonIsNoWeights) {
  const std::string answer = R"({ "error": "Repository not found"})";

  EXPECT_THAT(error_of(ErrorCode::kCorrupt,
                       [&] { parse_safetensors_header(std::as_bytes(std::span(answer)), "w.safetensors"); }),
              testing::HasSubstr("a server's error message"));
}

TEST(ForeignFile, AHeaderOfAnyLengthIsNoOtherFile) {
  const std::string header = R"({"x": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}})";
  for (const std::size_t length : {0x280, 0x380, 0x480, 0x580, 0x8b1f, 0x4142, 0xfeff, 0x5a42}) {
    std::string file(8, '\0');
    file[0] = static_cast<char>(length & 0xff);
    file[1] = static_cast<char>(length >> 8);
    file += header + std::string(length - header.size(), ' ') + "abcd";

    EXPECT_EQ(foreign_kind(std::as_bytes(std::span(file))), std::nullopt) << length;
    EXPECT_EQ(parse_safetensors_header(std::as_bytes(std::span(file)), "w").size(), 1U) << length;
  }
}

TEST(ForeignFile, TensorsOfOtherMethodsAreKnownByTheirNames) {
  EXPECT_EQ(foreign_method("model.layers.1.mlp.down_proj.weight_packed")->tools, "llm-compressor");
  EXPECT_EQ(foreign_method("model.layers.1.mlp.down_proj.qweight")->name, "gptq or awq");
  for (const char* own : {"x.weight", "x.weight_scale", "x.weight_scale_inv", "x.deq_scale", "x.quant_bias"})
    EXPECT_EQ(foreign_method(own), std::nullopt) << own;
}

TEST(ForeignFile, ACommaTooManyIsNotCalledTruncated) {
  for (const char* text : {"{\"a\": 1,}", "[1, 2, ]"}) {
    const std::string error = error_of(ErrorCode::kCorrupt, [&] { parse_json(text, "c.json"); });
    EXPECT_THAT(error, testing::Not(testing::HasSubstr("truncated")));
  }
}

TEST(ForeignFile, JsonThatEndsEarlyIsCalledTruncated) {
  const std::string error = error_of(ErrorCode::kCorrupt, [] { parse_json("{\n  \"a\": [1, ", "c.json"); });

  EXPECT_THAT(error, testing::HasSubstr("c.json: JSON expected, got something else at line 2"));
  EXPECT_THAT(error, testing::HasSubstr("truncated"));
}

TEST(ForeignFile, AWrongCharacterHasItsPlaceAndNoEscapes) {
  const std::string error =
      error_of(ErrorCode::kCorrupt, [] { parse_json("{\"a\": \x1b]0;x\x07}", "c.json"); });

  EXPECT_THAT(error, testing::HasSubstr("line 1, column 7"));
  EXPECT_THAT(error, testing::Not(testing::HasSubstr("\x1b")));
  EXPECT_THAT(error, testing::Not(testing::HasSubstr("json.exception")));
}

TEST(ForeignFile, EmptyJsonIsCalledEmpty) {
  EXPECT_THAT(error_of(ErrorCode::kCorrupt, [] { parse_json(" \n", "c.json"); }),
              testing::HasSubstr("an empty file"));
}

TEST(ForeignFile, ToolsOfOtherMethodsAreKnown) {
  EXPECT_EQ(tool_of_method("compressed-tensors"), "llm-compressor");
  EXPECT_EQ(tool_of_method("awq"), "AutoAWQ");
  EXPECT_EQ(tool_of_method("of-tomorrow"), "");
}

}  // namespace
}  // namespace latent8
