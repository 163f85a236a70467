#include "server/mindie/service_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "formats/files.h"
#include "server/mindie/config_keys.h"
#include "server/mindie/relaxed_json.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
using SortedJson = nlohmann::json;
using testing::AllOf;
using testing::Contains;
using testing::HasSubstr;
using testing::Not;

// As the reference ships it, with the ModelConfig of its page on FA3.
std::string shipped() {
  return read_text_file(fs::path(LATENT8_SOURCE_DIR) / "tests/data/mindie_config.json");
}

// The same for one process, changed by `change`.
template <class Change>
std::string plain(const Change& change) {
  SortedJson json = SortedJson::parse(plain_json(shipped()));
  json["ServerConfig"]["httpsEnabled"] = false;
  SortedJson& model = json["BackendConfig"]["ModelDeployConfig"]["ModelConfig"][0];
  for (const char* key : {"worldSize", "sp", "tp", "dp", "moe_ep", "moe_tp"}) model[key] = 1;
  change(json);
  return json.dump();
}

ServiceConfig parse(const std::string& text, bool adapt = false) {
  return parse_service_config(text, "/etc/mindie/conf/config.json", adapt);
}

std::string refusal(const std::string& text, bool adapt = false) {
  try {
    parse(text, adapt);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

std::string refusal_of(const std::string& pointer, const SortedJson& value) {
  return refusal(plain([&](SortedJson& json) { json[SortedJson::json_pointer(pointer)] = value; }));
}

const std::string kServer = "/ServerConfig/";
const std::string kModel = "/BackendConfig/ModelDeployConfig/ModelConfig/0/";

TEST(RelaxedJson, BlanksCommentsAndTrailingCommasAndNothingElse) {
  EXPECT_EQ(plain_json(R"({"a": [1, 2, ], // x
"b": "//,]", /* , */ })"),
            "{\"a\": [1, 2  ],     \n\"b\": \"//,]\"          }");
  EXPECT_EQ(plain_json(R"("a\",]" /*)"), R"("a\",]"   )");
  EXPECT_EQ(plain_json(R"([1,,2])"), R"([1,,2])");
}

TEST(ServiceConfig, HonoursWhatTheShippedFileSays) {
  const ServiceConfig config = parse(plain([](SortedJson&) {}));

  EXPECT_EQ(config.model, "/mnt/nfs/weight/R1_W8A8_FA3_Clamp");
  EXPECT_EQ(config.model_name, "deepseekr1");
  EXPECT_TRUE(config.enable_nz);
  EXPECT_EQ(config.max_seq_len, 2560);
  EXPECT_EQ(config.max_input_tokens, 2048);
  EXPECT_EQ(config.max_output_tokens, 512);
  EXPECT_EQ(config.truncation, Truncation::kRefuse);
  EXPECT_EQ(config.block_size, 128);
  EXPECT_EQ(config.max_batch_size, 200);
  EXPECT_EQ(config.max_n, 128);
  EXPECT_EQ(config.max_prefill_tokens, 8192);
  EXPECT_EQ(config.cache_bytes, 0);
  EXPECT_EQ(config.max_requests, 3000);
  EXPECT_EQ(config.max_body_bytes, std::size_t{40} << 20);
  EXPECT_EQ(config.token_timeout_s, 600.0);
  EXPECT_EQ(config.e2e_timeout_s, 600.0);
  EXPECT_EQ(config.text_threads, 8);
  ASSERT_EQ(config.listeners.size(), 3U);
  EXPECT_EQ(config.listeners[0].host, "127.0.0.1");
  EXPECT_EQ(config.listeners[0].port, 1025);
  EXPECT_EQ(config.listeners[1].host, "127.0.0.2");
  EXPECT_EQ(config.listeners[1].port, 1026);
  EXPECT_EQ(config.listeners[2].port, 1027);
  EXPECT_EQ(config.planes, (std::vector<Planes>{kBusiness, kManagement | kStop, kMetrics}));
  EXPECT_TRUE(config.changes.empty());
}

TEST(ServiceConfig, NamesEveryKeyWithoutEffectAndEveryUnknownOne) {
  const ServiceConfig config =
      parse(plain([](SortedJson& json) { json["ServerConfig"]["colour"] = SortedJson{{"a", 1}}; }));

  EXPECT_THAT(config.notes, Contains(AllOf(HasSubstr("NPU"), HasSubstr("npuDeviceIds"))));
  EXPECT_THAT(config.notes, Contains(AllOf(HasSubstr("httpsEnabled"), HasSubstr("tlsCert"))));
  EXPECT_THAT(config.notes, Contains("not known, ignored: ServerConfig.colour"));
  for (const ConfigKey& key : config_keys()) {
    if (key.no_effect == nullptr || shipped().find('"' + std::string(key.name) + '"') == std::string::npos)
      continue;
    EXPECT_THAT(config.notes, Contains(HasSubstr(std::string(key.name)))) << key.name;
  }
}

TEST(ServiceConfig, ListsAllThatOneProcessCannotHaveInOneError) {
  const std::string text = shipped();

  const std::string message = refusal(text);

  for (const char* path : {"worldSize", "tp", "dp", "moe_ep", "moe_tp"})
    EXPECT_THAT(message, HasSubstr("ModelConfig[0]." + std::string(path) + "': 1 expected")) << path;
  EXPECT_THAT(message, HasSubstr("dp * tp * cp = 16 is not worldSize"));
  EXPECT_THAT(message, HasSubstr("'ServerConfig.httpsEnabled'"));
  EXPECT_THAT(message, HasSubstr("/etc/mindie/security/certs/server.pem"));
  EXPECT_THAT(message, HasSubstr("--adapt"));
  EXPECT_THAT(message, Not(HasSubstr("ModelConfig[0].sp")));
}

TEST(ServiceConfig, ChangesWhatItCannotHaveOnlyWhenAskedTo) {
  const auto eight = [](SortedJson& json) {
    json["BackendConfig"]["ModelDeployConfig"]["ModelConfig"][0]["worldSize"] = 8;
    json["ServerConfig"]["inferMode"] = "dmi";
  };

  const ServiceConfig config = parse(plain(eight), /*adapt=*/true);

  EXPECT_EQ(config.changes.size(), 2U);
  EXPECT_THAT(config.changes, Contains(AllOf(HasSubstr("worldSize"), HasSubstr("1 instead of 8"))));
  EXPECT_THAT(refusal(plain(eight)), AllOf(HasSubstr("worldSize"), HasSubstr("inferMode")));
}

TEST(ServiceConfig, RefusesWrongTypesAndRangesByPath) {
  EXPECT_THAT(refusal_of(kServer + "port", "x"),
              HasSubstr("'ServerConfig.port': a whole number from 1024 to 65535 expected, got \"x\""));
  EXPECT_THAT(refusal_of(kServer + "port", 80), HasSubstr("got 80"));
  EXPECT_THAT(refusal_of(kServer + "httpsEnabled", "false"), HasSubstr("true or false expected"));
  EXPECT_THAT(refusal_of(kServer + "tlsCaFile", SortedJson::array({1})), HasSubstr("texts expected"));
  EXPECT_THAT(refusal_of(kServer + "inferMode", "fast"), HasSubstr("'standard' or 'dmi' expected"));
  EXPECT_THAT(refusal_of("/ServerConfig", 1), HasSubstr("'ServerConfig': an object expected, got 1"));
  EXPECT_THAT(refusal_of(kModel + "modelName", "-x"), HasSubstr("ModelConfig[0].modelName"));
  EXPECT_THAT(refusal_of(kModel + "modelWeightPath", ""), HasSubstr("ModelConfig[0].modelWeightPath"));
  EXPECT_THAT(refusal_of(kModel + "npuMemSize", 0), HasSubstr("-1 or more than 0 expected"));
  EXPECT_THAT(refusal_of(kModel + "plugin_params", "{"), HasSubstr("plugin_params"));
  EXPECT_THAT(refusal_of(kModel + "plugin_params", R"({"plugin_type":"mtp","num_speculative_tokens":5})"),
              HasSubstr("num_speculative_tokens from 1 to 4"));
  EXPECT_THAT(refusal_of("/BackendConfig/ScheduleConfig/cacheBlockSize", 100), HasSubstr("a multiple of 16"));
  EXPECT_THAT(refusal_of("/BackendConfig/ScheduleConfig/maxIterTimes", 4000), HasSubstr("at most maxSeqLen"));
  EXPECT_THAT(refusal_of("/BackendConfig/ScheduleConfig/maxPrefillTokens", 1000),
              HasSubstr("at least maxInputTokenLen"));
  EXPECT_THAT(refusal_of("/BackendConfig/ScheduleConfig/maxPreemptCount", 201),
              HasSubstr("at most maxBatchSize"));
  EXPECT_THAT(refusal_of("/BackendConfig/ModelDeployConfig/truncation", 2),
              HasSubstr("true, false, -1, 0 or 1"));
}

TEST(ServiceConfig, ListensOnAllAddressesOnlyWhereThatIsAllowed) {
  const auto everywhere = [](SortedJson& json) { json["ServerConfig"]["ipAddress"] = "0.0.0.0"; };
  const auto allowed = [&](SortedJson& json) {
    everywhere(json);
    json["ServerConfig"]["allowAllZeroIpListening"] = true;
  };

  EXPECT_THAT(refusal(plain(everywhere)), HasSubstr("allowAllZeroIpListening"));
  EXPECT_EQ(parse(plain(allowed)).listeners[0].host, "0.0.0.0");
}

TEST(ServiceConfig, MakesOneListenerOfEqualAddresses) {
  const ServiceConfig config = parse(plain([](SortedJson& json) {
    json["ServerConfig"].erase("managementIpAddress");
    json["ServerConfig"]["managementPort"] = 1025;
    json["ServerConfig"]["metricsPort"] = 1025;
  }));

  ASSERT_EQ(config.listeners.size(), 1U);
  EXPECT_EQ(config.planes.front(), kBusiness | kManagement | kStop | kMetrics);
}

TEST(ServiceConfig, CutsPromptsAsTruncationSays) {
  const auto of = [](const SortedJson& value) {
    return parse(plain([&](SortedJson& json) {
             json["BackendConfig"]["ModelDeployConfig"]["truncation"] = value;
           }))
        .truncation;
  };
  EXPECT_EQ(of(0), Truncation::kRefuse);
  EXPECT_EQ(of(false), Truncation::kRefuse);
  EXPECT_EQ(of(-1), Truncation::kKeepBegin);
  EXPECT_EQ(of(true), Truncation::kKeepBegin);
  EXPECT_EQ(of(1), Truncation::kKeepEnd);
}

TEST(ServiceConfig, KeepsWithinTheContextOfTheModel) {
  ServiceConfig config = parse(plain([](SortedJson&) {}));

  EXPECT_THROW(fit_to_model(config, {1024, "of the model"}, /*adapt=*/false), Error);
  fit_to_model(config, {1024, "of the model"}, /*adapt=*/true);

  EXPECT_EQ(config.max_seq_len, 1024);
  EXPECT_EQ(config.max_input_tokens, 1023);
  EXPECT_EQ(config.changes.size(), 1U);
}

TEST(ServiceConfig, TakesDraftsFromPluginParams) {
  const auto of = [](const SortedJson& params) {
    return parse(
        plain([&](SortedJson& json) { json[SortedJson::json_pointer(kModel + "plugin_params")] = params; }));
  };
  const ServiceConfig shipped_one = parse(plain([](SortedJson&) {}));
  EXPECT_EQ(shipped_one.speculative, Speculative::kMtp);
  EXPECT_EQ(shipped_one.num_speculative_tokens, 1);

  const ServiceConfig both = of(R"({"plugin_type":"mtp,prefix_cache","num_speculative_tokens":3})");
  EXPECT_EQ(both.speculative, Speculative::kMtp);
  EXPECT_EQ(both.num_speculative_tokens, 3);
  EXPECT_THAT(both.notes, Contains(HasSubstr("plugin_params prefix_cache")));

  EXPECT_EQ(of(SortedJson{{"plugin_type", "mtp"}, {"num_speculative_tokens", "2"}}).num_speculative_tokens,
            2);
  EXPECT_EQ(of(R"({"plugin_type":"splitfuse"})").speculative, Speculative::kAuto);
  EXPECT_EQ(of("").speculative, Speculative::kAuto);
}

TEST(ServiceConfig, NeedsAnMtpLayerForDrafts) {
  ServiceConfig config = parse(plain([](SortedJson&) {}));
  fit_drafts_to_model(config, /*has_mtp=*/true, /*adapt=*/false);
  EXPECT_EQ(config.num_speculative_tokens, 1);

  EXPECT_THROW(fit_drafts_to_model(config, /*has_mtp=*/false, /*adapt=*/false), Error);
  fit_drafts_to_model(config, /*has_mtp=*/false, /*adapt=*/true);

  EXPECT_EQ(config.speculative, Speculative::kAuto);
  EXPECT_EQ(config.num_speculative_tokens, 0);
  EXPECT_THAT(config.changes, Contains(HasSubstr("plugin_params")));
}

TEST(ServiceConfig, IsDescribedKeyByKeyInTheDocuments) {
  const std::string page = read_text_file(fs::path(LATENT8_SOURCE_DIR) / "docs/serving.md");

  for (const ConfigKey& key : config_keys()) {
    const std::string name(key.name.substr(key.name.rfind('.') + 1));
    EXPECT_NE(page.find('`' + name + '`'), std::string::npos) << key.section << key.name;
  }
}

}  // namespace
}  // namespace latent8
