#include "formats/safetensors.h"

#include "support/errors.h"
#include "support/temp_dir.h"

namespace latent8 {
namespace {

using ::testing::HasSubstr;

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string file(8, '\0');
  for (int i = 0; i < 8; ++i) file[i] = static_cast<char>(length >> (8 * i));
  return file + rest;
}

std::string file_of(const std::string& header, std::size_t data_bytes) {
  return with_length(header.size(), header + std::string(data_bytes, '\1'));
}

TensorMap parse_header(const std::string& file) {
  return parse_safetensors_header(std::as_bytes(std::span(file.data(), file.size())), "m.safetensors");
}

std::string refusal_of_header(const std::string& file, ErrorCode code = ErrorCode::kCorrupt) {
  const std::string message = error_of(code, [&] { parse_header(file); });
  EXPECT_THAT(message, HasSubstr("m.safetensors"));
  return message;
}

std::string entry(const std::string& dtype, const std::string& shape, const std::string& offsets) {
  return R"({"a":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
}

TEST(Safetensors, ReadsTypesShapesAndBytes) {
  const std::string file =
      file_of(R"({"__metadata__":{"format":"pt"},"b":{"dtype":"I8","shape":[3],"data_offsets":[8,11]},)"
              R"("a":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]}}  )",
              11);

  const TensorMap tensors = parse_header(file);

  ASSERT_EQ(tensors.size(), 2U);
  EXPECT_EQ(tensors.at("a").shape_text(), "[1, 2]");
  EXPECT_EQ(tensors.at("a").elements(), 2);
  EXPECT_EQ(tensors.at("b").dtype, DType::kI8);
  EXPECT_EQ(tensors.at("b").bytes.size(), 3U);
  EXPECT_EQ(reinterpret_cast<const char*>(tensors.at("b").bytes.data()), file.data() + file.size() - 3);
}

TEST(Safetensors, ReadsScalarsAndEmptyTensors) {
  const TensorMap tensors =
      parse_header(file_of(R"({"s":{"dtype":"F32","shape":[],"data_offsets":[0,4]},)"
                           R"("e":{"dtype":"BF16","shape":[0,7],"data_offsets":[4,4]}})",
                           4));

  EXPECT_EQ(tensors.at("s").elements(), 1);
  EXPECT_EQ(tensors.at("e").elements(), 0);
}

TEST(Safetensors, RejectsAFileShorterThanItsLength) {
  EXPECT_THAT(refusal_of_header("1234567"), HasSubstr("8 bytes"));
}

TEST(Safetensors, RejectsAHeaderLongerThanTheFile) {
  EXPECT_THAT(refusal_of_header(with_length(50, "{}")),
              HasSubstr("header of 50 bytes expected, but the file has only 2"));
}

TEST(Safetensors, RejectsAHeaderAboveTheLimit) {
  EXPECT_THAT(refusal_of_header(with_length(UINT64_MAX, "{}")), HasSubstr("18446744073709551615"));
  EXPECT_THAT(refusal_of_header(with_length(kMaxSafetensorsHeaderBytes + 1, "{}")), HasSubstr("100000001"));
}

TEST(Safetensors, RejectsAHeaderThatIsNotAnObject) {
  EXPECT_THAT(refusal_of_header(file_of(" {}", 0)), HasSubstr("starts with '{'"));
  EXPECT_THAT(refusal_of_header(file_of("", 0)), HasSubstr("starts with '{'"));
}

TEST(Safetensors, RejectsBrokenJsonWithItsPlace) {
  EXPECT_THAT(refusal_of_header(file_of("{\"a\":", 0)), HasSubstr("line 1, column"));
  EXPECT_THAT(refusal_of_header(file_of("{\"a\xff\":1}", 0)), HasSubstr("UTF-8"));
  EXPECT_THAT(refusal_of_header(file_of("{} x", 0)), HasSubstr("line 1, column"));
}

TEST(Safetensors, RejectsDeepNesting) {
  const std::string deep(100'000, '[');
  EXPECT_THAT(refusal_of_header(file_of("{\"a\":" + deep, 0)), HasSubstr("nesting of at most 64"));
}

TEST(Safetensors, RejectsAnUnknownTypeByName) {
  EXPECT_THAT(refusal_of_header(file_of(entry("F4", "[2]", "[0,1]"), 1), ErrorCode::kUnsupported),
              HasSubstr("tensor 'a': element type 'F4'"));
}

TEST(Safetensors, RejectsATensorNamedTwice) {
  const std::string one = R"("a":{"dtype":"I8","shape":[1],"data_offsets":[0,1]})";
  EXPECT_THAT(refusal_of_header(file_of("{" + one + "," + one + "}", 1)), HasSubstr("key 'a' once expected"));
}

TEST(Safetensors, RejectsMissingOrMalformedMembers) {
  EXPECT_THAT(refusal_of_header(file_of(R"({"a":7})", 0)), HasSubstr("an object with dtype"));
  EXPECT_THAT(refusal_of_header(file_of(R"({"a":{"shape":[1],"data_offsets":[0,1]}})", 1)),
              HasSubstr("'dtype'"));
  EXPECT_THAT(refusal_of_header(file_of(R"({"a":{"dtype":"I8","data_offsets":[0,1]}})", 1)),
              HasSubstr("'shape'"));
  EXPECT_THAT(refusal_of_header(file_of(R"({"a":{"dtype":"I8","shape":[1]}})", 1)),
              HasSubstr("'data_offsets'"));
  for (const char* shape : {"[-1]", "[1.0]", "[\"1\"]", "[18446744073709551615]", "[true]"})
    EXPECT_THAT(refusal_of_header(file_of(entry("I8", shape, "[0,1]"), 1)), HasSubstr("'shape'")) << shape;
  for (const char* offsets :
       {"[1,0]", "[0]", "[0,1,2]", "[-1,0]", "[0,1.5]", "{}", "[0,18446744073709551615]"})
    EXPECT_THAT(refusal_of_header(file_of(entry("I8", "[1]", offsets), 1)), HasSubstr("'data_offsets'"))
        << offsets;
}

TEST(Safetensors, RejectsDataBeyondTheEndOfTheFile) {
  EXPECT_THAT(refusal_of_header(file_of(entry("I8", "[4]", "[0,4]"), 3)),
              HasSubstr("data up to byte 4 expected, but the file's data has 3 bytes; it is truncated"));
}

TEST(Safetensors, RejectsAShapeThatDoesNotFitItsOffsets) {
  EXPECT_THAT(refusal_of_header(file_of(entry("F32", "[2]", "[0,4]"), 4)),
              HasSubstr("shape [2] of F32 needs 8 bytes, got offsets 0 to 4"));
}

TEST(Safetensors, RejectsAProductThatOverflows) {
  for (const char* shape :
       {"[4294967296,4294967296]", "[9223372036854775807,2]", "[65536,65536,65536,65536]"})
    EXPECT_THAT(refusal_of_header(file_of(entry("I8", shape, "[0,0]"), 0)), HasSubstr("too many bytes"))
        << shape;
}

std::string two(const char* first, const char* second) {
  return std::string(R"({"a":{"dtype":"I8","shape":[4],"data_offsets":)") + first +
         R"(},"b":{"dtype":"I8","shape":[4],"data_offsets":)" + second + "}}";
}

TEST(Safetensors, RejectsOverlapsHolesAndBytesLeftOver) {
  EXPECT_THAT(refusal_of_header(file_of(two("[0,4]", "[2,6]"), 6)),
              HasSubstr("tensor 'b': data at byte 4 expected, got 2"));
  EXPECT_THAT(refusal_of_header(file_of(two("[0,4]", "[0,4]"), 4)), HasSubstr("overlap"));
  EXPECT_THAT(refusal_of_header(file_of(two("[0,4]", "[5,9]"), 9)), HasSubstr("leave a hole"));
  EXPECT_THAT(refusal_of_header(file_of(two("[1,5]", "[5,9]"), 9)),
              HasSubstr("data at byte 0 expected, got 1"));
  EXPECT_THAT(refusal_of_header(file_of(two("[0,4]", "[4,8]"), 9)), HasSubstr("8 bytes of tensors expected"));
}

TEST(Safetensors, EveryTruncationOfAFileIsRefused) {
  const std::string file = file_of(two("[0,4]", "[4,8]"), 8);
  for (std::size_t length = 0; length < file.size(); ++length)
    EXPECT_THROW(parse_header(file.substr(0, length)), Error) << length;
}

TEST(Safetensors, ReadsAHundredThousandTensors) {
  constexpr int kTensors = 100'000;
  std::string header = "{";
  for (int i = 0; i < kTensors; ++i)
    header += (i == 0 ? "\"" : ",\"") + std::to_string(i) +
              R"(":{"dtype":"I8","shape":[1],"data_offsets":[)" + std::to_string(i) + "," +
              std::to_string(i + 1) + "]}";

  EXPECT_EQ(parse_header(file_of(header + "}", kTensors)).size(), static_cast<std::size_t>(kTensors));
}

TEST(Safetensors, AMissingFileIsNamed) {
  EXPECT_THAT(error_of(ErrorCode::kNotFound, [] { SafetensorsFile("/nowhere/x.safetensors"); }),
              HasSubstr("/nowhere/x.safetensors"));
}

TEST(SafetensorsDeathTest, AFileThatShrinksWhileItIsReadIsNamed) {
  ::testing::FLAGS_gtest_death_test_style = "threadsafe";
  const TempDir dir;
  const std::filesystem::path path =
      dir.write("shrinking.safetensors", file_of(entry("I8", "[1000000]", "[0,1000000]"), 1'000'000));

  EXPECT_EXIT(
      {
        const SafetensorsFile file(path);
        std::filesystem::resize_file(path, 4096);
        volatile int sum = 0;
        for (const std::byte b : file.tensors().at("a").bytes) sum = sum + std::to_integer<int>(b);
      },
      ::testing::ExitedWithCode(1), "shrinking.safetensors.*became shorter");
}

}  // namespace
}  // namespace latent8
