"""The client libraries that people use, unmodified, as they come from PyPI (tools/deps.sh puts them into build/venv)."""
import asyncio
import sys
import unittest

import support
from serve_test import QUESTION, Server, chat

sys.path[:0] = [str(path) for path in sorted((support.SOURCE / "build/venv/lib").glob("python3*/site-packages"))]
try:
    import anthropic
    import openai
except ImportError:
    anthropic = openai = None

MESSAGES = [{"role": "user", "content": QUESTION}]


@unittest.skipIf(openai is None, "no openai in build/venv: make deps fetches it")
class OpenAi(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--api-key", "secret")
        cls.addClassCleanup(cls.server.stop)
        cls.url = f"http://127.0.0.1:{cls.server.port}/v1"
        cls.client = openai.OpenAI(base_url=cls.url, api_key="secret", max_retries=0)
        cls.addClassCleanup(cls.client.close)
        cls.model = cls.client.models.list().data[0].id
        cls.expected = cls.server.post("/v1/chat/completions", chat(), headers={"x-api-key": "secret"})["choices"][0]["message"]

    def ask(self, **more):
        return self.client.chat.completions.create(model=self.model, messages=MESSAGES, temperature=0, **more)

    def test_a_chat_answer(self):
        answer = self.ask()

        message = answer.choices[0].message
        self.assertEqual(message.content, self.expected["content"])
        self.assertEqual(message.reasoning_content, self.expected["reasoning_content"])
        self.assertEqual(answer.choices[0].finish_reason, "stop")
        self.assertEqual(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens)

    def test_a_streamed_answer(self):
        content, reasoning, usage = "", "", None
        for chunk in self.ask(stream=True, stream_options={"include_usage": True}):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                content += choice.delta.content or ""
                reasoning += getattr(choice.delta, "reasoning_content", None) or ""

        self.assertEqual((content, reasoning), (self.expected["content"], self.expected["reasoning_content"]))
        self.assertGreater(usage.completion_tokens, 0)

    def test_the_helper_that_gathers_a_stream(self):
        with self.client.chat.completions.stream(model=self.model, messages=MESSAGES, temperature=0) as stream:
            final = stream.get_final_completion()

        self.assertEqual(final.choices[0].message.content, self.expected["content"])

    def test_many_at_once_with_the_asynchronous_client(self):
        async def ask_all():
            async with openai.AsyncOpenAI(base_url=self.url, api_key="secret", max_retries=0) as client:
                async def one(stream):
                    reply = await client.chat.completions.create(
                        model=self.model, messages=MESSAGES, temperature=0, stream=stream)
                    if not stream:
                        return reply.choices[0].message.content
                    return "".join([c.choices[0].delta.content or "" async for c in reply])

                return await asyncio.gather(*[one(i % 2 == 0) for i in range(8)])

        self.assertEqual(set(asyncio.run(ask_all())), {self.expected["content"]})

    def test_logprobs(self):
        tokens = self.ask(logprobs=True, top_logprobs=3, max_tokens=4).choices[0].logprobs.content

        self.assertEqual(len(tokens), 4)
        for token in tokens:
            self.assertEqual((len(token.top_logprobs), token.top_logprobs[0].token), (3, token.token))
            self.assertEqual(bytes(token.bytes).decode(), token.token)

    def test_a_completion(self):
        whole = self.client.completions.create(model=self.model, prompt="The key", temperature=0, max_tokens=8, logprobs=2)
        streamed = self.client.completions.create(model=self.model, prompt="The key", temperature=0, max_tokens=8, stream=True)

        self.assertEqual("".join(chunk.choices[0].text for chunk in streamed), whole.choices[0].text)
        self.assertEqual(len(whole.choices[0].logprobs.token_logprobs), 8)

    def test_refusals_become_the_clients_own_errors(self):
        with self.assertRaises(openai.AuthenticationError):
            openai.OpenAI(base_url=self.url, api_key="wrong", max_retries=0).models.list()
        with self.assertRaises(openai.NotFoundError) as unknown:
            self.client.chat.completions.create(model="another", messages=MESSAGES)
        with self.assertRaises(openai.BadRequestError) as wrong:
            self.ask(top_p=7)

        self.assertEqual((unknown.exception.param, wrong.exception.param), ("model", "top_p"))

    def test_a_stream_that_is_left_ends_on_the_server(self):
        stream = self.ask(stream=True, max_tokens=3000, extra_body={"ignore_eos": True})
        next(iter(stream))
        stream.close()

        self.assertEqual(self.ask(max_tokens=4).usage.completion_tokens, 4)

    def test_a_response(self):
        answer = self.client.responses.create(model=self.model, input=QUESTION, temperature=0)
        with self.client.responses.stream(model=self.model, input=QUESTION, temperature=0) as stream:
            streamed = "".join(event.delta for event in stream if event.type == "response.output_text.delta")

        self.assertEqual((answer.output_text, streamed), (self.expected["content"], self.expected["content"]))
        self.assertEqual(answer.status, "completed")


@unittest.skipIf(anthropic is None, "no anthropic in build/venv: make deps fetches it")
class Anthropic(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--api-key", "secret")
        cls.addClassCleanup(cls.server.stop)
        cls.client = anthropic.Anthropic(base_url=f"http://127.0.0.1:{cls.server.port}", api_key="secret", max_retries=0)
        cls.addClassCleanup(cls.client.close)
        cls.expected = cls.server.post("/v1/chat/completions", chat(), headers={"x-api-key": "secret"})

    def message(self):
        return {"model": self.expected["model"], "max_tokens": 1000, "messages": MESSAGES, "extra_body": {"temperature": 0}}

    def test_a_message(self):
        answer = self.client.messages.create(**self.message())

        self.assertEqual("".join(b.text for b in answer.content if b.type == "text"), self.expected["choices"][0]["message"]["content"])
        self.assertEqual(answer.stop_reason, "end_turn")
        self.assertEqual(answer.usage.output_tokens, self.expected["usage"]["completion_tokens"])

    def test_a_streamed_message(self):
        with self.client.messages.stream(**self.message()) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()

        self.assertEqual(text, self.expected["choices"][0]["message"]["content"])
        self.assertEqual(final.stop_reason, "end_turn")

    def test_tokens_are_counted_and_refusals_are_the_clients_own_errors(self):
        counted = self.client.messages.count_tokens(model=self.expected["model"], messages=MESSAGES)

        self.assertEqual(counted.input_tokens, self.expected["usage"]["prompt_tokens"])
        with self.assertRaises(anthropic.BadRequestError):
            self.client.messages.create(**{**self.message(), "extra_body": {"temperature": -1}})
        with self.assertRaises(anthropic.AuthenticationError):
            anthropic.Anthropic(base_url=self.client.base_url, api_key="wrong", max_retries=0).messages.create(**self.message())


if __name__ == "__main__":
    unittest.main()
