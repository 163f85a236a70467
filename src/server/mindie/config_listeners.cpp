#include "server/mindie/config_listeners.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/ip/address.hpp>
#include <cstdlib>

#include "formats/files.h"

namespace latent8 {
namespace {

namespace fs = std::filesystem;
const std::string kServerPath = "ServerConfig.";

// The files of one of the three: their keys begin with "tls", "managementTls" or "metricsTls".
class TlsKeys {
 public:
  TlsKeys(const ConfigTree& tree, const fs::path& base, std::string prefix, const char* folder)
      : tree_(tree), base_(base), prefix_(std::move(prefix)), folder_(folder) {}

  TlsFiles files() {
    TlsFiles files;
    files.certificate = file(prefix_ + "Cert", fmt::format("security/certs{}/server.pem", folder_));
    files.key = file(prefix_ + "Pk", fmt::format("security/keys{}/server.key.pem", folder_));
    const std::string ca = prefix_ == "tls" ? "ca.pem" : std::string(folder_ + 1) + "_ca.pem";
    const fs::path ca_folder = tree_.text(kServerPath + "tlsCaPath", "security/ca/");
    for (const std::string& name : tree_.texts(kServerPath + prefix_ + "CaFile", {ca}))
      files.client_ca_files.push_back(there(prefix_ + "CaFile", ca_folder / name));
    const fs::path crl_folder =
        tree_.text(kServerPath + prefix_ + "CrlPath", fmt::format("security{}/certs/", folder_));
    for (const std::string& name : tree_.texts(kServerPath + prefix_ + "CrlFiles", {}))
      files.client_crl_files.push_back(there(prefix_ + "CrlFiles", crl_folder / name));
    files.key_password = password();
    return files;
  }
  const std::vector<std::string>& missing() const { return missing_; }

 private:
  std::string file(const std::string& key, const std::string& fallback) {
    return there(key, tree_.text(kServerPath + key, fallback));
  }
  std::string there(const std::string& key, const fs::path& path) {
    std::string whole = (base_ / path).lexically_normal().string();
    if (!fs::is_regular_file(whole)) missing_.push_back(fmt::format("{} '{}'", key, whole));
    return whole;
  }
  // The first line of the file, where there is one: keys without a password need none.
  std::string password() const {
    const fs::path path = base_ / tree_.text(kServerPath + prefix_ + "PkPwd", "");
    if (!fs::is_regular_file(path)) return "";
    const std::string text = read_text_file(path);
    return text.substr(0, text.find_first_of("\r\n"));
  }

  const ConfigTree& tree_;
  fs::path base_;
  std::string prefix_;
  const char* folder_;
  std::vector<std::string> missing_;
};

std::string address(ConfigTree& tree, const std::string& key, const char* variable,
                    const std::string& fallback) {
  const char* set = std::getenv(variable);
  const std::string text = set != nullptr && *set != '\0' ? set : tree.text(key, fallback);
  boost::system::error_code error;
  const auto ip = boost::asio::ip::make_address(text, error);
  if (error)
    tree.refuse(key, fmt::format("an address of IPv4 or IPv6 (or in {})", variable));
  else if (ip.is_unspecified() && !tree.boolean(kServerPath + "allowAllZeroIpListening", false))
    tree.refuse(key, "an address of this machine, or allowAllZeroIpListening true,");
  return text;
}

}  // namespace

std::vector<std::string> add_listeners(ConfigTree& tree, const fs::path& base, ServiceConfig& out) {
  struct Place {
    std::string host;
    std::int64_t port;
    Planes planes;
    const char *tls, *folder;
  };
  const std::string ip = address(tree, kServerPath + "ipAddress", "MIES_CONTAINER_IP", "127.0.0.1");
  const std::string management_ip =
      address(tree, kServerPath + "managementIpAddress", "MIES_CONTAINER_MANAGEMENT_IP", ip);
  const std::int64_t port = tree.integer(kServerPath + "port", 1025);
  const Place places[] = {
      {ip, port, kBusiness, "tls", ""},
      {management_ip, tree.integer(kServerPath + "managementPort", port), kManagement | kStop,
       "managementTls", "/management"},
      {management_ip, tree.integer(kServerPath + "metricsPort", 1027), kMetrics, "metricsTls", "/metrics"}};

  std::vector<std::string> problems;
  for (const Place& place : places) {
    const auto same = std::find_if(out.listeners.begin(), out.listeners.end(), [&](const HttpListener& l) {
      return l.host == place.host && l.port == place.port;
    });
    if (same != out.listeners.end()) {
      out.planes[static_cast<std::size_t>(same - out.listeners.begin())] |= place.planes;
      continue;
    }
    HttpListener listener{.host = place.host, .port = static_cast<std::uint16_t>(place.port), .tls = {}};
    if (tree.boolean(kServerPath + "httpsEnabled", true)) {
      TlsKeys keys(tree, base, place.tls, place.folder);
      listener.tls = keys.files();
      if (!keys.missing().empty())
        problems.push_back(
            fmt::format("'ServerConfig.httpsEnabled': true needs files that are not there: {}; make them, or "
                        "set it to false",
                        fmt::join(keys.missing(), ", ")));
    }
    out.listeners.push_back(std::move(listener));
    out.planes.push_back(place.planes);
  }
  return problems;
}

}  // namespace latent8
