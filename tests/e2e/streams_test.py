"""A thousand answers streamed at the same time."""
import asyncio
import json
import resource
import time
import unittest
from pathlib import Path

from serve_test import Server

STREAMS, BATCH, KINDS = 1000, 32, 20
LONG, SHORT = 96, 4  # tokens; the first BATCH answers are long, so that all others wait and are open together
GROWTH = 8 << 20  # bytes that a second wave may add to the server's memory


def request(kind, tokens):
    body = {"messages": [{"role": "user", "content": f"What is {kind}?"}], "temperature": 1, "seed": kind,
            "max_tokens": tokens, "ignore_eos": True, "stream": True}
    data = json.dumps(body).encode()
    return (b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-type: application/json\r\n"
            b"content-length: %d\r\n\r\n%s" % (len(data), data))


def unchunked(data):
    parts = []
    while data:
        size, _, data = data.partition(b"\r\n")
        length = int(size, 16)
        parts.append(data[:length])
        data = data[length + 2:]
    return b"".join(parts).decode()


def answer_of(reply):
    """(text, why it ended) of a whole stream; anything that is missing or too much is an error."""
    head, _, body = reply.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 "), reply[:300]
    lines = [line for line in unchunked(body).split("\n\n") if line]
    assert lines[-1] == "data: [DONE]", lines[-2:]
    choices = [json.loads(line.removeprefix("data: "))["choices"][0] for line in lines[:-1]]
    text = "".join(c["delta"].get("reasoning_content", "") + c["delta"].get("content", "") for c in choices)
    return text, choices[-1]["finish_reason"]


async def stream(port, kind, tokens):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request(kind, tokens))
    reply = await reader.read(-1)
    writer.close()
    return answer_of(reply)


def process(pid, name):
    """A number of /proc/PID/status; sizes are in KiB there."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1])
    raise AssertionError(f"/proc/{pid}/status has no {name}")


class Streams(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if hard != resource.RLIM_INFINITY and hard < STREAMS + 100:
            raise unittest.SkipTest(f"this user may open {hard} files, the test needs {STREAMS + 100}")
        resource.setrlimit(resource.RLIMIT_NOFILE, (STREAMS + 100, hard))
        cls.server = Server("--max-num-seqs", BATCH)
        cls.addClassCleanup(cls.server.stop)
        cls.pid = cls.server.process.pid

    def open_streams(self):
        return self.server.metric("latent8_num_requests_running") + self.server.metric("latent8_num_requests_waiting")

    async def until_open(self, count):
        until = time.monotonic() + 60
        while (now := await asyncio.to_thread(self.open_streams)) < count:
            self.assertLess(time.monotonic(), until, f"{now} streams are open, {count} expected")

    async def wave(self):
        """What STREAMS answers were, and the server's threads while they were all under way."""
        def start(first, count, tokens):
            return [asyncio.create_task(stream(self.server.port, i % KINDS, tokens)) for i in range(first, first + count)]

        tasks = start(0, BATCH, LONG)
        await self.until_open(BATCH)
        tasks += start(BATCH, STREAMS - BATCH, SHORT)
        await self.until_open(STREAMS)
        threads = process(self.pid, "Threads")
        return await asyncio.gather(*tasks), threads

    def test_a_thousand_at_once_are_all_answered_as_if_alone(self):
        port = self.server.port
        alone = {(kind, tokens): asyncio.run(stream(port, kind, tokens)) for kind in range(KINDS) for tokens in (LONG, SHORT)}
        threads_alone = process(self.pid, "Threads")
        memory = []
        for _ in range(2):
            answers, threads = asyncio.run(self.wave())

            for i, answer in enumerate(answers):
                self.assertEqual(answer, alone[i % KINDS, LONG if i < BATCH else SHORT], f"stream {i}")
            self.assertEqual(threads, threads_alone)
            self.assertEqual(self.open_streams(), 0)
            memory.append(process(self.pid, "VmRSS") << 10)
        self.assertLess(memory[1] - memory[0], GROWTH, memory)


if __name__ == "__main__":
    unittest.main()
