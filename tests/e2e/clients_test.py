"""The package `openai`, unmodified, as it comes from PyPI (tools/deps.sh puts it into build/venv). tools_test.py has what is
about tools, /v1/responses and the package `anthropic`."""
import asyncio
import json
import sys
import unittest

import support
from serve_test import QUESTION, Server, chat

sys.path[:0] = [str(path) for path in sorted((support.SOURCE / "build/venv/lib").glob("python3*/site-packages"))]
try:
    import openai
except ImportError:
    openai = None

MESSAGES = [{"role": "user", "content": QUESTION}]
SCHEMA = {"type": "object", "properties": {"city": {"enum": ["Rome", "Oslo"]}}, "required": ["city"], "additionalProperties": False}


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

    def test_structured_output(self):
        form = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA, "strict": True}}
        try:
            answer = self.ask(response_format=form)
        except openai.BadRequestError as error:
            self.assertEqual(error.param, "response_format")
            self.skipTest(f"this program was built without constrained decoding: {error}")

        self.assertIn(json.loads(answer.choices[0].message.content)["city"], ("Rome", "Oslo"))

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


if __name__ == "__main__":
    unittest.main()
