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
