#include "formats/nested_json.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "formats/json.h"
#include "support/errors.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

Json parse(std::string_view text, int max_depth = 8) { return parse_nested_json(text, "it", max_depth); }

TEST(NestedJson, ReadsWhatTheLibraryReads) {
  for (const char* text : {"1", "-2", "1.5", "true", "null", "\"a\"", "[]", "{}", "[1,[2,{\"a\":[3]}],\"b\"]",
                           R"({"b":1,"a":{"d":[],"c":{}},"e":null})"})
    EXPECT_EQ(parse(text).dump(), Json::parse(text).dump());
}

TEST(NestedJson, KeepsTheLastValueOfAKeyInTheFirstPlace) {
  EXPECT_EQ(parse(R"({"a":1,"b":2,"a":{"c":3}})").dump(), R"({"a":{"c":3},"b":2})");
}

TEST(NestedJson, CountsLevels) {
  EXPECT_NO_THROW(parse("[[[]]]", 3));
  EXPECT_EQ(error_of(ErrorCode::kInvalidArgument, [] { parse("[{\"a\":[]}]", 2); }),
            "it: at most 2 levels of nesting expected");
}

// The library's parser takes minutes for either.
TEST(NestedJson, TakesLinearTimeForManyMembersAndManyObjects) {
  constexpr int kMany = 200'000;
  std::string members = "{", objects = "[";
  for (int i = 0; i < kMany; ++i) {
    members += "\"key" + std::to_string(i) + "\":1,";
    objects += "{\"a\":1},";
  }
  members.back() = '}';
  objects.back() = ']';

  EXPECT_EQ(parse(members).size(), kMany);
  EXPECT_EQ(parse(objects).size(), kMany);
}

}  // namespace
}  // namespace latent8
