// POST /generate, /generate_stream, /, /infer, /infer_token

#include <nlohmann/json.hpp>

#include "formats/json.h"
#include "server/api_error.h"
#include "server/mindie/answer.h"
#include "server/mindie/routes.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

std::string event_text(const Json& json) { return "data: " + json_utf8(json) + "\n\n"; }

// ---- TGI

Json tgi_tokens(const std::vector<std::int32_t>& ids) {
  Json list = Json::array();
  for (const std::int32_t id : ids)
    list.push_back({{"id", id}, {"logprob", nullptr}, {"special", nullptr}, {"text", nullptr}});
  return list;
}

Json tgi_details(const MindieAnswer& answer) {
  return {{"prompt_tokens", answer.prompt.ids.size()},
          {"finish_reason", answer.reason},
          {"generated_tokens", answer.ids.size()},
          {"seed", answer.parameters.sampling.seed}};
}

Json tgi_whole(const MindieAnswer& answer) {
  const MindieParameters& asked = answer.parameters;
  Json json = Json::object();
  if (asked.details || asked.prompt_details) {
    json["details"] = tgi_details(answer);
    json["details"]["prefill"] = asked.prompt_details ? tgi_tokens(answer.prompt.ids) : Json::array();
    json["details"]["tokens"] = tgi_tokens(answer.ids);
  }
  json["generated_text"] = answer.text;
  return json;
}

Json tgi_whole_in_list(const MindieAnswer& answer) { return Json::array({tgi_whole(answer)}); }

std::string tgi_event(const MindieAnswer& answer, const MindiePiece& piece) {
  return event_text(
      {{"token", {{"id", piece.id}, {"text", piece.text}, {"logprob", nullptr}, {"special", nullptr}}},
       {"generated_text", piece.last ? Json(answer.text) : Json()},
       {"details", piece.last && answer.parameters.details ? tgi_details(answer) : Json()}});
}

// ---- vLLM

Json vllm_whole(const MindieAnswer& answer) {
  return {{"text", Json::array({answer.prompt.text + answer.text})}};
}

std::string vllm_event(const MindieAnswer&, const MindiePiece& piece) {
  const Json json = {{"text", Json::array({piece.text})}};
  return json_utf8(json) + '\0';
}

// ---- native

Json native_details(const MindieAnswer& answer) {
  return {{"finish_reason", answer.reason},
          {"generated_tokens", answer.ids.size()},
          {"seed", answer.parameters.sampling.seed}};
}

Json native_whole(const MindieAnswer& answer) {
  Json json = {{"generated_text", answer.text}};
  if (!answer.parameters.details) return json;
  json["details"] = native_details(answer);
  json["details"]["generated_token_ids"] = answer.ids;
  return json;
}

std::string native_event(const MindieAnswer& answer, const MindiePiece& piece) {
  Json json = {{"prefill_time", piece.first ? Json(piece.time_ms) : Json()},
               {"decode_time", piece.first ? Json() : Json(piece.time_ms)},
               {"token", {{"id", piece.id}, {"text", piece.text}}}};
  if (piece.last) {
    json["generated_text"] = answer.text;
    json["details"] = answer.parameters.details ? native_details(answer) : Json();
  }
  return event_text(json);
}

constexpr MindieForm kTgi{tgi_whole, tgi_event}, kTgiInList{tgi_whole_in_list, tgi_event},
    kVllm{vllm_whole, vllm_event}, kNative{native_whole, native_event};

// ---- requests

const Json& parameters_of(const Json& body) {
  static const Json kNone = Json::object();
  const Json* given = Fields(body).object("parameters");
  return given == nullptr ? kNone : *given;
}

Prompt text_prompt(const Call& call, const Fields& body, const char* key) {
  const std::optional<std::string> text = body.text(key);
  if (!text || text->empty()) body.refuse(key, "a text that is not empty");
  return call.service().frontend().raw_prompt(*text);
}

void answer_tgi(const Call& call, const Json& json, const MindieForm& form, bool stream) {
  const Fields body(json);
  MindieRequest request = new_mindie_request(call, form, stream);
  request.answer.parameters =
      read_mindie_parameters(Fields(parameters_of(json), "parameters"), call.service().options());
  request.answer.prompt = text_prompt(call, body, "inputs");
  if (stream && request.answer.parameters.prompt_details)
    Fields(parameters_of(json), "parameters").refuse("decoder_input_details", "false in a stream");
  start_mindie_answer(call, std::move(request));
}

void answer_vllm(const Call& call, const Json& json) {
  const Fields body(json);
  call.service().admit(json);
  MindieRequest request = new_mindie_request(call, kVllm, body.boolean("stream").value_or(false));
  request.answer.parameters = read_vllm_parameters(body, call.service().options());
  request.answer.prompt = text_prompt(call, body, "prompt");
  start_mindie_answer(call, std::move(request));
}

}  // namespace

void generate(const Call& call) {
  const Json json = parse_body(call.request().body);
  const Fields body(json);
  const bool is_vllm = body.find("prompt") != nullptr;
  if (is_vllm && body.find("inputs") != nullptr)
    body.refuse("inputs", "nothing beside 'prompt' (TGI's bodies have the one, vLLM's the other)");
  if (is_vllm) return answer_vllm(call, json);
  call.service().admit(Json::object());
  answer_tgi(call, json, kTgi, /*stream=*/false);
}

void generate_stream(const Call& call) {
  call.service().admit(Json::object());
  answer_tgi(call, parse_body(call.request().body), kTgi, /*stream=*/true);
}

void generate_tgi(const Call& call) {
  const Json json = parse_body(call.request().body);
  call.service().admit(Json::object());
  answer_tgi(call, json, kTgiInList, Fields(json).boolean("stream").value_or(false));
}

void infer(const Call& call) {
  const Json json = parse_body(call.request().body);
  const Fields body(json);
  call.service().admit(Json::object());
  MindieRequest request = new_mindie_request(call, kNative, body.boolean("stream").value_or(false));
  request.answer.parameters =
      read_mindie_parameters(Fields(parameters_of(json), "parameters"), call.service().options());
  const std::optional<std::vector<std::int32_t>> ids = body.token_ids("input_id");
  if (ids && body.find("inputs") != nullptr) body.refuse("input_id", "nothing beside 'inputs'");
  request.answer.prompt = ids ? Prompt{.text = "", .ids = *ids} : text_prompt(call, body, "inputs");
  start_mindie_answer(call, std::move(request));
}

}  // namespace latent8
