// GET /v1/models, GET /v1/models/{model}, POST /tokenize, POST /detokenize

#include <algorithm>
#include <nlohmann/json.hpp>

#include "server/api_error.h"
#include "server/chat_request.h"
#include "server/fields.h"
#include "server/reply_parts.h"
#include "server/service.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

Json model_json(Service& service, const std::string& name) {
  return {{"id", name},
          {"object", "model"},
          {"created", service.start_time()},
          {"owned_by", "latent8"},
          {"root", service.options().model_names.front()},
          {"max_model_len", service.frontend().engine().info().max_model_len}};
}

}  // namespace

void list_models(const Call& call) {
  Json data = Json::array();
  for (const std::string& name : call.service().options().model_names)
    data.push_back(model_json(call.service(), name));
  call.reply(Json{{"object", "list"}, {"data", std::move(data)}});
}

void show_model(const Call& call) {
  call.service().admit_model(call.parameter("model"));
  call.reply(model_json(call.service(), call.parameter("model")));
}

void tokenize(const Call& call) {
  const Json json = parse_body(call.request().body);
  const Fields body(json);
  Frontend& frontend = call.service().frontend();
  std::vector<std::int32_t> ids;
  if (body.find("messages") != nullptr) {
    ids = chat_prompt(call.service(), body).ids;
  } else if (const std::optional<std::string> prompt = body.text("prompt")) {
    ids = body.boolean("add_special_tokens").value_or(true) ? frontend.tokenizer().encode_prompt(*prompt)
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
  const std::optional<std::vector<std::int32_t>> ids =
      body.token_ids("tokens", call.service().options().vocab_size);
  if (!ids) body.refuse("tokens", "a list of token ids");
  call.reply(Json{{"prompt", call.service().frontend().tokenizer().decode(*ids)}});
}

}  // namespace latent8
