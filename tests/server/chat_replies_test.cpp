// What the chat APIs make of one answer: its text goes through ChatEvents as the engine's would.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server/chat_completions.h"
#include "server/messages.h"
#include "server/responses.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;
using ::testing::ElementsAre;

class RecordingExchange final : public Exchange {
 public:
  explicit RecordingExchange(const std::string& path) : Exchange(make_request(path)) {}
  void reply(HttpReply reply) override { whole = Json::parse(reply.body); }
  void begin(HttpReply) override {}
  bool write(std::string_view bytes) override {
    stream += bytes;
    return true;
  }
  void end() override { ended = true; }
  void on_abort(std::function<void()>) override {}

  // The events of the stream; each must be one frame, and be named by its type where it has a name.
  std::vector<Json> events() const {
    EXPECT_TRUE(ended);
    std::vector<Json> out;
    for (std::size_t at = 0; at < stream.size();) {
      const std::size_t end = stream.find("\n\n", at);
      std::string frame = stream.substr(at, end - at);
      at = end + 2;
      if (frame == "data: [DONE]") continue;
      std::string name;
      if (frame.starts_with("event: ")) {
        name = frame.substr(7, frame.find('\n') - 7);
        frame.erase(0, frame.find('\n') + 1);
      }
      EXPECT_TRUE(frame.starts_with("data: ")) << frame;
      out.push_back(Json::parse(frame.substr(6)));
      if (!name.empty()) {
        EXPECT_EQ(out.back()["type"], name);
      }
    }
    return out;
  }

  Json whole;
  std::string stream;
  bool ended = false;

 private:
  static HttpRequest make_request(const std::string& path) {
    HttpRequest request;
    request.method = "POST";
    request.path = path;
    return request;
  }
};

Service& service() {
  static Frontend frontend = Frontend::load(std::string(LATENT8_SOURCE_DIR) + "/models/tiny-r1");
  static Service instance(frontend, {.model_names = {"tiny"}, .defaults = {}, .api_keys = {}});
  return instance;
}

struct Answer {
  std::string reasoning = "hm";
  std::vector<std::string> content = {"I", " look.\n<tool_call>wea",
                                      "ther<arg_key>city</arg_key><arg_value>Pa",
                                      "ris</arg_value></tool_call>"};
  TextFinish finish{.reason = FinishReason::kStop,
                    .usage = {.prompt_tokens = 7, .completion_tokens = 9},
                    .message = "",
                    .stop_string = {}};
  bool parallel = true;
};

using MakeReply = std::function<std::unique_ptr<ChatReply>(const Call&, const ChatRequest&)>;

std::shared_ptr<RecordingExchange> tell(const std::string& path, const MakeReply& make, bool stream,
                                        const Answer& answer) {
  const auto exchange = std::make_shared<RecordingExchange>(path);
  const RouteEntry entry{.method = "POST",
                         .path = path,
                         .handle = {},
                         .to_reply = path == "/v1/messages" ? anthropic_reply : openai_reply};
  const Call call(service(), exchange, "id", {.entry = &entry, .parameters = {}, .allowed = ""});
  ChatRequest request;
  request.fields.stream = stream;
  request.fields.include_usage = stream;
  request.prompt.ids.resize(7);
  const std::unique_ptr<ChatReply> reply = make(call, request);
  const auto tools = std::make_shared<const Json>(Json::parse(R"([{"type": "function", "function": {
      "name": "weather", "parameters": {"properties": {"city": {"type": "string"}}}}}])"));
  ChatEvents events(*reply, 1, {.format = ToolFormat::kGlm47, .tools = tools, .parallel = answer.parallel});
  reply->on_start();
  for (int i = 0; i < 2; ++i) events.on_token(0, AnsweredToken{}, /*is_reasoning=*/true);
  if (!answer.reasoning.empty()) events.on_text(0, answer.reasoning, true);
  for (const std::string& piece : answer.content) events.on_text(0, piece, false);
  events.on_finish(0, answer.finish);
  events.on_end();
  return exchange;
}

std::shared_ptr<RecordingExchange> tell_chat(bool stream, const Answer& answer = {}) {
  return tell("/v1/chat/completions", make_chat_reply, stream, answer);
}
std::shared_ptr<RecordingExchange> tell_message(bool stream, const Answer& answer = {}) {
  return tell("/v1/messages", make_message_reply, stream, answer);
}
std::shared_ptr<RecordingExchange> tell_response(bool stream, const Answer& answer = {}) {
  const Json body = {{"model", "tiny"}, {"input", "x"}};
  const auto make = [&](const Call& call, const ChatRequest& request) {
    return make_response_reply(call, request, body);
  };
  return tell("/v1/responses", make, stream, answer);
}

std::vector<std::string> types(const std::vector<Json>& events) {
  std::vector<std::string> out;
  for (const Json& event : events) out.push_back(event["type"].get<std::string>());
  return out;
}

const char* const kArguments = "{\"city\": \"Paris\"}";

TEST(ChatReply, IsAMessageWithCalls) {
  const Json json = tell_chat(false)->whole;

  const Json& choice = json["choices"][0];
  EXPECT_EQ(choice["finish_reason"], "tool_calls");
  EXPECT_EQ(choice["message"]["content"], "I look.");
  EXPECT_EQ(choice["message"]["reasoning_content"], "hm");
  EXPECT_EQ(choice["message"]["reasoning"], "hm");
  ASSERT_EQ(choice["message"]["tool_calls"].size(), 1U);
  const Json& call = choice["message"]["tool_calls"][0];
  EXPECT_EQ(call["type"], "function");
  EXPECT_TRUE(call["id"].get<std::string>().starts_with("call_"));
  EXPECT_EQ(call["function"], Json({{"name", "weather"}, {"arguments", kArguments}}));
  EXPECT_EQ(json["usage"]["completion_tokens_details"]["reasoning_tokens"], 2);
}

TEST(ChatReply, StreamsACallAsItsNameAndPiecesOfArguments) {
  const std::vector<Json> events = tell_chat(true)->events();

  std::string content, arguments;
  Json first;
  for (const Json& event : events) {
    if (event["choices"].empty()) continue;
    const Json& delta = event["choices"][0]["delta"];
    content += delta.value("content", "");
    if (!delta.contains("tool_calls")) continue;
    const Json& call = delta["tool_calls"][0];
    EXPECT_EQ(call["index"], 0);
    if (first.is_null()) first = call;
    arguments += call["function"]["arguments"].get<std::string>();
  }
  EXPECT_EQ(content, "I look.");
  EXPECT_EQ(first["function"], Json({{"name", "weather"}, {"arguments", ""}}));
  EXPECT_EQ(first["type"], "function");
  EXPECT_EQ(arguments, kArguments);
  EXPECT_EQ(events[events.size() - 2]["choices"][0]["finish_reason"], "tool_calls");
  EXPECT_EQ(events.back()["usage"]["total_tokens"], 16);
}

TEST(ChatReply, HasNullContentWhereThereAreCallsAlone) {
  Answer answer;
  answer.content = {"\n<tool_call>f</tool_call><tool_call>g</tool_call>\n"};

  const Json both = tell_chat(false, answer)->whole;
  answer.parallel = false;
  const Json one = tell_chat(false, answer)->whole;

  EXPECT_TRUE(both["choices"][0]["message"]["content"].is_null());
  EXPECT_EQ(both["choices"][0]["message"]["tool_calls"].size(), 2U);
  EXPECT_EQ(one["choices"][0]["message"]["tool_calls"].size(), 1U);
}

TEST(ChatReply, SaysThatTheLengthEndedACall) {
  Answer answer;
  answer.content.pop_back();
  answer.finish.reason = FinishReason::kLength;

  const Json choice = tell_chat(false, answer)->whole["choices"][0];

  EXPECT_EQ(choice["finish_reason"], "length");
  EXPECT_EQ(choice["message"]["tool_calls"][0]["function"]["arguments"], "{\"city\": \"Pa");
}

TEST(ChatReply, TellsThatTheEngineFailed) {
  Answer answer;
  answer.finish = {.reason = FinishReason::kError, .usage = {}, .message = "broken", .stop_string = {}};

  EXPECT_EQ(tell_chat(false, answer)->whole["error"]["message"], "broken");
  EXPECT_EQ(tell_chat(true, answer)->events().back()["error"]["message"], "broken");
  EXPECT_EQ(tell_message(false, answer)->whole["error"]["type"], "api_error");
  EXPECT_EQ(tell_message(true, answer)->events().back()["type"], "error");
  EXPECT_EQ(tell_response(true, answer)->events().back()["response"]["error"]["message"], "broken");
}

TEST(MessageReply, HasABlockForEachPartOfTheAnswer) {
  const Json json = tell_message(false)->whole;

  EXPECT_EQ(json["type"], "message");
  EXPECT_EQ(json["stop_reason"], "tool_use");
  ASSERT_EQ(json["content"].size(), 3U);
  EXPECT_EQ(json["content"][0]["thinking"], "hm");
  EXPECT_EQ(json["content"][1], Json({{"type", "text"}, {"text", "I look."}}));
  EXPECT_EQ(json["content"][2]["type"], "tool_use");
  EXPECT_EQ(json["content"][2]["input"], Json({{"city", "Paris"}}));
  EXPECT_EQ(json["usage"]["input_tokens"], 7);
  EXPECT_EQ(json["usage"]["output_tokens"], 9);
}

TEST(MessageReply, StreamsBlocksOneAfterTheOther) {
  const std::vector<Json> events = tell_message(true)->events();

  std::string text, input;
  std::vector<std::string> starts;
  int open = -1;
  for (const Json& event : events) {
    if (event["type"] == "content_block_start") {
      EXPECT_EQ(open, -1);
      open = event["index"].get<int>();
      EXPECT_EQ(open, static_cast<int>(starts.size()));
      starts.push_back(event["content_block"]["type"].get<std::string>());
    } else if (event["type"] == "content_block_delta") {
      EXPECT_EQ(event["index"], open);
      text += event["delta"].value("text", "");
      input += event["delta"].value("partial_json", "");
    } else if (event["type"] == "content_block_stop") {
      EXPECT_EQ(event["index"], std::exchange(open, -1));
    }
  }
  EXPECT_THAT(starts, ElementsAre("thinking", "text", "tool_use"));
  EXPECT_EQ(text, "I look.");
  EXPECT_EQ(input, kArguments);
  EXPECT_EQ(events.front()["message"]["usage"]["input_tokens"], 7);
  EXPECT_EQ(events[1]["type"], "ping");
  EXPECT_EQ(events[events.size() - 2]["delta"]["stop_reason"], "tool_use");
  EXPECT_EQ(events.back()["type"], "message_stop");
}

TEST(MessageReply, WrapsInputThatIsNoJson) {
  Answer answer;
  answer.content.pop_back();
  answer.finish.reason = FinishReason::kLength;

  const Json json = tell_message(false, answer)->whole;

  EXPECT_EQ(json["stop_reason"], "max_tokens");
  EXPECT_EQ(json["content"].back()["input"], Json({{"INVALID_JSON", "{\"city\": \"Pa"}}));
}

TEST(MessageReply, NamesTheStopSequence) {
  Answer answer;
  answer.content = {"one"};
  answer.finish.stop_string = "two";

  const Json json = tell_message(false, answer)->whole;

  EXPECT_EQ(json["stop_reason"], "stop_sequence");
  EXPECT_EQ(json["stop_sequence"], "two");
}

TEST(ResponseReply, HasAnItemForEachPartOfTheAnswer) {
  const Json json = tell_response(false)->whole;

  EXPECT_EQ(json["object"], "response");
  EXPECT_EQ(json["status"], "completed");
  ASSERT_EQ(json["output"].size(), 3U);
  EXPECT_EQ(json["output"][0]["type"], "reasoning");
  EXPECT_EQ(json["output"][0]["content"][0], Json({{"type", "reasoning_text"}, {"text", "hm"}}));
  EXPECT_EQ(json["output"][1]["content"][0]["text"], "I look.");
  EXPECT_EQ(json["output"][2]["type"], "function_call");
  EXPECT_EQ(json["output"][2]["name"], "weather");
  EXPECT_EQ(json["output"][2]["arguments"], kArguments);
  EXPECT_EQ(json["usage"]["output_tokens_details"]["reasoning_tokens"], 2);
}

TEST(ResponseReply, StreamsEventsInOrder) {
  Answer answer;
  answer.content = {"Hi", " you"};

  const std::vector<Json> events = tell_response(true, answer)->events();

  EXPECT_THAT(
      types(events),
      ElementsAre("response.created", "response.in_progress", "response.output_item.added",
                  "response.content_part.added", "response.reasoning_text.delta",
                  "response.reasoning_text.done", "response.content_part.done", "response.output_item.done",
                  "response.output_item.added", "response.content_part.added", "response.output_text.delta",
                  "response.output_text.delta", "response.output_text.done", "response.content_part.done",
                  "response.output_item.done", "response.completed"));
  for (std::size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i]["sequence_number"], i);
  EXPECT_EQ(events.back()["response"]["output"][1]["content"][0]["text"], "Hi you");
  EXPECT_EQ(events.back()["response"]["output"][1]["id"], events[10]["item_id"]);
}

TEST(ResponseReply, StreamsTheArgumentsOfACall) {
  Answer answer;
  answer.reasoning.clear();
  answer.content = {"<tool_call>weather<arg_key>city</arg_key><arg_value>Paris</arg_value></tool_call>"};

  const std::vector<Json> events = tell_response(true, answer)->events();

  EXPECT_THAT(types(events),
              ElementsAre("response.created", "response.in_progress", "response.output_item.added",
                          "response.function_call_arguments.delta", "response.function_call_arguments.done",
                          "response.output_item.done", "response.completed"));
  EXPECT_EQ(events[4]["arguments"], kArguments);
  EXPECT_EQ(events[2]["item"]["arguments"], "");
}

TEST(ResponseReply, IsIncompleteWhereTheLengthEndedIt) {
  Answer answer;
  answer.finish.reason = FinishReason::kLength;

  const Json json = tell_response(false, answer)->whole;

  EXPECT_EQ(json["status"], "incomplete");
  EXPECT_EQ(json["incomplete_details"]["reason"], "max_output_tokens");
  EXPECT_EQ(json["output"].back()["status"], "incomplete");
}

}  // namespace
}  // namespace latent8
