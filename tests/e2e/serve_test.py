"""latent8 serve, asked over HTTP with Python's own client."""
import contextlib
import http.client
import json
import re
import signal
import socket
import subprocess
import threading
import time
import unittest

import support

QUESTION = "What's deep learning?"


class Server:
    """A running `latent8 serve` on a free port of the loopback."""

    def __init__(self, *flags):
        command = [support.PROGRAM, "serve", "--model", support.quantized_model(), "--port", "0", *flags]
        self.process = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"serving '.*' on https?://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
                break
        else:
            raise AssertionError("the server did not start:\n" + "".join(self.log))
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def stop(self, sent=signal.SIGTERM):
        self.process.send_signal(sent)
        return self.process.wait(timeout=60)

    def connection(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def ask(self, method, path, body=None, headers=None):
        """(status, JSON or text, headers) of one request."""
        with contextlib.closing(self.connection()) as connection:
            data = body if body is None or isinstance(body, (bytes, str)) else json.dumps(body)
            connection.request(method, path, data, {"content-type": "application/json", **(headers or {})})
            reply = connection.getresponse()
            text = reply.read().decode()
            is_json = reply.getheader("content-type", "").startswith("application/json")
            return reply.status, json.loads(text) if is_json else text, dict(reply.getheaders())

    def post(self, path, body, expect=200, **more):
        status, reply, _ = self.ask("POST", path, body, **more)
        assert status == expect, f"{path}: {expect} expected, got {status}: {reply}"
        return reply

    def events(self, path, body):
        """The events of a stream, without its end mark, which must be there."""
        with contextlib.closing(self.connection()) as connection:
            connection.request("POST", path, json.dumps({**body, "stream": True}))
            reply = connection.getresponse()
            assert reply.status == 200 and reply.getheader("content-type") == "text/event-stream"
            lines = [line for line in reply.read().decode().split("\n\n") if line]
        assert lines[-1] == "data: [DONE]", lines[-3:]
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]

    def metric(self, name):
        text = self.ask("GET", "/metrics")[1]
        return float(re.search(rf"^{name}(?:{{[^}}]*}})? (\S+)$", text, re.M)[1])


def read_events(reply, count):
    """The next `count` events of a stream, so that the answer is under way."""
    for _ in range(count):
        while reply.readline().strip():
            pass


def chat(text=QUESTION, **more):
    return {"messages": [{"role": "user", "content": text}], "temperature": 0, **more}


class Serve(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def test_a_chat_answer_is_the_one_of_run(self):
        run = support.run_json("run", "--model", support.quantized_model(), "--prompt", QUESTION, "--temperature", 0)

        reply = self.server.post("/v1/chat/completions", chat())

        choice = reply["choices"][0]
        self.assertEqual(choice["message"]["content"], run["answer"])
        self.assertEqual(choice["message"]["reasoning_content"], run["reasoning"])
        self.assertEqual(choice["finish_reason"], "stop")
        self.assertEqual(reply["usage"]["completion_tokens"], len(run["ids"]))
        self.assertGreater(reply["usage"]["completion_tokens_details"]["reasoning_tokens"], 0)

    def test_a_stream_is_the_whole_answer_in_pieces(self):
        whole = self.server.post("/v1/chat/completions", chat())

        events = self.server.events("/v1/chat/completions", chat(stream_options={"include_usage": True}))

        deltas = [e["choices"][0]["delta"] for e in events if e["choices"]]
        message = whole["choices"][0]["message"]
        self.assertEqual(deltas[0], {"role": "assistant", "content": ""})
        self.assertEqual("".join(d.get("content", "") for d in deltas), message["content"])
        self.assertEqual("".join(d.get("reasoning_content", "") for d in deltas), message["reasoning_content"])
        self.assertEqual(events[-1]["usage"], whole["usage"])
        self.assertEqual(events[-2]["choices"][0]["finish_reason"], "stop")
        self.assertTrue(all(e["usage"] is None for e in events[:-1]))

    def test_the_same_seed_gives_the_same_answers_and_n_different_ones(self):
        body = chat(temperature=4.0, seed=7, n=3, max_tokens=24)

        first, second = (self.server.post("/v1/chat/completions", body) for _ in range(2))

        texts = [c["message"] for c in first["choices"]]
        self.assertEqual(texts, [c["message"] for c in second["choices"]])
        self.assertGreater(len({json.dumps(t) for t in texts}), 1)
        self.assertEqual([c["index"] for c in first["choices"]], [0, 1, 2])

    def test_answers_do_not_depend_on_what_is_asked_beside_them(self):
        alone = [self.server.post("/v1/chat/completions", chat(f"What is {i}?", max_tokens=40)) for i in range(4)]
        together = [None] * 4

        def ask(i):
            together[i] = self.server.post("/v1/chat/completions", chat(f"What is {i}?", max_tokens=40))

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for a, b in zip(alone, together):
            self.assertEqual(a["choices"], b["choices"])

    def test_logprobs_come_with_every_token(self):
        reply = self.server.post("/v1/chat/completions", chat(logprobs=True, top_logprobs=2, max_tokens=5))

        content = reply["choices"][0]["logprobs"]["content"]
        self.assertEqual(len(content), 5)
        for token in content:
            self.assertEqual(len(token["top_logprobs"]), 2)
            self.assertLessEqual(token["logprob"], 0.0)
            self.assertEqual(token["token"], token["top_logprobs"][0]["token"])

    def test_a_completion_takes_text_and_token_ids(self):
        ids = self.server.post("/tokenize", {"prompt": "The key"})["tokens"]

        text = self.server.post("/v1/completions", {"prompt": "The key", "temperature": 0, "max_tokens": 12})
        by_ids = self.server.post("/v1/completions", {"prompt": ids, "temperature": 0, "max_tokens": 12})
        echo = self.server.post(
            "/v1/completions", {"prompt": ["The key", ids], "temperature": 0, "max_tokens": 12, "echo": True})

        self.assertEqual(text["choices"], by_ids["choices"])
        self.assertEqual(text["usage"]["completion_tokens"], 12)
        answer = text["choices"][0]["text"]
        self.assertTrue(echo["choices"][0]["text"].endswith("The key" + answer), echo)
        self.assertTrue(echo["choices"][1]["text"].endswith("The key" + answer), echo)

    def test_the_prompt_is_echoed_with_its_logprobs(self):
        body = {"prompt": "Deep learning is", "max_tokens": 3, "temperature": 0, "logprobs": 2}
        plain = self.server.post("/v1/completions", body)["choices"][0]
        echoed = self.server.post("/v1/completions", {**body, "echo": True})["choices"][0]
        self.assertEqual(echoed["text"], body["prompt"] + plain["text"])
        logprobs = echoed["logprobs"]
        self.assertEqual(len({len(values) for values in logprobs.values()}), 1)
        self.assertIsNone(logprobs["token_logprobs"][0])
        self.assertEqual(logprobs["token_logprobs"][-3:], plain["logprobs"]["token_logprobs"])
        scored = self.server.post("/v1/completions", {**body, "echo": True, "max_tokens": 0})
        self.assertEqual(scored["choices"][0]["logprobs"]["token_logprobs"], logprobs["token_logprobs"][:-3])
        self.assertEqual(scored["choices"][0]["text"], body["prompt"])
        self.assertEqual(scored["usage"]["completion_tokens"], 0)
        # The answer as a prompt has the logprobs that it had as an answer.
        again = self.server.post("/v1/completions", {**body, "prompt": echoed["text"], "prompt_logprobs": 1})
        prompt = again["choices"][0]["prompt_logprobs"]
        ids = self.server.post("/tokenize", {"prompt": echoed["text"]})["tokens"]
        self.assertEqual([prompt[i][str(ids[i])]["logprob"] for i in range(len(ids) - 3, len(ids))],
                         plain["logprobs"]["token_logprobs"])

    def test_a_prompt_that_was_computed_is_found_again(self):
        body = {"prompt": "The same beginning of many prompts. " * 20, "max_tokens": 8, "temperature": 0, "logprobs": 0}
        first = self.server.post("/v1/completions", body)
        second = self.server.post("/v1/completions", body)
        cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
        self.assertEqual(cached, (second["usage"]["prompt_tokens"] - 1) // 128 * 128)
        self.assertGreater(cached, 0)
        self.assertEqual(second["choices"], first["choices"])

    def test_biased_tokens_come_and_ends_wait_for_min_tokens(self):
        ids = self.server.post("/tokenize", {"prompt": " deep", "add_special_tokens": False})["tokens"]
        body = {"prompt": "Deep", "max_tokens": 4, "temperature": 0}
        biased = self.server.post("/v1/completions", {**body, "logit_bias": {str(ids[0]): 100}})
        self.assertEqual(biased["choices"][0]["text"], self.server.post("/detokenize", {"tokens": ids[:1] * 4})["prompt"])
        stopped = self.server.post("/v1/completions", {**body, "max_tokens": 9, "stop": ["e", "a", "i", "o"]})
        self.assertLess(stopped["usage"]["completion_tokens"], 9)
        longer = self.server.post("/v1/completions",
                                  {**body, "max_tokens": 9, "stop": ["e", "a", "i", "o"], "min_tokens": 9})
        self.assertEqual(longer["usage"]["completion_tokens"], 9)

    def test_a_stop_text_over_token_borders_ends_the_answer_before_it(self):
        body = {"prompt": "The key", "temperature": 0, "max_tokens": 64}
        whole = self.server.post("/v1/completions", body)["choices"][0]["text"]
        stop = whole[len(whole) // 2:len(whole) // 2 + 6]

        cut = self.server.post("/v1/completions", {**body, "stop": [stop]})["choices"][0]
        streamed = self.server.events("/v1/completions", {**body, "stop": stop})

        self.assertEqual(cut["text"], whole[:whole.index(stop)])
        self.assertEqual(cut["finish_reason"], "stop")
        self.assertEqual("".join(e["choices"][0]["text"] for e in streamed), cut["text"])

    def test_tokens_go_back_to_text(self):
        tokens = self.server.post("/tokenize", {"prompt": "a key, a lock", "add_special_tokens": False})["tokens"]

        self.assertEqual(self.server.post("/detokenize", {"tokens": tokens})["prompt"], "a key, a lock")

    def test_what_is_wrong_is_said_in_the_shape_that_clients_read(self):
        deep = '{"a":' * 10**6 + "1" + "}" * 10**6
        call = {"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": deep}}]}
        tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
        schema = {"type": "json_schema", "json_schema": {"name": "a", "schema": deep}}
        cases = [
            ("/v1/chat/completions", {"messages": [call]}, 400, "messages[0].tool_calls[0].function.arguments"),
            ("/v1/chat/completions", chat(tools=tools, response_format=schema), 400, "response_format.json_schema.schema"),
            ("/v1/chat/completions", "{", 400, None),
            ("/v1/chat/completions", b"\xff\xfe{}", 400, None),
            ("/v1/chat/completions", '{"messages": "\\ud800"}', 400, None),
            ("/v1/chat/completions", "[" * 100000, 400, None),
            ("/v1/chat/completions", '{"temperature": 1e999}', 400, None),
            ("/v1/chat/completions", "[]", 400, None),
            ("/v1/chat/completions", {}, 400, "messages"),
            ("/v1/chat/completions", {"messages": []}, 400, "messages"),
            ("/v1/chat/completions", {"messages": [1]}, 400, "messages[0]"),
            ("/v1/chat/completions", {"messages": [{"role": "user"}]}, 400, "messages[0].content"),
            ("/v1/chat/completions", chat(temperature="hot"), 400, "temperature"),
            ("/v1/chat/completions", chat(top_p=0), 400, "top_p"),
            ("/v1/chat/completions", chat(n=-1), 400, "n"),
            ("/v1/chat/completions", chat(max_tokens=1.5), 400, "max_tokens"),
            ("/v1/chat/completions", chat(model="another"), 404, "model"),
            ("/v1/chat/completions", chat(logit_bias={"5": 101}), 400, "logit_bias"),
            ("/v1/chat/completions", chat(logit_bias={"007": 1}), 400, "logit_bias"),
            ("/v1/chat/completions", chat(logit_bias={"4096": 1}), 400, "logit_bias"),
            ("/v1/chat/completions", chat(stop_token_ids=[4096]), 400, "stop_token_ids"),
            ("/v1/chat/completions", chat(chat_template_kwargs=1), 400, "chat_template_kwargs"),
            ("/v1/completions", {}, 400, "prompt"),
            ("/v1/completions", {"prompt": [-1]}, 400, "prompt"),
            ("/v1/completions", {"prompt": [10**7]}, 400, None),
            ("/v1/completions", {"prompt": "key " * 100000}, 400, None),
            ("/detokenize", {"tokens": [10**7]}, 400, "tokens"),
            ("/nothing", {}, 404, None),
            ("/v1/models", {}, 405, None),
        ]
        for path, body, status, param in cases:
            with self.subTest(path=path, body=str(body)[:60]):
                got, reply, _ = self.server.ask("POST", path, body)

                self.assertEqual(got, status, reply)
                self.assertEqual(reply["error"]["param"], param)
                self.assertTrue(reply["error"]["message"])
        self.assertEqual(self.server.ask("GET", "/health")[0], 200)

    def test_fields_that_are_not_known_are_ignored(self):
        self.server.post("/v1/chat/completions", chat(max_tokens=1, user="me", something={"else": []}))

    def test_a_request_keeps_the_id_that_it_came_with(self):
        _, _, headers = self.server.ask("GET", "/v1/models", headers={"X-Request-Id": "mine-1"})

        self.assertEqual(headers["x-request-id"], "mine-1")

    def test_a_client_that_leaves_ends_its_answer(self):
        connection = self.server.connection()
        connection.request("POST", "/v1/chat/completions",
                           json.dumps(chat(stream=True, ignore_eos=True, max_tokens=3000)))
        reply = connection.getresponse()
        read_events(reply, 3)
        self.assertEqual(self.server.metric("latent8_num_requests_running"), 1)

        connection.sock.close()
        reply.close()

        until = time.monotonic() + 20
        while self.server.metric("latent8_num_requests_running") > 0:
            self.assertLess(time.monotonic(), until, "the answer goes on without a reader")
            time.sleep(0.05)

    def test_lengths_that_contradict_each_other_are_refused(self):
        with socket.create_connection(("127.0.0.1", self.server.port)) as raw:
            raw.sendall(b"POST /tokenize HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n"
                        b"transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\n\r\n")
            raw.settimeout(20)
            data = b""
            while part := raw.recv(4096):
                data += part
        self.assertIn(b" 400 ", data.split(b"\r\n")[0])
        self.assertNotIn(b" 200 ", data)

    def test_requests_may_follow_each_other_on_one_connection(self):
        with socket.create_connection(("127.0.0.1", self.server.port)) as raw:
            raw.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\nGET /version HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            raw.settimeout(20)
            data = b""
            while part := raw.recv(4096):
                data += part
        self.assertEqual(data.count(b"HTTP/1.1 200 OK"), 2)


class Operation(unittest.TestCase):
    def test_a_key_is_asked_for_where_one_is_set(self):
        server = Server("--api-key", "secret")
        try:
            body = chat(max_tokens=1)
            self.assertEqual(server.ask("POST", "/v1/chat/completions", body)[0], 401)
            self.assertEqual(server.ask("POST", "/v1/chat/completions", body, {"Authorization": "Bearer wrong"})[0], 401)
            self.assertEqual(server.ask("POST", "/v1/chat/completions", body, {"Authorization": "Bearer secret"})[0], 200)
            self.assertEqual(server.ask("POST", "/v1/chat/completions", body, {"x-api-key": "secret"})[0], 200)
            self.assertEqual(server.ask("GET", "/metrics")[0], 401)
            self.assertEqual(server.ask("GET", "/health")[0], 200)
        finally:
            server.stop()

    def test_sigterm_finishes_what_is_under_way(self):
        server = Server()
        connection = server.connection()
        connection.request("POST", "/v1/chat/completions",
                           json.dumps(chat(stream=True, ignore_eos=True, max_tokens=60)))
        reply = connection.getresponse()
        read_events(reply, 3)

        server.process.send_signal(signal.SIGTERM)

        self.assertTrue(reply.read().decode().rstrip().endswith("data: [DONE]"))
        self.assertEqual(server.process.wait(timeout=60), 0)

    def test_a_second_signal_ends_it_at_once(self):
        server = Server()
        connection = server.connection()
        connection.request("POST", "/v1/chat/completions",
                           json.dumps(chat(stream=True, ignore_eos=True, max_tokens=3900)))
        read_events(connection.getresponse(), 3)

        server.process.send_signal(signal.SIGTERM)
        time.sleep(0.3)

        self.assertEqual(server.stop(), 0)

    def test_a_port_that_is_taken_is_an_error_that_names_it(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]

            message = support.run("serve", "--model", support.quantized_model(), "--port", port, expect=1)

        self.assertIn(str(port), message)


if __name__ == "__main__":
    unittest.main()
