#include "server/fields.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server/api_error.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

// The error that `call` throws.
template <class Call>
ApiError refusal(const Call& call) {
  try {
    call();
  } catch (const ApiError& error) {
    return error;
  }
  ADD_FAILURE() << "no error";
  return {};
}

TEST(ParseBody, RefusesWhatIsNoObjectInJson) {
  for (const std::string& text :
       {std::string(""), std::string("{"), std::string("[]"), std::string("1"), std::string("{\"a\": 1e999}"),
        std::string("{\"a\": \"\\ud800\"}"), std::string("{\"a\": \"\xff\"}"), std::string("{} {}")}) {
    EXPECT_EQ(refusal([&] { parse_body(text); }).status, 400) << text;
  }
}

TEST(ParseBody, RefusesDeepNestingBeforeItIsBuilt) {
  const std::string deep = "{\"a\": " + std::string(1'000'000, '[');

  EXPECT_EQ(refusal([&] { parse_body(deep); }).status, 400);
}

TEST(Fields, NamesTheFieldByItsPath) {
  const Json json = {{"stop", 1}};
  const Fields fields(json, "messages[2]");

  const ApiError error = refusal([&] { fields.texts("stop", 4); });

  EXPECT_EQ(error.param, "messages[2].stop");
  EXPECT_THAT(error.message, testing::HasSubstr("got 1"));
}

TEST(Fields, TakeNullForAbsent) {
  const Json json = {{"seed", nullptr}};

  EXPECT_EQ(Fields(json).integer("seed", 0), std::nullopt);
  EXPECT_EQ(Fields(json).find("seed"), nullptr);
}

TEST(Fields, TakeWholeNumbersInAnyForm) {
  const Json json = {{"a", 5.0}, {"b", 5}, {"c", 5.5}, {"d", 1e300}, {"e", std::uint64_t{1} << 63},
                     {"f", true}};
  const Fields fields(json);

  EXPECT_EQ(fields.integer("a", 0), 5);
  EXPECT_EQ(fields.integer("b", 0), 5);
  for (const char* key : {"c", "d", "e", "f"}) EXPECT_EQ(refusal([&] { fields.integer(key, 0); }).param, key);
  EXPECT_EQ(refusal([&] { fields.integer("b", 6, 9); }).param, "b");
}

TEST(Fields, CutLongValuesInMessages) {
  const Json json = {{"model", Json::array({std::string(10'000, 'x')})}};

  EXPECT_LT(refusal([&] { Fields(json).text("model"); }).message.size(), 200U);
}

TEST(ApiError, IsWhatClientsOfOpenAiRead) {
  const Json json =
      Json::parse(to_json(ApiError{.status = 429, .message = "full", .param = "", .code = "queue_full"}));

  EXPECT_EQ(json["error"]["type"], "rate_limit_error");
  EXPECT_EQ(json["error"]["code"], "queue_full");
  EXPECT_TRUE(json["error"]["param"].is_null());
}

}  // namespace
}  // namespace latent8
