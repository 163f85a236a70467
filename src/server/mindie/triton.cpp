// /v2 and /v2/models/{model}: Triton's routes

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "formats/json.h"
#include "latent8/version.h"
#include "server/api_error.h"
#include "server/mindie/answer.h"
#include "server/mindie/routes.h"
#include "server/named_generations.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

// ---- text

Json text_json(const MindieAnswer& answer, const std::string& text) {
  Json json = {
      {"id", answer.id}, {"model_name", answer.model}, {"model_version", nullptr}, {"text_output", text}};
  if (!answer.parameters.details) return json;
  if (!answer.reason.empty()) json["details"]["finish_reason"] = answer.reason;
  json["details"]["generated_tokens"] = answer.ids.size();
  json["details"]["first_token_cost"] = nullptr;
  json["details"]["decode_cost"] = nullptr;
  return json;
}

Json text_whole(const MindieAnswer& answer) { return text_json(answer, answer.text); }

std::string text_event(const MindieAnswer& answer, const MindiePiece& piece) {
  Json json = text_json(answer, piece.text);
  if (answer.parameters.details) {
    json["prefill_time"] = piece.first ? Json(piece.time_ms) : Json(nullptr);
    json["decode_time"] = piece.first ? Json(nullptr) : Json(piece.time_ms);
  }
  return "data:" + json_utf8(json) + "\n\n";
}

// ---- tokens

Json tensor(const std::string& name, const Json& shape) {
  return {{"name", name}, {"shape", shape}, {"datatype", "UINT32"}};
}

Json token_whole(const MindieAnswer& answer) {
  Json output = tensor(answer.output_name, {1, answer.ids.size()});
  output["data"] = answer.ids;
  return {{"id", answer.id}, {"outputs", Json::array({std::move(output)})}};
}

constexpr MindieForm kText{text_whole, text_event}, kTokens{token_whole, nullptr};

// ---- requests

// The client's own name for the request, "" without one.
std::string user_id(const Fields& body) {
  constexpr std::size_t kLongest = 256;
  const std::string id = body.text("id").value_or("");
  const bool fits = id.size() <= kLongest && std::all_of(id.begin(), id.end(), [](char c) {
                      return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
                             c == '_' || c == '-';
                    });
  if (!fits) body.refuse("id", "at most 256 letters, digits, '_' and '-'");
  return id;
}

MindieRequest new_request(const Call& call, const Fields& body, const MindieForm& form, bool stream) {
  check_model(call);
  call.service().admit(Json::object());
  MindieRequest request = new_mindie_request(call, form, stream);
  request.answer.model = call.parameter("model");
  request.user_id = user_id(body);
  if (!request.user_id.empty()) request.answer.id = request.user_id;
  return request;
}

void answer_text(const Call& call, bool stream) {
  const Json json = parse_body(call.request().body);
  const Fields body(json);
  MindieRequest request = new_request(call, body, kText, stream);
  const Json* parameters = body.object("parameters");
  const Json none = Json::object();
  request.answer.parameters = read_mindie_parameters(
      Fields(parameters == nullptr ? none : *parameters, "parameters"), call.service().options());
  const std::optional<std::string> text = body.text("text_input");
  if (!text || text->empty()) body.refuse("text_input", "a text that is not empty");
  request.answer.prompt = call.service().frontend().raw_prompt(*text);
  start_mindie_answer(call, std::move(request));
}

// The one tensor of inputs: {"name", "shape": [n] or [1, n], "datatype": "UINT32", "data"}.
std::vector<std::int32_t> read_tensor(const Fields& input) {
  if (!input.text("name")) input.refuse("name", "a text");
  if (input.text("datatype").value_or("") != "UINT32") input.refuse("datatype", "'UINT32'");
  const Json* data = input.array("data");
  if (data == nullptr) input.refuse("data", "a list of token ids");
  const Json* shape = input.array("shape");
  const bool fits = shape != nullptr && (*shape == Json{data->size()} || *shape == Json{1, data->size()});
  if (!fits) input.refuse("shape", fmt::format("[{0}] or [1, {0}], as 'data' has it,", data->size()));
  return *input.token_ids("data");
}

}  // namespace

void check_model(const Call& call) { call.service().admit_model(call.parameter("model")); }

void triton_generate(const Call& call) { answer_text(call, /*stream=*/false); }
void triton_generate_stream(const Call& call) { answer_text(call, /*stream=*/true); }

void triton_infer(const Call& call) {
  const Json json = parse_body(call.request().body);
  const Fields body(json);
  MindieRequest request = new_request(call, body, kTokens, /*stream=*/false);
  const Json* inputs = body.array("inputs");
  if (inputs == nullptr || inputs->size() != 1) body.refuse("inputs", "a list of one tensor");
  const Fields input(inputs->front(), "inputs[0]");
  request.answer.prompt = {.text = "", .ids = read_tensor(input)};
  const Json* outputs = body.array("outputs");
  if (outputs == nullptr || outputs->size() != 1) body.refuse("outputs", "a list of one object with 'name'");
  request.answer.output_name = Fields(outputs->front(), "outputs[0]").text("name").value_or("output0");
  // Its documents have them in the body, its code in the tensor.
  const Json* parameters = body.object("parameters");
  if (parameters == nullptr) parameters = input.object("parameters");
  const Json none = Json::object();
  request.answer.parameters = read_mindie_parameters(
      Fields(parameters == nullptr ? none : *parameters, "parameters"), call.service().options());
  start_mindie_answer(call, std::move(request));
}

void triton_stop(const Call& call) {
  check_model(call);
  const Json json = parse_body(call.request().body);
  const Fields body(json);
  const std::string id = body.text("id").value_or("");
  if (id.empty()) body.refuse("id", "the 'id' of a request under way");
  const std::shared_ptr<Generation> generation = call.service().named_generations().find(id);
  if (generation == nullptr)
    throw ApiError{.status = 404, .message = "no request under way has this id", .param = "id", .code = ""};
  generation->cancel();
  call.reply(Json{{"id", id}});
}

void triton_server(const Call& call) {
  const ServiceOptions& options = call.service().options();
  call.reply(Json{{"name", "latent8"},
                  {"version", kVersion},
                  {"extensions",
                   {{"max_iter_times", call.service().longest_answer()},
                    {"prefill_policy_type", 0},
                    {"decode_policy_type", 0},
                    {"max_prefill_batch_size", options.max_num_seqs},
                    {"max_prefill_tokens", options.max_num_batched_tokens}}}});
}

void triton_model(const Call& call) {
  check_model(call);
  call.reply(Json{{"name", call.parameter("model")},
                  {"platform", "latent8"},
                  {"inputs", Json::array({tensor("input0", {-1})})},
                  {"outputs", Json::array({tensor("output0", {-1})})}});
}

void triton_model_config(const Call& call) {
  check_model(call);
  const ServiceOptions& options = call.service().options();
  call.reply(Json{{"model_name", call.parameter("model")},
                  {"input_datatype", "TYPE_UINT32"},
                  {"output_datatype", "TYPE_UINT32"},
                  {"max_seq_len", call.service().frontend().engine().info().max_model_len},
                  {"npu_mem_size", options.cache_gib},
                  {"cpu_mem_size", 0},
                  {"world_size", 1},
                  {"model_weight_path", options.model_folder},
                  {"model_instance_type", "Standard"}});
}

}  // namespace latent8
