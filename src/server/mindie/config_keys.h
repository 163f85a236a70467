#pragma once
// The keys of the reference's service config: their types, ranges and what they do here.

#include <cstdint>
#include <span>
#include <string_view>

namespace latent8 {

enum class ConfigKind {
  kSection,      // an object whose members are keys themselves
  kSectionList,  // a list of such
  kText,
  kInteger,
  kBoolean,
  kTextList,    // of at most 3 texts
  kList,        // what is in it is looked at elsewhere, if at all
  kTruncation,  // true, false, or an integer from -1 to 1
  kObject,      // an object, or a text with one in JSON
  kAnything,
};

struct ConfigKey {
  std::string_view section;  // "BackendConfig.ModelDeployConfig.ModelConfig[]."
  std::string_view name;     // "tp"
  ConfigKind kind;
  std::int64_t low = 0, high = 0;   // of kInteger
  const char* no_effect = nullptr;  // why it has none; nullptr: it is honoured
};

// The reason of keys that only say how TLS is done.
extern const char* const kWithoutHttps;

std::span<const ConfigKey> config_keys();
const ConfigKey* find_config_key(std::string_view path);  // nullptr: not known

}  // namespace latent8
