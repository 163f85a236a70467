"""A running latent8 serve --config, on the file that MindIE ships."""
import contextlib
import http.client
import json
import re
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import serve_test
import support

QUESTION = "What's deep learning?"
SAMPLE = support.SOURCE / "tests" / "data" / "mindie_config.json"  # with a trailing comma and a comment


def free_ports(count):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]


def wait_until(holds, time_s=60):
    until = time.monotonic() + time_s
    while not holds():
        assert time.monotonic() < until, "it did not come to that"
        time.sleep(0.02)


def sample():
    """The shipped file, for one process and the small model, as Python has it."""
    text = re.sub(r",(\s*[}\]])", r"\1", re.sub(r"//.*", "", SAMPLE.read_text()))
    config = json.loads(text)
    ports = free_ports(3)
    config["ServerConfig"].update(port=ports[0], managementPort=ports[1], metricsPort=ports[2], httpsEnabled=False)
    deploy = config["BackendConfig"]["ModelDeployConfig"]
    deploy["ModelConfig"][0].update(modelWeightPath=str(support.quantized_model()), worldSize=1, tp=1, dp=1, moe_ep=1, moe_tp=1)
    config["BackendConfig"]["ScheduleConfig"].update(maxBatchSize=8, maxN=8, maxPrefillBatchSize=8)
    return config


class MindieServer(serve_test.Server):
    def __init__(self, config, *flags):
        self.folder = tempfile.TemporaryDirectory()
        file = Path(self.folder.name) / "conf" / "config.json"
        file.parent.mkdir()
        file.write_text(json.dumps(config)[:-1] + ",}")  # as its documents have it
        self.config = config["ServerConfig"]
        self.port, self.tls, self.host = self.config["port"], None, "127.0.0.1"
        self.process = subprocess.Popen([support.PROGRAM, "serve", "--config", str(file), *map(str, flags)],
                                        stderr=subprocess.PIPE, text=True)
        self.log = []
        for line in self.process.stderr:
            self.log.append(line)
            if "(metrics)" in line:
                break
        else:
            raise AssertionError("the server did not start:\n" + "".join(self.log))
        self.reader = threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True)
        self.reader.start()

    def at(self, key, address="managementIpAddress"):
        """The same server, asked at another of its ports."""
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__, port=self.config[key], host=self.config[address])
        return other

    def connection(self):
        if self.tls:
            return http.client.HTTPSConnection(self.host, self.port, timeout=120, context=self.tls)
        return http.client.HTTPConnection(self.host, self.port, timeout=120)

    def text_of(self, path, body):
        """The whole body of a reply to a POST, which must be 200."""
        with contextlib.closing(self.connection()) as connection:
            connection.request("POST", path, json.dumps(body))
            reply = connection.getresponse()
            text = reply.read().decode()
            assert reply.status == 200, text
            return text
