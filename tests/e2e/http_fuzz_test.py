"""Hostile requests: each gets a clear error or a closed connection, and afterwards the server is as it was.

SEED and ROUNDS in the environment choose other mutations and how many."""
import concurrent.futures
import contextlib
import json
import os
import random
import re
import socket
import time
import unittest

from serve_test import QUESTION, Server, chat
from streams_test import process

SEED, ROUNDS = int(os.environ.get("SEED", 11)), int(os.environ.get("ROUNDS", 3000))
PATIENCE = 30  # seconds for a reply or a close
GROWTH = 24 << 20  # bytes that thousands of bad requests may add to the server's memory
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n"
ALLOWED = {200, 304, 400, 401, 404, 405, 408, 413, 415, 422, 429, 431, 501, 505}


def post(path, body, *headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = [f"POST {path} HTTP/1.1", "host: a", f"content-length: {len(data)}", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + data


def exchange(port, *pieces, pause=0.0):
    """What comes back until the server closes or has been silent for a while after a whole reply."""
    data = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as raw:
        with contextlib.suppress(ConnectionError):
            for piece in pieces:
                raw.sendall(piece)
                time.sleep(pause)
            while part := receive(raw, is_whole(data)):
                data += part
        return data


def receive(raw, is_enough):
    """The next bytes; b"" at the end, and after a moment of silence where what came is enough."""
    raw.settimeout(0.5 if is_enough else PATIENCE)
    try:
        return raw.recv(65536)
    except TimeoutError:
        if is_enough:
            return b""
        raise


def is_whole(data):
    head, found, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    return bool(found and length and len(body) >= int(length[1]))


def ask(port, *pieces, **more):
    """Statuses of the replies; a server that says nothing and closes nothing fails the test."""
    try:
        return statuses_in(exchange(port, *pieces, **more))
    except TimeoutError:
        raise AssertionError(f"no reply and no close within {PATIENCE} s: {b''.join(pieces)[:200]!r}") from None


def statuses_in(data):
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) [A-Z]", data)]


class Hostile(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server("--max-num-seqs", 8)
        cls.addClassCleanup(cls.server.stop)
        cls.port = cls.server.port
        cls.before = cls.normal_answer()

    @classmethod
    def normal_answer(cls):
        return cls.server.post("/v1/chat/completions", chat(max_tokens=24))["choices"]

    def tearDown(self):
        """Whatever happened: the same answer, nothing under way, every page of the cache free, no smuggled request."""
        self.assertIsNone(self.server.process.poll(), "the server died:\n" + "".join(self.server.log[-20:]))
        self.assertEqual(self.normal_answer(), self.before)
        until = time.monotonic() + PATIENCE
        while any(self.server.metric(f"latent8_{name}") for name in ("num_requests_running", "num_requests_waiting", "cache_usage_ratio")):
            self.assertLess(time.monotonic(), until, "an answer or a page of the cache is left over")
            time.sleep(0.05)
        self.assertNotIn("smuggled", "".join(self.server.log))

    def test_lengths_that_two_readers_could_take_differently(self):
        body = b'{"prompt": "a"}'
        cases = [
            ["content-length: 3", "content-length: 15"], ["content-length: 15", "content-length: 15, 3"], ["content-length: +15"],
            ["content-length: -1"], ["content-length: 0x0f"], ["content-length: 15 3"], ["content-length: 1e1"], ["content-length:"],
            ["content-length: 18446744073709551631"], ["content-length: 99999999999999999999999"], ["content-length: 9223372036854775807"],
            ["content-length: 15", "transfer-encoding: chunked"], ["transfer-encoding: chunked", "content-length: 15"],
            ["transfer-encoding: chunked, identity"], ["transfer-encoding: xchunked"], ["transfer-encoding: chunked", "transfer-encoding: identity"],
            ["transfer-encoding:\x0bchunked", "content-length: 15"], ["content-length : 15"], [" content-length: 15"], ["content-length: 15\r\n folded: 1"],
            ["content_length: 15", "transfer-encoding: chunked\r\nx"], ["content-length: 15\x00"], ["content-length: 15\rx: y"],
        ]
        for headers in cases:
            with self.subTest(headers):
                head = "\r\n".join(["POST /tokenize HTTP/1.1", "host: a", *headers]).encode("latin-1")
                statuses = ask(self.port, head + b"\r\n\r\n" + body + SMUGGLED)
                self.assertLessEqual(len(statuses), 2)
                # A reader who takes the whole length may read on; one that finds it unclear may not.
                self.assertTrue(set(statuses) <= ALLOWED, statuses)

    def test_chunks_that_are_none(self):
        head = b"POST /tokenize HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        good = b'f\r\n{"prompt": "a"}\r\n0\r\n\r\n'
        self.assertEqual(ask(self.port, head + good), [200])
        self.assertEqual(ask(self.port, *[bytes([b]) for b in head + good]), [200])
        for chunks in (b"zz\r\n", b"-1\r\n", b"ffffffffffffffffff\r\n", b"f" * 70000, b"7fffffffffffffff\r\nabc", b"3\r\nabcd\r\n0\r\n\r\n", b"\r\n\r\n",
                       b"3;" + b"x" * 100000 + b"\r\nabc\r\n", b"0\r\n" + b"x: y\r\n" * 20000, b"1\nx\n0\n\n", b"+3\r\nabc\r\n0\r\n\r\n"):
            with self.subTest(chunks[:20]):
                statuses = ask(self.port, head + chunks + SMUGGLED)
                self.assertNotIn(200, statuses)
                self.assertLessEqual(len(statuses), 1)

    def test_heads_that_are_none(self):
        cases = [
            b"\r\n" * 1000, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 100, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET /health\r\n\r\n",
            b"GET /health HTTP/9.9\r\n\r\n", b"GET  /health HTTP/1.1\r\n\r\n", b"GET /health HTTP/1.1\nhost: a\n\n", b"G\x00T / HTTP/1.1\r\n\r\n",
            b"GET /\x00 HTTP/1.1\r\nhost: a\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"GET / HTTP/1.1\r\n: empty\r\n\r\n",
            b"GET / HTTP/1.1\r\na\x00: b\r\n\r\n", b"GET / HTTP/1.1\r\na: \x00\r\n\r\n", b"GET /" + b"a" * 200000 + b" HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 50000 + b"\r\n", b"GET / HTTP/1.1\r\na: " + b"b" * 200000 + b"\r\n\r\n", b"A" * 100000,
            b"get /health http/1.1\r\n\r\n", b"\xff" * 5000,
        ]
        for head in cases:
            with self.subTest(head[:40]):
                statuses = ask(self.port, head, b"\r\n\r\n" if head.startswith((b"\r\n\r\n", b"A", b"\xff", b"\x16")) else b"")
                self.assertTrue(set(statuses) <= ALLOWED - {200, 304}, statuses)

    def test_targets_that_are_no_routes(self):
        for target in ("/../../etc/passwd", "/page/..%2f..%2fetc%2fpasswd", "/page/%00", "/%", "/%zz", "//health", "/page/", "*", "http://", "a:b",
                       "/v1/chat/completions/", "/HEALTH", "/%ff%fe", "/" + "%25" * 5000, "/?%00", "/health%00", "/page/app.js/.."):
            for method in ("GET", "HEAD", "POST", "OPTIONS", "TRACE", "CONNECT", "DELETE", "X" * 300):
                with self.subTest(f"{method[:10]} {target[:40]}"):
                    statuses = ask(self.port, f"{method} {target} HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: 0\r\n\r\n".encode("latin-1"))
                    self.assertTrue(set(statuses) <= ALLOWED | {204}, statuses)

    def test_values_that_no_field_takes(self):
        values = ["NaN", "Infinity", "-Infinity", "1e400", "-1e400", "-1", "0", "1.5", str(2**31), str(2**63), str(2**64), str(-2**63 - 1), "1" * 5000,
                  '"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"' + "x" * 100000 + '"', "[]", "{}", "null", "true", "[[[[]]]]", "[null]", '{"a": ' * 60 + "1" + "}" * 60,
                  "[" * 100000, '"unfinished', "[1,]", "[-1]", "[1e99]", '[""]', '{"": ""}', '"\\x41"', "01", "+1", ".5", "tru", "'a'"]
        fields = ["model", "messages", "prompt", "temperature", "top_p", "top_k", "min_p", "presence_penalty", "frequency_penalty", "repetition_penalty",
                  "seed", "n", "stop", "stop_token_ids", "max_tokens", "max_completion_tokens", "min_tokens", "ignore_eos", "stream", "stream_options",
                  "logprobs", "top_logprobs", "prompt_logprobs", "echo", "logit_bias", "tools", "tool_choice", "response_format", "chat_template_kwargs",
                  "reasoning_effort", "skip_special_tokens", "user"]
        # The last of equal names counts: the bound on tokens comes last, unless it is what is tried.
        def body(path, field, value):
            known = '"messages": [{"role": "user", "content": "a"}]' if "chat" in path else '"prompt": "a"'
            return "{%s, %s%s: %s}" % (known, "" if field.startswith("max_") else '"max_tokens": 2, ', json.dumps(field), value)

        def one(case):
            path, field, value = case
            reply = exchange(self.port, post(path, body(path, field, value).encode(), "connection: close"))
            return case, reply

        cases = [(path, field, value) for path in ("/v1/chat/completions", "/v1/completions") for field in fields for value in values]
        # Not the right values that ask for a long answer, or for one that may be as long as the context.
        cases = [c for c in cases if not (c[1].startswith("max_") and (len(c[2]) > 9 or c[2] == "null"))]
        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            for (path, field, value), reply in threads.map(one, cases):
                status = int(reply.split(b" ", 2)[1])
                self.assertIn(status, ALLOWED, (path, field, value[:60], reply[:400]))
                if status >= 400:
                    error = json.loads(reply.partition(b"\r\n\r\n")[2])["error"]
                    self.assertTrue(error["message"] and len(error["message"]) < 1000, error)

    def test_a_connection_dropped_at_any_stage_leaves_nothing(self):
        streamed = post("/v1/chat/completions", chat(stream=True, ignore_eos=True, max_tokens=2000))
        for cut in [*range(0, len(streamed), 17), len(streamed)]:
            with socket.create_connection(("127.0.0.1", self.port)) as raw:
                raw.sendall(streamed[:cut])
        for events in range(6):
            with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as raw:
                raw.sendall(streamed)
                data = b""
                while data.count(b"data: ") < events:
                    data += raw.recv(4096)
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # a reset instead of an end
        whole = post("/v1/chat/completions", chat(ignore_eos=True, max_tokens=2000))
        for _ in range(20):
            with socket.create_connection(("127.0.0.1", self.port)) as raw:
                raw.sendall(whole)

    def test_requests_in_one_row_are_answered_in_theirs(self):
        requests = []
        for i in range(40):
            requests += [post("/tokenize", {"prompt": "a" * i, "add_special_tokens": False}), post("/tokenize", b"{"), b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n"]
        requests.append(b"GET /version HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n" + SMUGGLED)

        statuses = ask(self.port, b"".join(requests))

        self.assertEqual(statuses, [200, 400, 200] * 40 + [200])

    def test_a_refusal_reaches_a_client_that_still_sends(self):
        guarded = Server("--api-key", "secret")
        self.addCleanup(guarded.stop)
        for length, status in ((8 << 20, 401), (40 << 20, 413)):
            self.assertEqual(ask(guarded.port, post("/v1/completions", b"x" * length)), [status])

    def test_thousands_of_mutated_requests(self):
        seeds = [
            post("/v1/chat/completions", chat(max_tokens=2)), post("/v1/completions", {"prompt": ["a", "b"], "n": 2, "max_tokens": 2, "logprobs": 1, "echo": False}),
            post("/v1/chat/completions", chat(QUESTION, max_tokens=2, stream=True, stop=["x"], stream_options={"include_usage": True})),
            post("/tokenize", chat()), post("/detokenize", {"tokens": [1, 2, 3]}), b"GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n",
            b"POST /tokenize HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nf\r\n{\"prompt\": \"a\"}\r\n0\r\n\r\n",
        ]

        def mutated(rng):
            data = bytearray(rng.choice(seeds))
            for _ in range(rng.randint(1, 6)):
                at, length = rng.randrange(len(data) + 1), rng.randint(1, 12)
                kind = rng.randrange(6)
                if kind == 0 and at < len(data):
                    data[at] ^= 1 << rng.randrange(8)
                elif kind == 1:
                    del data[at:at + length]
                elif kind == 2:
                    data[at:at] = data[at:at + length] * rng.randint(1, 40)
                elif kind == 3:
                    data[at:at] = rng.randbytes(length)
                elif kind == 4:
                    other = rng.choice(seeds)
                    data[at:] = other[rng.randrange(len(other)):]
                else:
                    data[at:at] = rng.choice([b"\r\n", b"\0", b"\xc3\x28", b'"', b"{", b"[", b"1e999", b"-1", b"\\ud800", b"NaN", b": ", b"\r\n\r\n"])
            return bytes(data)

        def one(number):
            rng = random.Random(f"{SEED} {number}")
            data = mutated(rng)
            cut = rng.randrange(len(data) + 1)
            with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as raw:
                with contextlib.suppress(ConnectionError):
                    raw.sendall(data[:cut])
                    raw.sendall(data[cut:])
                    raw.settimeout(0.2)  # many wait for more: those are dropped
                    reply = b""
                    with contextlib.suppress(TimeoutError):
                        while part := raw.recv(65536):
                            reply += part
                    return number, set(statuses_in(reply))
            return number, set()

        def batch(first, count):
            with concurrent.futures.ThreadPoolExecutor(24) as threads:
                for number, statuses in threads.map(one, range(first, first + count)):
                    self.assertTrue(statuses <= ALLOWED, f"SEED={SEED} number {number}: {statuses}")

        batch(0, ROUNDS // 3)
        memory = process(self.server.process.pid, "VmRSS") << 10
        batch(ROUNDS // 3, ROUNDS - ROUNDS // 3)
        self.assertLess((process(self.server.process.pid, "VmRSS") << 10) - memory, GROWTH)


if __name__ == "__main__":
    unittest.main()
