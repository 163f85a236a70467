// Bodies of the chat APIs as the one form that the model is asked in.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "server/api_error.h"
#include "server/chat_messages.h"
#include "server/messages.h"
#include "server/responses.h"

namespace latent8 {
namespace {

using Json = nlohmann::ordered_json;

// The field that `call` refuses.
template <class Call>
std::string refused(const Call& call) {
  try {
    call();
  } catch (const ApiError& error) {
    EXPECT_EQ(error.status, 400);
    return error.param;
  }
  return "nothing";
}

Json parse(const char* text) { return Json::parse(text); }

Json of_messages(const char* text) {
  const Json body = parse(text);
  return chat_body_of_messages(Fields(body));
}

Json of_response(const char* text) {
  const Json body = parse(text);
  return chat_body_of_response(Fields(body));
}

TEST(ChatMessages, FitArgumentsToTheTemplate) {
  const Json body = parse(R"({"messages": [{"role": "assistant", "tool_calls": [
      {"function": {"name": "f", "arguments": "{\"a\": 1}"}},
      {"id": "x", "function": {"name": "g", "arguments": {"b": 2}}},
      {"function": {"name": "h"}}]}]})");
  Json as_text = read_messages(Fields(body)), as_objects = as_text;

  fit_arguments(as_text, true);
  fit_arguments(as_objects, false);

  EXPECT_EQ(as_text[0]["content"], "");
  EXPECT_EQ(as_text[0]["tool_calls"][0]["type"], "function");
  EXPECT_EQ(as_text[0]["tool_calls"][1]["id"], "x");
  EXPECT_EQ(as_text[0]["tool_calls"][0]["function"]["arguments"], "{\"a\": 1}");
  EXPECT_EQ(as_text[0]["tool_calls"][1]["function"]["arguments"], "{\"b\":2}");
  EXPECT_EQ(as_objects[0]["tool_calls"][0]["function"]["arguments"], parse(R"({"a": 1})"));
  EXPECT_EQ(as_objects[0]["tool_calls"][1]["function"]["arguments"], parse(R"({"b": 2})"));
  EXPECT_EQ(as_objects[0]["tool_calls"][2]["function"]["arguments"], Json::object());
}

TEST(ChatMessages, RefuseArgumentsThatTheTemplateCannotRead) {
  const Json body = parse(
      R"({"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "{"}}]}]})");
  Json messages = read_messages(Fields(body));

  EXPECT_EQ(refused([&] { fit_arguments(messages, false); }), "messages[0].tool_calls[0].function.arguments");
}

TEST(ChatMessages, RefuseTheOlderFormOfCalls) {
  const Json functions = parse(R"({"functions": []})");
  const Json message = parse(R"({"messages": [{"role": "function", "name": "f", "content": "x"}]})");

  EXPECT_EQ(refused([&] { read_tools(Fields(functions)); }), "functions");
  EXPECT_EQ(refused([&] { read_messages(Fields(message)); }), "messages[0].role");
}

TEST(ChatMessages, RefuseARoleThatTemplatesWouldPassOver) {
  const Json body = parse(R"({"messages": [{"role": "User", "content": "x"}]})");

  EXPECT_EQ(refused([&] { read_messages(Fields(body)); }), "messages[0].role");
}

TEST(ChatTools, AreCheckedByName) {
  const auto tools = [](const char* text) {
    const Json body = {{"tools", parse(text)}};
    return refused([&] { read_tools(Fields(body)); });
  };
  EXPECT_EQ(tools(R"([{"type": "function", "function": {"name": "f"}}])"), "nothing");
  EXPECT_EQ(tools(R"([{"type": "web_search"}])"), "tools[0].type");
  EXPECT_EQ(tools(R"([{"function": {"name": "two words"}}])"), "tools[0].function.name");
  EXPECT_EQ(tools(R"([{"function": {"name": "f", "parameters": []}}])"), "tools[0].function.parameters");
}

TEST(ChatTools, AreChosenByWordOrName) {
  const Json tools = parse(R"([{"type": "function", "function": {"name": "f"}}])");
  const auto choose = [&](const char* text) {
    const Json body = {{"tool_choice", parse(text)}};
    return read_tool_choice(Fields(body), tools);
  };
  EXPECT_EQ(choose("\"auto\"").mode, ToolChoice::Mode::kAuto);
  EXPECT_EQ(choose("\"required\"").mode, ToolChoice::Mode::kRequired);
  EXPECT_EQ(choose(R"({"type": "function", "function": {"name": "f"}})").name, "f");
  EXPECT_EQ(refused([&] { choose(R"({"type": "function", "function": {"name": "g"}})"); }),
            "tool_choice.function.name");
  EXPECT_EQ(refused([&] { choose("\"always\""); }), "tool_choice");
}

TEST(MessagesBody, BecomesAChatBody) {
  const Json chat =
      of_messages(R"({"model": "m", "max_tokens": 5, "system": [{"type": "text", "text": "Be brief."}],
      "stop_sequences": ["END"], "thinking": {"type": "disabled"}, "tool_choice": {"type": "any", "disable_parallel_tool_use": true},
      "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
      "messages": [{"role": "user", "content": "Hi"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "s"},
          {"type": "text", "text": "I look."}, {"type": "tool_use", "id": "1", "name": "f", "input": {"a": 1}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "r"}]},
          {"type": "text", "text": "And?"}]}]})");

  EXPECT_EQ(
      chat,
      parse(R"({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
      {"role": "assistant", "content": "I look.", "reasoning_content": "hm",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}]},
      {"role": "tool", "tool_call_id": "1", "content": "r"}, {"role": "user", "content": "And?"}],
      "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}],
      "tool_choice": "required", "parallel_tool_calls": false, "reasoning_effort": "none", "model": "m", "max_tokens": 5,
      "stop": ["END"]})"));
}

TEST(MessagesBody, RefusesWhatThisModelCannotRead) {
  const auto message = [](const std::string& text) {
    return refused([&] { of_messages((R"({"messages": [)" + text + "]}").c_str()); });
  };
  EXPECT_EQ(message(R"({"role": "user", "content": [{"type": "image"}]})"), "messages[0].content[0].type");
  EXPECT_EQ(message(R"({"role": "user", "content": 5})"), "messages[0].content");
  EXPECT_EQ(message(R"({"role": "system", "content": "x"})"), "messages[0].role");
  EXPECT_EQ(message(R"({"role": "user", "content": "x"}, {"role": "assistant", "content": "{"})"),
            "messages[1].role");
  EXPECT_EQ(message(R"({"role": "user", "content": [{"type": "tool_result"}]})"),
            "messages[0].content[0].tool_use_id");
  EXPECT_EQ(message(""), "messages");
  EXPECT_EQ(
      refused([] {
        of_messages(
            R"({"messages": [{"role": "user", "content": "x"}], "tools": [{"type": "bash_20250124", "name": "bash"}]})");
      }),
      "tools[0].type");
}

TEST(ResponsesBody, BecomesAChatBody) {
  const Json chat =
      of_response(R"({"model": "m", "instructions": "Be brief.", "max_output_tokens": 5, "store": true,
      "reasoning": {"effort": "low"}, "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}},
      "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": true}],
      "tool_choice": {"type": "function", "name": "f"},
      "input": [{"role": "user", "content": [{"type": "input_text", "text": "Hi"}]},
        {"type": "reasoning", "id": "rs", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "I look."}]},
        {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "2", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "1", "output": "r"},
        {"role": "assistant", "content": "Done."}]})");

  EXPECT_EQ(
      chat,
      parse(R"({"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"},
      {"role": "assistant", "reasoning_content": "hm", "content": "I look.",
        "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                       {"id": "2", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
      {"role": "tool", "tool_call_id": "1", "content": "r"}, {"role": "assistant", "content": "Done."}],
      "tools": [{"type": "function", "function": {"name": "f", "parameters": {}, "strict": true}}],
      "tool_choice": {"type": "function", "function": {"name": "f"}},
      "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
      "model": "m", "max_tokens": 5, "reasoning_effort": "low"})"));
}

TEST(ResponsesBody, RefusesWhatIsKeptOrRunElsewhere) {
  EXPECT_EQ(refused([] { of_response(R"({"input": "x", "previous_response_id": "resp_1"})"); }),
            "previous_response_id");
  EXPECT_EQ(refused([] { of_response(R"({"input": "x", "background": true})"); }), "background");
  EXPECT_EQ(refused([] { of_response(R"({"input": "x", "tools": [{"type": "web_search"}]})"); }),
            "tools[0].type");
  EXPECT_EQ(refused([] { of_response(R"({"input": [{"type": "item_reference", "id": "1"}]})"); }),
            "input[0].type");
  EXPECT_EQ(refused([] { of_response(R"({"input": []})"); }), "input");
  EXPECT_EQ(refused([] { of_response(R"({})"); }), "input");
  EXPECT_EQ(
      refused([] { of_response(R"({"input": [{"role": "user", "content": [{"type": "input_image"}]}]})"); }),
      "input[0].content[0].type");
}

TEST(ApiErrors, HaveTheShapeThatAnthropicsClientsRead) {
  const ApiError error{.status = 400, .message = "no", .param = "x", .code = ""};

  EXPECT_EQ(Json::parse(anthropic_json(error)),
            parse(R"({"type": "error", "error": {"type": "invalid_request_error", "message": "no"}})"));
}

}  // namespace
}  // namespace latent8
