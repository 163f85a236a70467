#include "server/mindie/config_keys.h"

#include <algorithm>
#include <array>
#include <limits>

namespace latent8 {

const char* const kWithoutHttps = "httpsEnabled is false";

namespace {

using enum ConfigKind;

constexpr std::int64_t kAny = std::numeric_limits<std::int64_t>::max();
constexpr std::int64_t kLeast = std::numeric_limits<std::int32_t>::min();
constexpr std::int64_t kMostInt32 = std::numeric_limits<std::int32_t>::max();

constexpr const char* kFixed = "there is nothing to choose";
constexpr const char* kNoNpu = "there is no NPU; --threads chooses the processor cores";
constexpr const char* kOneProcess = "one process does the work, nothing is said between processes";
constexpr const char* kOneRole = "prefill and decode share one process";
constexpr const char* kPolicy =
    "one schedule: running answers go on in every step, prompts in chunks beside them, first come first "
    "served";
constexpr const char* kNoSwap = "pages are not swapped: who is preempted is computed again";
constexpr const char* kNoKmc = "files with passwords are read as they are";
constexpr const char* kNoCode = "no code of a checkpoint is run";
constexpr const char* kExperts = "every chosen expert is computed, where its weights lie";
constexpr const char* kAlways = "done always";
constexpr const char* kLogLevel = "the log has one level";

constexpr std::string_view kTop = "", kServer = "ServerConfig.", kBackend = "BackendConfig.",
                           kLog = "LogConfig.", kDeploy = "BackendConfig.ModelDeployConfig.",
                           kModel = "BackendConfig.ModelDeployConfig.ModelConfig[].",
                           kDeepseek = "BackendConfig.ModelDeployConfig.ModelConfig[].models.deepseekv2.",
                           kSchedule = "BackendConfig.ScheduleConfig.";

const auto kKeys = std::to_array<ConfigKey>({
    {kTop, "Version", kText, 0, 0, kFixed},
    {kTop, "ServerConfig", kSection},
    {kTop, "BackendConfig", kSection},
    {kTop, "LogConfig", kSection},
    {kLog, "dynamicLogLevel", kText, 0, 0, kLogLevel},
    {kLog, "dynamicLogLevelValidHours", kInteger, 1, 168, kLogLevel},
    {kLog, "dynamicLogLevelValidTime", kText, 0, 0, kLogLevel},
    {kTop, "EnableDynamicAdjustTimeoutConfig", kBoolean},

    {kServer, "ipAddress", kText},
    {kServer, "managementIpAddress", kText},
    {kServer, "port", kInteger, 1024, 65535},
    {kServer, "managementPort", kInteger, 1024, 65535},
    {kServer, "metricsPort", kInteger, 1024, 65535},
    {kServer, "allowAllZeroIpListening", kBoolean},
    {kServer, "maxLinkNum", kInteger, 1, 4096},
    {kServer, "httpsEnabled", kBoolean},
    {kServer, "fullTextEnabled", kBoolean},
    {kServer, "tlsCaPath", kText, 0, 0, kWithoutHttps},
    {kServer, "tlsCaFile", kTextList, 0, 0, kWithoutHttps},
    {kServer, "tlsCert", kText, 0, 0, kWithoutHttps},
    {kServer, "tlsPk", kText, 0, 0, kWithoutHttps},
    {kServer, "tlsPkPwd", kText, 0, 0, kWithoutHttps},
    {kServer, "tlsCrlPath", kText, 0, 0, kWithoutHttps},
    {kServer, "tlsCrlFiles", kTextList, 0, 0, kWithoutHttps},
    {kServer, "managementTlsCaFile", kTextList, 0, 0, kWithoutHttps},
    {kServer, "managementTlsCert", kText, 0, 0, kWithoutHttps},
    {kServer, "managementTlsPk", kText, 0, 0, kWithoutHttps},
    {kServer, "managementTlsPkPwd", kText, 0, 0, kWithoutHttps},
    {kServer, "managementTlsCrlPath", kText, 0, 0, kWithoutHttps},
    {kServer, "managementTlsCrlFiles", kTextList, 0, 0, kWithoutHttps},
    {kServer, "metricsTlsCaFile", kTextList, 0, 0, kWithoutHttps},
    {kServer, "metricsTlsCert", kText, 0, 0, kWithoutHttps},
    {kServer, "metricsTlsPk", kText, 0, 0, kWithoutHttps},
    {kServer, "metricsTlsPkPwd", kText, 0, 0, kWithoutHttps},
    {kServer, "metricsTlsCrlPath", kText, 0, 0, kWithoutHttps},
    {kServer, "metricsTlsCrlFiles", kTextList, 0, 0, kWithoutHttps},
    {kServer, "kmcKsfMaster", kText, 0, 0, kNoKmc},
    {kServer, "kmcKsfStandby", kText, 0, 0, kNoKmc},
    {kServer, "inferMode", kText},
    {kServer, "interCommTLSEnabled", kBoolean, 0, 0, kOneRole},
    {kServer, "interCommPort", kInteger, 1024, 65535, kOneRole},
    {kServer, "interCommTlsCaPath", kText, 0, 0, kOneRole},
    {kServer, "interCommTlsCaFiles", kTextList, 0, 0, kOneRole},
    {kServer, "interCommTlsCert", kText, 0, 0, kOneRole},
    {kServer, "interCommPk", kText, 0, 0, kOneRole},
    {kServer, "interCommPkPwd", kText, 0, 0, kOneRole},
    {kServer, "interCommTlsCrlPath", kText, 0, 0, kOneRole},
    {kServer, "interCommTlsCrlFiles", kTextList, 0, 0, kOneRole},
    {kServer, "openAiSupport", kText, 0, 0, "OpenAI's routes have vLLM's fields, whatever it says"},
    {kServer, "tokenTimeout", kInteger, 1, 3600},
    {kServer, "e2eTimeout", kInteger, 1, 65535},
    {kServer, "maxRequestLength", kInteger, 1, 100},
    {kServer, "maxJsonDepth", kInteger, 10, 100, "bodies may nest 64 levels deep"},
    {kServer, "distDPServerEnabled", kBoolean},
    {kServer, "layerwiseDisaggregated", kBoolean},
    {kServer, "layerwiseDisaggregatedRoleType", kText, 0, 0, kOneProcess},
    {kServer, "layerwiseDisaggregatedMasterIpAddress", kText, 0, 0, kOneProcess},
    {kServer, "layerwiseDisaggregatedSlaveIpAddress", kList, 0, 0, kOneProcess},
    {kServer, "layerwiseDisaggregatedDataPort", kInteger, 1, 65535, kOneProcess},
    {kServer, "layerwiseDisaggregatedCrtlPort", kList, 0, 0, kOneProcess},
    {kServer, "HealthCheckConfig", kSection},
    {kServer, "HealthCheckConfig.npuUsageThreshold", kInteger, 0, 100, kNoNpu},

    {kBackend, "backendName", kText, 0, 0, kFixed},
    {kBackend, "modelInstanceNumber", kInteger, 1, 10},
    {kBackend, "npuDeviceIds", kList, 0, 0, kNoNpu},
    {kBackend, "tokenizerProcessNumber", kInteger, 1, 32},
    {kBackend, "multiNodesInferEnabled", kBoolean},
    {kBackend, "multiNodesInferPort", kInteger, 1024, 65535, kOneProcess},
    {kBackend, "interNodeTLSEnabled", kBoolean, 0, 0, kOneProcess},
    {kBackend, "interNodeTlsCaPath", kText, 0, 0, kOneProcess},
    {kBackend, "interNodeTlsCaFiles", kTextList, 0, 0, kOneProcess},
    {kBackend, "interNodeTlsCert", kText, 0, 0, kOneProcess},
    {kBackend, "interNodeTlsPk", kText, 0, 0, kOneProcess},
    {kBackend, "interNodeTlsPkPwd", kText, 0, 0, kOneProcess},
    {kBackend, "interNodeTlsCrlPath", kText, 0, 0, kOneProcess},
    {kBackend, "interNodeTlsCrlFiles", kTextList, 0, 0, kOneProcess},
    {kBackend, "interNodeKmcKsfMaster", kText, 0, 0, kOneProcess},
    {kBackend, "interNodeKmcKsfStandby", kText, 0, 0, kOneProcess},
    {kBackend, "kvPoolConfig", kSection},
    {kBackend, "kvPoolConfig.backend", kText},
    {kBackend, "kvPoolConfig.configPath", kText, 0, 0, "there is no pool of caches"},
    {kBackend, "kvPoolConfig.asyncWrite", kBoolean, 0, 0, "there is no pool of caches"},
    {kBackend, "ModelDeployConfig", kSection},
    {kBackend, "ScheduleConfig", kSection},

    {kDeploy, "maxSeqLen", kInteger, 2, kMostInt32},
    {kDeploy, "maxInputTokenLen", kInteger, 1, 4194304},
    {kDeploy, "truncation", kTruncation},
    {kDeploy, "LoraModules", kList},
    {kDeploy, "maxLoras", kInteger, 0, kMostInt32, "there is no LoRA"},
    {kDeploy, "maxLoraRank", kInteger, 0, kMostInt32, "there is no LoRA"},
    {kDeploy, "ModelConfig", kSectionList},

    {kModel, "modelInstanceType", kText},
    {kModel, "modelName", kText},
    {kModel, "modelWeightPath", kText},
    {kModel, "worldSize", kInteger, 1, kMostInt32},
    {kModel, "cpuMemSize", kInteger, 0, kMostInt32, kNoSwap},
    {kModel, "npuMemSize", kInteger, -1, kMostInt32},
    {kModel, "backendType", kText, 0, 0, kFixed},
    {kModel, "trustRemoteCode", kBoolean, 0, 0, kNoCode},
    {kModel, "async_scheduler_wait_time", kInteger, kLeast, kMostInt32, kOneProcess},
    {kModel, "kv_trans_timeout", kInteger, kLeast, kMostInt32, kOneRole},
    {kModel, "kv_link_timeout", kInteger, kLeast, kMostInt32, kOneRole},
    {kModel, "plugin_params", kObject},
    {kModel, "dp", kInteger, -1, 65536},
    {kModel, "tp", kInteger, -1, 65536},
    {kModel, "cp", kInteger, -1, 65536},
    {kModel, "sp", kInteger, -1, 65536},
    {kModel, "pp", kInteger, -1, 65536},
    {kModel, "moe_tp", kInteger, -1, 65536},
    {kModel, "moe_ep", kInteger, -1, 65536},
    {kModel, "o_proj_local_tp", kInteger, -1, 65536, kOneProcess},
    {kModel, "lm_head_local_tp", kInteger, -1, 65536, kOneProcess},
    {kModel, "models", kSection},
    {kModel, "models.layerwiseDisaggregatedMasterDeviceNum", kInteger, 0, kAny, kOneProcess},
    {kModel, "models.layerwiseDisaggregatedSlaveDeviceNum", kInteger, 0, kAny, kOneProcess},
    {kModel, "models.deepseekv2", kSection},
    {kDeepseek, "kv_cache_options", kSection},
    {kDeepseek, "kv_cache_options.enable_nz", kBoolean},
    {kDeepseek, "eplb", kObject, 0, 0, kExperts},
    {kDeepseek, "ep_level", kInteger, 0, kMostInt32, kExperts},
    {kDeepseek, "enable_dispatch_combine_v2", kBoolean, 0, 0, kExperts},
    {kDeepseek, "enable_mlapo_prefetch", kBoolean, 0, 0, kNoNpu},
    {kDeepseek, "mix_shared_routing", kBoolean, 0, 0, kExperts},
    {kDeepseek, "enable_init_routing_cutoff", kBoolean, 0, 0, kExperts},
    {kDeepseek, "topk_scaling_factor", kAnything, 0, 0, kExperts},
    {kDeepseek, "h3p", kObject, 0, 0, kNoNpu},
    {kDeepseek, "parallel_options", kObject, 0, 0, kOneProcess},
    {kDeepseek, "enable_reasoning", kBoolean, 0, 0, kAlways},

    {kSchedule, "templateType", kText, 0, 0, kPolicy},
    {kSchedule, "templateName", kText, 0, 0, kFixed},
    {kSchedule, "cacheBlockSize", kInteger, 1, 128},
    {kSchedule, "maxPrefillBatchSize", kInteger, 0, 819200, kPolicy},
    {kSchedule, "maxPrefillTokens", kInteger, 1, 4194304},
    {kSchedule, "prefillTimeMsPerReq", kInteger, 0, 1000, kPolicy},
    {kSchedule, "prefillPolicyType", kInteger, 0, 0, kFixed},
    {kSchedule, "decodeTimeMsPerReq", kInteger, 0, 1000, kPolicy},
    {kSchedule, "decodePolicyType", kInteger, 0, 0, kFixed},
    {kSchedule, "maxBatchSize", kInteger, 1, 819200},
    {kSchedule, "maxIterTimes", kInteger, 1, kMostInt32},
    {kSchedule, "maxPreemptCount", kInteger, 0, 819200, kNoSwap},
    {kSchedule, "supportSelectBatch", kBoolean, 0, 0, kPolicy},
    {kSchedule, "maxQueueDelayMicroseconds", kInteger, 500, 1000000, "a step waits for nobody"},
    {kSchedule, "maxFirstTokenWaitTime", kInteger, 0, 3600000, kPolicy},
    {kSchedule, "maxN", kInteger, 1, 8192},
    {kSchedule, "stageSelectPolicy", kInteger, 0, 3, kPolicy},
    {kSchedule, "dynamicBatchSizeEnable", kBoolean, 0, 0, kPolicy},
    {kSchedule, "prefillExpectedTime", kInteger, 1, 10000, kPolicy},
    {kSchedule, "decodeExpectedTime", kInteger, 1, 10000, kPolicy},
    {kSchedule, "prefillChunkSize", kInteger, 0, kMostInt32, kPolicy},
    {kSchedule, "maxNumPartialPrefills", kInteger, 0, kMostInt32, kPolicy},
    {kSchedule, "longPrefillTokenThreshold", kInteger, 0, kMostInt32, kPolicy},
    {kSchedule, "maxLongPartialPrefills", kInteger, 0, kMostInt32, kPolicy},
    {kSchedule, "enablePrefixCache", kBoolean, 0, 0, "the reference ignores it too"},
    {kSchedule, "enableSplit", kBoolean, 0, 0, "the reference ignores it too"},
});

}  // namespace

std::span<const ConfigKey> config_keys() { return kKeys; }

const ConfigKey* find_config_key(std::string_view path) {
  const auto it = std::find_if(kKeys.begin(), kKeys.end(), [&](const ConfigKey& key) {
    return path.starts_with(key.section) && path.substr(key.section.size()) == key.name;
  });
  return it == kKeys.end() ? nullptr : &*it;
}

}  // namespace latent8
