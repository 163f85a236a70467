// GET /v1/models, POST /tokenize, POST /detokenize

#include <nlohmann/json.hpp>

#include "server/api_error.h"
#include "server/chat_request.h"
#include "server/fields.h"
#include "server/reply_parts.h"
#include "server/service.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

}  // namespace

void list_models(const Call& call) {
  const EngineInfo& info = call.service().frontend().engine().info();
  Json data = Json::array();
  for (const std::string& name : call.service().options().model_names)
    data.push_back({{"id", name},
                    {"object", "model"},
                    {"created", call.service().start_time()},
                    {"owned_by", "latent8"},
                    {"root", call.service().options().model_names.front()},
                    {"max_model_len", info.max_model_len}});
  call.reply(Json{{"object", "list"}, {"data", std::move(data)}});
}

void tokenize(const Call& call) {
  const Json json = parse_body(call.request().body);
  const Fields body(json);
  Frontend& frontend = call.service().frontend();
  std::vector<std::int32_t> ids;
  if (body.find("messages") != nullptr) {
    ids = chat_prompt(call.service(), body).ids;
  } else if (const std::optional<std::string> prompt = body.text("prompt")) {
    ids = body.boolean("add_special_tokens").value_or(true) ? frontend.raw_prompt(*prompt).ids
                                                            : frontend.tokenizer().encode(*prompt);
  } else {
    body.refuse("prompt", "a text, or 'messages' in its place");
  }
  Json reply = {
      {"count", ids.size()}, {"max_model_len", frontend.engine().info().max_model_len}, {"tokens", ids}};
  if (body.boolean("return_token_strs").value_or(false)) {
    Json texts = Json::array();
    for (const std::int32_t id : ids) texts.push_back(token_text(frontend.tokenizer(), id));
    reply["token_strs"] = std::move(texts);
  }
  call.reply(reply);
}

void detokenize(const Call& call) {
  const Json json = parse_body(call.request().body);
  const Fields body(json);
  const Json* tokens = body.array("tokens");
  if (tokens == nullptr) body.refuse("tokens", "a list of token ids");
  const std::int64_t vocab_size = call.service().frontend().engine().info().vocab_size;
  std::vector<std::int32_t> ids;
  for (const Json& id : *tokens) {
    if (!id.is_number_integer() || id < 0 || id >= vocab_size) body.refuse("tokens", "a list of token ids");
    ids.push_back(id.get<std::int32_t>());
  }
  call.reply(Json{{"prompt", call.service().frontend().tokenizer().decode(ids)}});
}

}  // namespace latent8
