#pragma once
// A service config as a tree of JSON: every key looked at, its values by path.

#include <map>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "server/mindie/config_keys.h"

namespace latent8 {

// What is wrong, missing or without effect is collected, so that a user hears of everything at once.
class ConfigTree {
 public:
  // text: JSON, with comments and trailing commas. Throws: Error{kCorrupt} for anything else.
  ConfigTree(std::string_view text, const std::string& file);
  ~ConfigTree();
  ConfigTree(const ConfigTree&) = delete;
  ConfigTree& operator=(const ConfigTree&) = delete;

  // Values by path ("ServerConfig.port"; lists with their position: "ModelConfig[0].tp"), else the fallback;
  // wrong ones, which are among the problems, count as absent.
  std::string text(std::string_view path, const std::string& fallback) const;
  std::int64_t integer(std::string_view path, std::int64_t fallback) const;
  bool boolean(std::string_view path, bool fallback) const;
  std::vector<std::string> texts(std::string_view path, const std::vector<std::string>& fallback) const;
  const nlohmann::json* find(std::string_view path) const;  // nullptr: absent, null or wrong

  const std::vector<std::string>& problems() const { return problems_; }
  void refuse(std::string_view path,
              std::string_view expected);  // adds "'PATH': EXPECTED expected, got VALUE"

  // By reason, the keys of this file that have no effect.
  const std::map<std::string, std::vector<std::string>>& without_effect() const { return without_effect_; }
  void no_effect(const std::string& reason, std::string_view key) {
    without_effect_[reason].emplace_back(key);
  }
  const std::vector<std::string>& unknown() const { return unknown_; }

 private:
  void visit(const nlohmann::json& section, const std::string& path, const std::string& pattern);
  void visit_value(const std::string& name, const nlohmann::json& value, const std::string& section,
                   const std::string& pattern_section);

  std::unique_ptr<const nlohmann::json> root_;
  std::vector<std::string> problems_, unknown_;
  std::set<std::string, std::less<>> wrong_;  // paths
  std::map<std::string, std::vector<std::string>> without_effect_;
};

}  // namespace latent8
