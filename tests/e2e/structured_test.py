"""Answers bound to a form: JSON schemas, expressions, rules, calls of tools, and the length of the reasoning."""
import json
import re
import tempfile
import unittest
from pathlib import Path

import support
from serve_test import Server, chat

SCHEMAS = [
    {"type": "object", "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer", "minimum": 0, "maximum": 150},
                                      "ok": {"type": "boolean"}}, "required": ["name", "age"], "additionalProperties": False},
    {"type": "array", "items": {"enum": ["red", "green", "blue"]}, "minItems": 1, "maxItems": 4},
    {"type": "object", "properties": {"n": {"$ref": "#/$defs/node"}}, "required": ["n"],
     "$defs": {"node": {"anyOf": [{"type": "null"}, {"type": "object", "properties": {"v": {"type": "integer"}}, "required": ["v"]}]}}},
    {"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"},
]
TOOLS = [{"type": "function", "function": {"name": name, "parameters": {
    "type": "object", "properties": {"city": {"enum": ["Oslo", "Rome"]}}, "required": ["city"], "additionalProperties": False}}}
         for name in ("weather", "time")]
SEEDS = range(6)


def valid(value, schema, root=None):
    """Whether a value is of a schema; of JSON schema what SCHEMAS use."""
    root = root or schema
    if "$ref" in schema:
        return valid(value, root["$defs"][schema["$ref"].rsplit("/")[-1]], root)
    if "anyOf" in schema:
        return any(valid(value, option, root) for option in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    kind = schema["type"]
    if kind == "object":
        properties = schema.get("properties", {})
        return (isinstance(value, dict) and set(schema.get("required", [])) <= set(value) <= set(properties)
                and all(valid(member, properties[key], root) for key, member in value.items()))
    if kind == "array":
        return (isinstance(value, list) and schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", 10**9)
                and all(valid(item, schema["items"], root) for item in value))
    if kind == "string":
        return (isinstance(value, str) and len(value) <= schema.get("maxLength", 10**9)
                and re.search(schema.get("pattern", ""), value) is not None)
    if kind == "integer":
        return type(value) is int and schema.get("minimum", value) <= value <= schema.get("maximum", value)
    return type(value) is {"boolean": bool, "null": type(None)}[kind]


def json_schema(schema, **more):
    return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, **more}}


class Structured(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        probe = cls.server.ask("POST", "/v1/chat/completions", chat(max_tokens=1, response_format={"type": "json_object"}))
        if "no XGrammar" in str(probe[1]):
            raise unittest.SkipTest("built without XGrammar")

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def ask(self, text="Tell me about you.", path="/v1/chat/completions", **more):
        return self.server.post(path, chat(text, **{"temperature": 1, "thinking_budget": 8, "max_tokens": 400, **more}))

    def test_answers_are_of_the_schema(self):
        for schema in SCHEMAS:
            for seed in SEEDS:
                with self.subTest(schema=schema, seed=seed):
                    reply = self.ask(response_format=json_schema(schema), seed=seed, n=3)

                    for choice in reply["choices"]:
                        self.assertEqual(choice["finish_reason"], "stop", choice)
                        self.assertTrue(valid(json.loads(choice["message"]["content"]), schema), choice)
                        self.assertTrue(choice["message"]["reasoning_content"])
                    self.assertEqual(len(reply["choices"]), 3)

    def test_run_and_chat_bind_their_answers(self):
        schema = SCHEMAS[0]
        flags = ("--temperature", 1, "--seed", 3, "--max-tokens", 400)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "person.json")
            file.write_text(json.dumps(schema), encoding="utf-8")

            ran = support.run_json("run", "--model", support.quantized_model(), "--prompt", "Hello.", *flags, "--json-schema", file)
            local = support.run("chat", "--model", support.quantized_model(), "--json", *flags, "--json-schema", json.dumps(schema), text="Hello.\nAnd?\n")
            remote = support.run("chat", "--url", f"http://127.0.0.1:{self.server.port}", "--json", *flags, "--json-schema", file, text="Hello.\n")

        self.assertTrue(valid(json.loads(ran["answer"]), schema), ran)
        self.assertTrue(ran["reasoning"])
        for line in (*local.splitlines(), remote):
            self.assertTrue(valid(json.loads(json.loads(line)["answer"]), schema), line)
        self.assertEqual(len(local.splitlines()), 2)

    def test_run_says_what_of_a_schema_cannot_be_done(self):
        cases = [('{"type": "object", "properties": {"a": {"not": {}}}}', "--json-schema: the schema at /properties/a: 'not' cannot be done"),
                 ('{"type": ', "--json-schema: JSON in UTF-8 expected"), ("/nowhere.json", "/nowhere.json"), ('{"a":' * 1000, "levels"),
                 ("/etc/hostname", "--json-schema /etc/hostname: JSON")]
        for schema, message in cases:
            with self.subTest(schema[:60]):
                self.assertIn(message, support.run("run", "--model", support.FLOAT_MODEL, "--prompt", "a", "--max-tokens", 1, "--json-schema", schema, expect=1))

    def test_a_stream_is_the_same_answer(self):
        for schema in SCHEMAS[:2]:
            body = chat("Hello.", temperature=1, seed=5, max_tokens=300, response_format=json_schema(schema))
            whole = self.server.post("/v1/chat/completions", body)["choices"][0]["message"]

            deltas = [e["choices"][0]["delta"] for e in self.server.events("/v1/chat/completions", body) if e["choices"]]

            self.assertEqual("".join(d.get("content") or "" for d in deltas), whole["content"])
            self.assertTrue(valid(json.loads(whole["content"]), schema))

    def test_other_forms(self):
        cases = [
            ({"response_format": {"type": "json_object"}}, lambda text: isinstance(json.loads(text), dict)),
            ({"structured_outputs": {"regex": "[0-9]{3}-[a-f]{1,8}!"}}, re.compile("[0-9]{3}-[a-f]{1,8}!").fullmatch),
            ({"guided_regex": "(yes|no)"}, {"yes", "no"}.__contains__),
            ({"structured_outputs": {"choice": ["one \"way\"", "zwei W\u00f6rter", "\u4e09"]}},
             {"one \"way\"", "zwei W\u00f6rter", "\u4e09"}.__contains__),
            ({"guided_choice": ["left", "right"]}, {"left", "right"}.__contains__),
            ({"guided_grammar": 'root ::= "<" [a-z]{1,4} ">"'}, re.compile("<[a-z]{1,4}>").fullmatch),
            ({"guided_json": json.dumps(SCHEMAS[1])}, lambda text: valid(json.loads(text), SCHEMAS[1])),
            ({"structured_outputs": {"json": SCHEMAS[0]}}, lambda text: valid(json.loads(text), SCHEMAS[0])),
            ({"response_format": {"type": "structural_tag", "format": {
                "type": "tag", "begin": "<b>", "content": {"type": "regex", "pattern": "[a-z]{2,5}"}, "end": "</b>"}}},
             re.compile("<b>[a-z]{2,5}</b>").fullmatch),
        ]
        for fields, accepts in cases:
            with self.subTest(fields=fields):
                for seed in range(3):
                    choice = self.ask(seed=seed, **fields)["choices"][0]

                    self.assertEqual(choice["finish_reason"], "stop", choice)
                    self.assertTrue(accepts(choice["message"]["content"]), choice)

    def test_completions_take_them_too(self):
        body = {"prompt": ["The key", "A lock"], "temperature": 1, "max_tokens": 100, "n": 2, "guided_choice": ["left", "right"]}

        choices = self.server.post("/v1/completions", body)["choices"]

        self.assertEqual(len(choices), 4)
        self.assertLessEqual({c["text"] for c in choices}, {"left", "right"})

    def test_what_cannot_be_done_is_said(self):
        cases = [
            ({"response_format": json_schema({"type": "object", "properties": {"a": {"not": {}}}})},
             "response_format.json_schema.schema", "'not'"),
            ({"response_format": {"type": "json_schema"}}, "response_format.json_schema", "schema"),
            ({"response_format": {"type": "xml"}}, "response_format.type", "json_schema"),
            ({"guided_regex": "a(?=b)"}, "guided_regex", "ookahead"),
            ({"guided_choice": []}, "guided_choice", "at least one"),
            ({"structured_outputs": {}}, "structured_outputs", "one of"),
            ({"structured_outputs": {"grammar": "root ::="}}, "structured_outputs.grammar", ""),
            ({"guided_regex": "a", "response_format": {"type": "json_object"}}, "guided_regex", "at most one"),
            ({"thinking_budget": -2}, "thinking_budget", "-1"),
            ({"thinking_budget": 3, "max_thinking_tokens": 3}, "max_thinking_tokens", "one budget"),
            ({"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "none"}}}, "tool_choice.function.name", "tools"),
        ]
        for fields, param, message in cases:
            with self.subTest(fields=fields):
                status, reply, _ = self.server.ask("POST", "/v1/chat/completions", chat(**fields))

                self.assertEqual(status, 400, reply)
                self.assertEqual(reply["error"]["param"], param, reply)
                self.assertIn(message, reply["error"]["message"])

    def test_the_reasoning_ends_at_its_budget(self):
        free = self.server.post("/v1/chat/completions", chat())
        most = free["usage"]["completion_tokens_details"]["reasoning_tokens"] - 1
        self.assertGreater(most, 8)
        for fields in ({"thinking_budget": 5}, {"thinking_token_budget": 5}, {"chat_template_kwargs": {"thinking_budget": 5}},
                       {"max_thinking_tokens": 5, "stream": False}):
            with self.subTest(fields=fields):
                reply = self.server.post("/v1/chat/completions", chat(**fields))

                # The tag that closes the reasoning counts as reasoning.
                self.assertEqual(reply["usage"]["completion_tokens_details"]["reasoning_tokens"], 5 + 1)
                self.assertTrue(reply["choices"][0]["message"]["content"])
        enough = self.server.post("/v1/chat/completions", chat(thinking_budget=most))
        self.assertEqual(enough["choices"], free["choices"])

    def test_without_effort_there_is_no_reasoning(self):
        reply = self.server.post("/v1/chat/completions", chat(reasoning_effort="none"))

        self.assertEqual(reply["usage"]["completion_tokens_details"]["reasoning_tokens"], 0)
        self.assertNotIn("reasoning_content", reply["choices"][0]["message"])

    def test_calls_can_be_required(self):
        for seed in SEEDS:
            for choice, names in (("required", {"weather", "time"}),
                                  ({"type": "function", "function": {"name": "time"}}, {"time"})):
                with self.subTest(seed=seed, choice=choice):
                    reply = self.ask(tools=TOOLS, tool_choice=choice, seed=seed, parallel_tool_calls=False)["choices"][0]

                    self.assertEqual(reply["finish_reason"], "tool_calls", reply)
                    self.assertFalse(reply["message"]["content"])
                    (call,) = reply["message"]["tool_calls"]
                    self.assertIn(call["function"]["name"], names)
                    self.assertIn(json.loads(call["function"]["arguments"]), ({"city": "Oslo"}, {"city": "Rome"}))


if __name__ == "__main__":
    unittest.main()
