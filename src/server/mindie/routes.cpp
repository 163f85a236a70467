#include "server/mindie/routes.h"

#include <nlohmann/json.hpp>
#include <string>

#include "formats/json.h"

namespace latent8 {
namespace {

const char* error_type(int status) {
  switch (status) {
    case 401:
      return "Unauthorized";
    case 404:
      return "NotFoundError";
    case 422:
      return "Input Validation Error";
    case 429:
      return "Too Many Requests";
    case 503:
      return "Service Unavailable";
    default:
      return "Incomplete Generation";
  }
}

}  // namespace

HttpReply mindie_reply(const ApiError& error) {
  HttpReply reply = openai_reply(error);  // for its headers
  if (reply.status == 400) reply.status = 422;
  reply.body = json_utf8({{"error", error.message}, {"error_type", error_type(reply.status)}});
  return reply;
}

void add_mindie_routes(RouteTable& routes) {
  const auto add = [&](const char* method, const std::string& path, Route handle, Planes planes = kBusiness,
                       bool open = false) {
    routes.add({.method = method,
                .path = path,
                .handle = std::move(handle),
                .planes = planes,
                .open = open,
                .to_reply = mindie_reply});
  };
  add("POST", "/", generate_tgi);
  add("POST", "/generate", generate);
  add("POST", "/generate_stream", generate_stream);
  add("POST", "/infer", infer);
  add("POST", "/infer_token", infer);
  add("POST", "/v1/tokenizer", count_tokens);
  add("GET", "/v2", triton_server);
  for (const std::string model : {"/v2/models/{model}", "/v2/models/{model}/versions/{version}"}) {
    add("GET", model, triton_model);
    add("GET", model + "/config", triton_model_config);
    add("POST", model + "/infer", triton_infer);
    add("POST", model + "/generate", triton_generate);
    add("POST", model + "/generate_stream", triton_generate_stream);
    add("POST", model + "/stopInfer", triton_stop);
    add("GET", model + "/ready", model_ready, kManagement, /*open=*/true);
    add("GET", model + "/getSlotCount", slot_count, kManagement);
  }
  add("GET", "/v2/health/live", live, kManagement, /*open=*/true);
  add("GET", "/v2/health/ready", ready, kManagement, /*open=*/true);
  add("GET", "/info", server_info, kManagement);
  add("GET", "/metrics-json", recent_metrics, kManagement);
  add("GET", "/v1/config", server_config, kManagement);
  add("GET", "/v1/status", server_status, kManagement);
  add("GET", "/v2/status", server_status, kManagement);
  add("GET", "/stopService", stop_service, kStop);
}

}  // namespace latent8
