"""Tools over the three chat APIs of latent8 serve, and the clients of PyPI that speak them. models/tiny-r1 calls no tool by
itself, so calls are forced: the server's grammar lets nothing else come."""
import asyncio
import json
import sys
import unittest

import support
from serve_test import Server, chat

sys.path[:0] = [str(path) for path in sorted((support.SOURCE / "build/venv/lib").glob("python3*/site-packages"))]
try:
    import openai
except ImportError:
    openai = None
try:
    import anthropic
except ImportError:
    anthropic = None

MISSING = "no {} in build/venv; get it with: make deps"
SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Paris", "Rome"]}, "days": {"enum": [1, 2]}},
          "required": ["city", "days"], "additionalProperties": False}
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "The weather.", "parameters": SCHEMA}},
         {"type": "function", "function": {"name": "clock", "parameters": {"type": "object", "properties": {}}}}]
WEATHER = {"type": "function", "function": {"name": "weather"}}
CALL = {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Rome", "days": 1}'}}


class ServerCase(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)
        status, reply, _ = cls.server.ask("POST", "/v1/chat/completions", chat(tools=TOOLS, tool_choice=WEATHER))
        cls.refusal = "" if status == 200 else json.dumps(reply)

    def need_forcing(self):
        """A build without XGrammar says so."""
        if "XGrammar" in self.refusal or "enforce" in self.refusal:
            self.skipTest(self.refusal)

    def check_arguments(self, text):
        arguments = json.loads(text)
        self.assertIn(arguments["city"], ["Paris", "Rome"])
        self.assertIn(arguments["days"], [1, 2])


class Tools(ServerCase):
    def test_a_named_tool_is_called(self):
        self.need_forcing()

        choice = self.server.post("/v1/chat/completions", chat(tools=TOOLS, tool_choice=WEATHER))["choices"][0]

        self.assertEqual(choice["finish_reason"], "tool_calls")
        self.assertIsNone(choice["message"]["content"])
        self.assertTrue(choice["message"]["reasoning_content"])
        [call] = choice["message"]["tool_calls"]
        self.assertEqual(call["function"]["name"], "weather")
        self.check_arguments(call["function"]["arguments"])

    def test_a_streamed_call_is_the_whole_one_in_pieces(self):
        self.need_forcing()
        body = chat(tools=TOOLS, tool_choice="required", parallel_tool_calls=False, seed=1)
        whole = self.server.post("/v1/chat/completions", body)["choices"][0]

        events = self.server.events("/v1/chat/completions", body)

        deltas = [e["choices"][0]["delta"] for e in events]
        calls = [d["tool_calls"][0] for d in deltas if "tool_calls" in d]
        [call] = whole["message"]["tool_calls"]
        self.assertEqual(calls[0]["function"], {"name": call["function"]["name"], "arguments": ""})
        self.assertEqual(calls[0]["type"], "function")
        self.assertEqual("".join(c["function"]["arguments"] for c in calls), call["function"]["arguments"])
        self.assertTrue(all(c["index"] == 0 for c in calls))
        self.assertEqual("".join(d.get("reasoning_content", "") for d in deltas), whole["message"]["reasoning_content"])
        self.assertEqual(events[-1]["choices"][0]["finish_reason"], "tool_calls")

    def test_calls_and_their_results_reach_the_template(self):
        turns = [{"role": "user", "content": "How is Rome?"}, {"role": "assistant", "content": None, "tool_calls": [CALL]},
                 {"role": "tool", "tool_call_id": "call_1", "content": "sunny, 21 degrees"}]
        as_object = {**CALL, "function": {"name": "weather", "arguments": {"city": "Rome", "days": 1}}}

        ids = self.server.post("/tokenize", {"messages": turns, "tools": TOOLS})["tokens"]
        text = self.server.post("/detokenize", {"tokens": ids})["prompt"]
        turns[1]["tool_calls"] = [as_object]
        same = self.server.post("/tokenize", {"messages": turns, "tools": TOOLS})["count"]

        self.assertIn('weather\n```json\n{"city": "Rome", "days": 1}', text)
        self.assertIn("sunny, 21 degrees", text)
        self.assertLess(abs(same - len(ids)), 8)

    def test_what_is_wrong_with_tools_is_said_by_name(self):
        for more, param in (({"tools": [{"type": "web"}]}, "tools[0].type"), ({"functions": [{"name": "f"}]}, "functions"),
                            ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "no"}}},
                             "tool_choice.function.name"),
                            ({"tools": TOOLS, "tool_choice": "perhaps"}, "tool_choice"),
                            ({"tools": TOOLS, "parallel_tool_calls": 1}, "parallel_tool_calls")):
            with self.subTest(param=param):
                error = self.server.post("/v1/chat/completions", chat(**more), expect=400)["error"]
                self.assertEqual(error["param"], param)

    def test_errors_of_messages_have_anthropics_shape(self):
        body = {"max_tokens": 5, "messages": [{"role": "user", "content": "Hi"}]}
        for change, status, kind in (({"max_tokens": 0}, 400, "invalid_request_error"), ({"model": "x"}, 404, "not_found_error"),
                                     ({"messages": []}, 400, "invalid_request_error")):
            with self.subTest(change=change):
                reply = self.server.post("/v1/messages", {**body, **change}, expect=status)
                self.assertEqual(reply["type"], "error")
                self.assertEqual(reply["error"]["type"], kind)

    def test_tokens_of_messages_are_counted(self):
        count = self.server.post("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "Hi"}]})
        reply = self.server.post("/v1/messages", {"max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]})

        self.assertEqual(count["input_tokens"], reply["usage"]["input_tokens"])
        self.assertEqual(reply["stop_reason"], "max_tokens")

    def test_all_chat_routes_give_the_same_answer(self):
        text = chat()["messages"][0]["content"]
        message = self.server.post("/v1/chat/completions", chat())["choices"][0]["message"]

        response = self.server.post("/v1/responses", {"input": text, "temperature": 0})
        blocks = self.server.post("/v1/messages", {"messages": [{"role": "user", "content": text}], "temperature": 0,
                                                   "max_tokens": 1000})["content"]

        self.assertEqual(response["status"], "completed")
        self.assertEqual([i["content"][0]["text"] for i in response["output"]],
                         [message["reasoning_content"], message["content"]])
        self.assertEqual([b.get("thinking", b.get("text")) for b in blocks],
                         [message["reasoning_content"], message["content"]])


@unittest.skipIf(openai is None, MISSING.format("openai"))
class OpenAi(ServerCase):
    """The package `openai`: what it reads of a stream must be what it reads of the whole reply."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = openai.OpenAI(base_url=f"http://127.0.0.1:{cls.server.port}/v1", api_key="none", max_retries=0)
        cls.model = cls.client.models.list().data[0].id

    def test_chat_streams_tool_calls(self):
        self.need_forcing()
        request = {"model": self.model, "messages": chat()["messages"], "temperature": 0, "tools": TOOLS, "tool_choice": WEATHER}

        whole = self.client.chat.completions.create(**request)
        with self.client.chat.completions.stream(**request) as stream:
            streamed = stream.get_final_completion()

        for reply in (whole, streamed):
            [call] = reply.choices[0].message.tool_calls
            self.assertEqual((call.type, call.function.name), ("function", "weather"))
            self.check_arguments(call.function.arguments)
        self.assertEqual(whole.choices[0].message.tool_calls[0].function.arguments,
                         streamed.choices[0].message.tool_calls[0].function.arguments)

    def test_responses_answer_text(self):
        request = {"model": self.model, "input": "What's deep learning?", "temperature": 0}

        whole = self.client.responses.create(**request)
        with self.client.responses.stream(**request) as stream:
            events = list(stream)
            streamed = stream.get_final_response()

        self.assertTrue(whole.output_text)
        self.assertEqual(streamed.output_text, whole.output_text)
        self.assertEqual([e.sequence_number for e in events if e.type != "response.output_text.done"][:3], [0, 1, 2])
        self.assertEqual("".join(e.delta for e in events if e.type == "response.output_text.delta"), whole.output_text)
        self.assertGreater(whole.usage.output_tokens_details.reasoning_tokens, 0)

    def test_responses_call_functions(self):
        self.need_forcing()
        tools = [{"type": "function", **t["function"]} for t in TOOLS]
        request = {"model": self.model, "input": "The weather?", "temperature": 0, "tools": tools,
                   "tool_choice": {"type": "function", "name": "weather"}}

        whole = self.client.responses.create(**request)
        with self.client.responses.stream(**request) as stream:
            streamed = stream.get_final_response()
        [call] = [i for i in whole.output if i.type == "function_call"]
        after = self.client.responses.create(
            model=self.model, temperature=0, max_output_tokens=4, tools=tools,
            input=[{"role": "user", "content": "The weather?"}, *[i.model_dump() for i in whole.output],
                   {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}])

        self.assertEqual(call.name, "weather")
        self.check_arguments(call.arguments)
        self.assertEqual([i.arguments for i in streamed.output if i.type == "function_call"], [call.arguments])
        self.assertEqual(after.status, "incomplete")

    def test_what_is_not_kept_is_refused(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.responses.create(model=self.model, input="x", previous_response_id="resp_1")
        self.assertEqual(caught.exception.body["param"], "previous_response_id")


@unittest.skipIf(anthropic is None, MISSING.format("anthropic"))
class Anthropic(ServerCase):
    """The package `anthropic`, which coding agents speak."""

    TOOLS = [{"name": "weather", "description": "The weather.", "input_schema": SCHEMA}]
    MESSAGES = [{"role": "user", "content": "What's deep learning?"}]

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.client = anthropic.Anthropic(base_url=f"http://127.0.0.1:{cls.server.port}", api_key="none", max_retries=0)
        cls.model = cls.server.ask("GET", "/v1/models")[1]["data"][0]["id"]

    def ask(self, **more):
        return {"model": self.model, "max_tokens": 1000, "messages": self.MESSAGES, "extra_body": {"temperature": 0}, **more}

    def test_a_message_has_thinking_and_text(self):
        whole = self.client.messages.create(**self.ask())
        with self.client.messages.stream(**self.ask()) as stream:
            text = "".join(stream.text_stream)
            streamed = stream.get_final_message()

        self.assertEqual([b.type for b in whole.content], ["thinking", "text"])
        self.assertEqual(text, whole.content[1].text)
        self.assertEqual([b.model_dump(exclude={"signature"}) for b in streamed.content],
                         [b.model_dump(exclude={"signature"}) for b in whole.content])
        self.assertEqual((streamed.stop_reason, whole.stop_reason), ("end_turn", "end_turn"))
        self.assertEqual(streamed.usage.output_tokens, whole.usage.output_tokens)

    def test_a_tool_is_used_and_its_result_read(self):
        self.need_forcing()
        request = self.ask(tools=self.TOOLS, tool_choice={"type": "tool", "name": "weather"})

        whole = self.client.messages.create(**request)
        with self.client.messages.stream(**request) as stream:
            streamed = stream.get_final_message()
        [use] = [b for b in whole.content if b.type == "tool_use"]
        after = self.client.messages.create(**{**self.ask(tools=self.TOOLS), "max_tokens": 4, "messages": [
            *self.MESSAGES, {"role": "assistant", "content": [b.model_dump() for b in whole.content]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use.id, "content": "sunny"}]}]})

        self.assertEqual(whole.stop_reason, "tool_use")
        self.check_arguments(json.dumps(use.input))
        self.assertEqual([b.input for b in streamed.content if b.type == "tool_use"], [use.input])
        self.assertEqual(after.stop_reason, "max_tokens")

    def test_the_asynchronous_client_streams_thinking_text_and_tools(self):
        self.need_forcing()
        forced = self.ask(tools=self.TOOLS, tool_choice={"type": "tool", "name": "weather"})

        async def all_events():
            async with anthropic.AsyncAnthropic(base_url=str(self.client.base_url), api_key="none", max_retries=0) as client:
                async def one(request):
                    async with client.messages.stream(**request) as stream:
                        return [event async for event in stream], await stream.get_final_message()
                return await asyncio.gather(*[one(request) for request in (self.ask(), forced, self.ask(), forced)])

        talk, call, *again = asyncio.run(all_events())
        for (events, message), kinds in ((talk, ["thinking", "text"]), (call, ["thinking", "tool_use"])):
            self.assertEqual([b.type for b in message.content], kinds)
            thinking = "".join(e.thinking for e in events if e.type == "thinking")
            self.assertEqual(thinking, message.content[0].thinking)
        self.assertEqual("".join(e.text for e in talk[0] if e.type == "text"), talk[1].content[1].text)
        self.check_arguments("".join(e.partial_json for e in call[0] if e.type == "input_json"))
        self.assertEqual([m.usage.output_tokens for _, m in again], [m.usage.output_tokens for _, m in (talk, call)])

    def test_a_stop_sequence_is_named(self):
        whole = self.client.messages.create(**self.ask())
        word = whole.content[1].text.split()[2]

        stopped = self.client.messages.create(**self.ask(stop_sequences=[word]))

        self.assertEqual((stopped.stop_reason, stopped.stop_sequence), ("stop_sequence", word))

    def test_tokens_are_counted_and_errors_raised(self):
        count = self.client.messages.count_tokens(model=self.model, messages=self.MESSAGES, system="Be brief.")

        self.assertGreater(count.input_tokens, 4)
        with self.assertRaises(anthropic.NotFoundError):
            self.client.messages.create(**self.ask(model="none"))


if __name__ == "__main__":
    unittest.main()
