"""latent8 chat --url: the terminal of `chat --model` with a model behind a server."""
import json
import os
import unittest
from unittest import mock

import support
from serve_test import QUESTION, Server

FLAGS = ("--temperature", 0, "--max-tokens", 200)


class RemoteChat(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--api-key", "secret")
        cls.addClassCleanup(cls.server.stop)
        cls.url = f"http://127.0.0.1:{cls.server.port}"

    def chat(self, text, *flags, **more):
        return support.run("chat", *flags, *FLAGS, text=text, **more)

    def test_a_conversation_is_the_one_of_a_model_here(self):
        questions = f"{QUESTION}\nWhat is a KV cache?\n/reset\n{QUESTION}\n"

        local = self.chat(questions, "--model", support.quantized_model(), "--json").splitlines()
        remote = self.chat(questions, "--url", self.url + "/v1/", "--api-key", "secret", "--json").splitlines()
        printed = self.chat(QUESTION + "\n", "--url", self.url, "--api-key", "secret")

        answers = [{k: json.loads(line)[k] for k in ("reasoning", "answer")} for line in local]
        self.assertEqual([json.loads(line) for line in remote], answers)
        self.assertEqual(printed, self.chat(QUESTION + "\n", "--model", support.quantized_model()))

    def test_the_key_may_come_from_the_environment(self):
        with mock.patch.dict(os.environ, LATENT8_API_KEY="secret"):
            self.assertTrue(self.chat(QUESTION + "\n", "--url", self.url))

    def test_what_is_wrong_is_said(self):
        cases = [
            (("--url", self.url), 1, "API key"),
            (("--url", self.url, "--api-key", "secret", "--top-p", 0.5, "--stop", "x" * 9, "--chat-template-kwargs", '{"a": 1'), 1, "--chat-template-kwargs"),
            (("--url", "http://127.0.0.1:1"), 1, "http://127.0.0.1:1"),
            (("--url", "127.0.0.1"), 1, "http://HOST"),
            (("--url", self.url.replace("http", "https")), 1, self.url.replace("http", "https")),
            (("--url", self.url, "--model", support.FLOAT_MODEL), 2, "--url"),
            ((), 2, "--model or --url"),
        ]
        for flags, status, message in cases:
            with self.subTest(flags):
                self.assertIn(message, self.chat(QUESTION + "\n", *flags, expect=status))


if __name__ == "__main__":
    unittest.main()
