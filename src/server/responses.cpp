// POST /v1/responses

#include "server/responses.h"

#include <nlohmann/json.hpp>
#include <utility>

#include "server/api_error.h"
#include "server/reply_parts.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;
using Kind = AnswerBlock::Kind;

// What differs between the kinds of output items.
struct ItemWords {
  const char *id_prefix, *part_type, *delta_event, *done_event, *done_key;
};
const ItemWords& words_of(Kind kind) {
  static const ItemWords reasoning{"rs_", "reasoning_text", "response.reasoning_text.delta",
                                   "response.reasoning_text.done", "text"};
  static const ItemWords text{"msg_", "output_text", "response.output_text.delta",
                              "response.output_text.done", "text"};
  static const ItemWords call{"fc_", nullptr, "response.function_call_arguments.delta",
                              "response.function_call_arguments.done", "arguments"};
  return kind == Kind::kReasoning ? reasoning : kind == Kind::kText ? text : call;
}

Json part_json(Kind kind, const std::string& text) {
  Json part = {{"type", words_of(kind).part_type}, {"text", text}};
  if (kind == Kind::kText) part.update({{"annotations", Json::array()}, {"logprobs", Json::array()}});
  return part;
}

class ResponseReply final : public ChatReply {
 public:
  ResponseReply(const Call& call, const ChatRequest& request, const Json& body)
      : call_(call), stream_(request.fields.stream), frame_(make_frame(request, body)) {}

 private:
  void on_start() override {
    if (!stream_) return;
    call_.begin_events();
    send("response.created", {{"response", frame_}});
    send("response.in_progress", {{"response", frame_}});
  }
  void on_block_begin(std::size_t, const AnswerBlock& block) override {
    item_ids_.push_back(new_id(words_of(block.kind).id_prefix));
    if (!stream_) return;
    send("response.output_item.added",
         {{"output_index", block.index}, {"item", item_json(block, "in_progress", /*whole=*/false)}});
    if (block.kind != Kind::kToolCall)
      send_of_part("response.content_part.added", block, {{"part", part_json(block.kind, "")}});
  }
  void on_delta(std::size_t, const AnswerBlock& block, std::string_view delta) override {
    if (!stream_) return;
    Json fields = {{"delta", delta}};
    if (block.kind == Kind::kText) fields["logprobs"] = Json::array();
    send_of_part(words_of(block.kind).delta_event, block, std::move(fields));
  }
  void on_block_end(std::size_t, const AnswerBlock& block) override {
    if (!stream_) return;
    Json fields = {{words_of(block.kind).done_key, block.text}};
    if (block.kind == Kind::kText) fields["logprobs"] = Json::array();
    if (block.kind == Kind::kToolCall) fields["name"] = block.name;
    send_of_part(words_of(block.kind).done_event, block, std::move(fields));
    if (block.kind != Kind::kToolCall)
      send_of_part("response.content_part.done", block, {{"part", part_json(block.kind, block.text)}});
    send("response.output_item.done",
         {{"output_index", block.index}, {"item", item_json(block, "completed", /*whole=*/true)}});
  }
  void on_end(ChatResult result) override {
    const std::string status = !result.failure.empty()                                  ? "failed"
                               : result.answers.front().reason == FinishReason::kLength ? "incomplete"
                                                                                        : "completed";
    Json json = whole(result, status);
    if (stream_) {
      send("response." + status, {{"response", std::move(json)}});
      call_.end_events(/*done_mark=*/false);
    } else if (!result.failure.empty()) {
      call_.refuse({.status = 500, .message = result.failure, .param = "", .code = ""});
    } else {
      call_.reply(json);
    }
  }

  void send(const std::string& type, const Json& fields) {
    Json event = {{"type", type}, {"sequence_number", sequence_number_++}};
    event.update(fields);
    call_.event(type, event);
  }
  void send_of_part(const char* type, const AnswerBlock& block, const Json& fields) {
    Json all = {{"item_id", item_ids_[block.index]}, {"output_index", block.index}};
    if (block.kind != Kind::kToolCall) all["content_index"] = 0;
    all.update(fields);
    send(type, all);
  }

  // whole: with what came, not as it begins.
  Json item_json(const AnswerBlock& block, const char* status, bool whole) const {
    const std::string text = whole ? block.text : "";
    Json item = {{"id", item_ids_[block.index]}};
    if (block.kind == Kind::kToolCall) {
      item.update({{"type", "function_call"},
                   {"call_id", block.id},
                   {"name", block.name},
                   {"arguments", text},
                   {"status", status}});
      return item;
    }
    const Json content = whole ? Json::array({part_json(block.kind, text)}) : Json::array();
    if (block.kind == Kind::kReasoning)
      item.update({{"type", "reasoning"}, {"summary", Json::array()}, {"content", content}});
    else
      item.update({{"type", "message"}, {"role", "assistant"}, {"content", content}});
    item["status"] = status;
    return item;
  }

  Json whole(const ChatResult& result, const std::string& status) const {
    Json json = frame_;
    json["status"] = status;
    const ChatAnswer& answer = result.answers.front();
    for (const AnswerBlock& block : answer.blocks) {
      const bool cut = status == "incomplete" && &block == &answer.blocks.back();
      json["output"].push_back(item_json(block, cut ? "incomplete" : "completed", /*whole=*/true));
    }
    if (status == "incomplete") json["incomplete_details"] = {{"reason", "max_output_tokens"}};
    if (status == "failed") json["error"] = {{"code", "server_error"}, {"message", result.failure}};
    json["usage"] = {{"input_tokens", result.usage.prompt},
                     {"input_tokens_details", {{"cached_tokens", result.usage.cached}}},
                     {"output_tokens", result.usage.completion},
                     {"output_tokens_details", {{"reasoning_tokens", result.usage.reasoning}}},
                     {"total_tokens", result.usage.prompt + result.usage.completion}};
    return json;
  }

  // The response without output; fields of the request that replies repeat are those that it was made with.
  Json make_frame(const ChatRequest& request, const Json& body) const {
    const auto given = [&](const char* key, Json otherwise) {
      const Json* value = Fields(body).find(key);
      return value == nullptr ? otherwise : *value;
    };
    const SamplingParams& sampling = request.fields.sampling;
    return {{"id", new_id("resp_")},
            {"object", "response"},
            {"created_at", unix_time()},
            {"status", "in_progress"},
            {"background", false},
            {"error", nullptr},
            {"incomplete_details", nullptr},
            {"instructions", given("instructions", nullptr)},
            {"max_output_tokens", given("max_output_tokens", nullptr)},
            {"metadata", given("metadata", Json::object())},
            {"model", call_.service().options().model_names.front()},
            {"output", Json::array()},
            {"parallel_tool_calls", given("parallel_tool_calls", true)},
            {"previous_response_id", nullptr},
            {"reasoning", given("reasoning", {{"effort", nullptr}, {"summary", nullptr}})},
            {"store", false},
            {"temperature", given("temperature", sampling.temperature)},
            {"text", given("text", {{"format", {{"type", "text"}}}})},
            {"tool_choice", given("tool_choice", "auto")},
            {"tools", given("tools", Json::array())},
            {"top_p", given("top_p", sampling.top_p)},
            {"truncation", "disabled"},
            {"usage", nullptr}};
  }

  Call call_;
  bool stream_;
  Json frame_;
  std::vector<std::string> item_ids_;  // by block
  std::int64_t sequence_number_ = 0;
};

}  // namespace

std::unique_ptr<ChatReply> make_response_reply(const Call& call, const ChatRequest& request,
                                               const Json& body) {
  return std::make_unique<ResponseReply>(call, request, body);
}

void responses(const Call& call) {
  const Json json = parse_body(call.request().body);
  call.service().admit(json);
  ChatRequest request = read_chat_request(call.service(), chat_body_of_response(Fields(json)));
  auto reply = make_response_reply(call, request, json);
  answer_chat(call, std::move(request), std::move(reply));
}

}  // namespace latent8
