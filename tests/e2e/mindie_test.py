"""latent8 serve --config: MindIE's service config, its three ports, its own routes and its TLS."""
import contextlib
import http.client
import json
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
import time
import unittest
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


class Routes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = MindieServer(sample())
        cls.management, cls.metrics = cls.server.at("managementPort"), cls.server.at("metricsPort")
        body = {"prompt": QUESTION, "temperature": 0, "max_tokens": 12}
        cls.completion = cls.server.post("/v1/completions", body)["choices"][0]["text"]
        cls.ids = cls.server.post("/tokenize", {"prompt": QUESTION})["tokens"]

    @classmethod
    def tearDownClass(cls):
        assert cls.server.stop() == 0

    def ask_tgi(self, path, **parameters):
        return self.server.post(path, {"inputs": QUESTION, "parameters": {"max_new_tokens": 12, "do_sample": False, **parameters}})

    def test_the_log_names_keys_without_effect(self):
        log = "".join(self.server.log)
        self.assertIn("npuDeviceIds", log)
        self.assertIn("plugin_params mtp", log)
        self.assertIn("memory: weights", log)

    def test_tgi_answers_as_completions_do(self):
        plain = self.ask_tgi("/generate")
        full = self.ask_tgi("/generate", details=True, decoder_input_details=True, return_full_text=True, seed=5, watermark=True)

        self.assertEqual(plain, {"generated_text": self.completion})
        self.assertTrue(full["generated_text"].endswith(QUESTION + self.completion))
        details = full["details"]
        self.assertEqual([details["finish_reason"], details["generated_tokens"], details["seed"]], ["length", 12, 5])
        self.assertEqual([t["id"] for t in details["prefill"]], self.ids)
        self.assertEqual(len(details["tokens"]), 12)
        self.assertEqual(self.ask_tgi("/"), [plain])

    def test_a_tgi_stream_has_an_event_per_token(self):
        body = {"inputs": QUESTION, "parameters": {"max_new_tokens": 12, "do_sample": False, "details": True}}

        events = [json.loads(e.removeprefix("data: ")) for e in self.server.text_of("/generate_stream", body).split("\n\n") if e]

        self.assertEqual(len(events), 12)
        self.assertEqual("".join(e["token"]["text"] for e in events), self.completion)
        self.assertEqual({e["generated_text"] for e in events[:-1]}, {None})
        self.assertEqual(events[-1]["generated_text"], self.completion)
        self.assertEqual(events[-1]["details"]["finish_reason"], "length")

    def test_an_end_by_the_model_and_one_by_a_stop_text_have_names(self):
        ended = self.ask_tgi("/generate", details=True, max_new_tokens=2000)
        stop = self.completion[4:8]
        stopped = self.ask_tgi("/generate", details=True, stop=[stop])

        self.assertEqual(ended["details"]["finish_reason"], "length" if ended["details"]["generated_tokens"] == 512 else "eos_token")
        self.assertEqual(stopped["details"]["finish_reason"], "stop_sequence")
        self.assertEqual(stopped["generated_text"], self.completion[:self.completion.index(stop)])

    def test_truncate_keeps_the_end_of_the_prompt(self):
        cut = self.ask_tgi("/generate", truncate=3, details=True)
        whole = self.server.post("/v1/completions", {"prompt": self.ids[-3:], "temperature": 0, "max_tokens": 12})

        self.assertEqual(cut["details"]["prompt_tokens"], 3)
        self.assertEqual(cut["generated_text"], whole["choices"][0]["text"])

    def test_vllm_bodies_are_told_apart_by_their_prompt(self):
        body = {"prompt": QUESTION, "max_tokens": 12, "temperature": 0}

        self.assertTrue(self.server.post("/generate", body)["text"][0].endswith(QUESTION + self.completion))
        pieces = self.server.text_of("/generate", {**body, "stream": True}).split("\0")
        self.assertEqual("".join(json.loads(p)["text"][0] for p in pieces if p), self.completion)

    def test_infer_takes_text_and_token_ids(self):
        parameters = {"max_new_tokens": 12, "do_sample": False, "details": True}

        by_text = self.server.post("/infer", {"inputs": QUESTION, "parameters": parameters})
        by_ids = self.server.post("/infer_token", {"input_id": self.ids, "parameters": parameters})
        events = self.server.text_of("/infer", {"inputs": QUESTION, "stream": True, "parameters": parameters}).split("\n\n")

        self.assertEqual(by_text["generated_text"], self.completion)
        self.assertEqual(len(by_text["details"]["generated_token_ids"]), 12)
        for reply in (by_text, by_ids):
            del reply["details"]["seed"]
        self.assertEqual(by_text, by_ids)
        first, last = json.loads(events[0][6:]), json.loads(events[-2][6:])
        self.assertIsNone(first["decode_time"])
        self.assertEqual(last["generated_text"], self.completion)

    def test_triton_has_text_tokens_and_streams(self):
        path, parameters = "/v2/models/deepseekr1", {"max_new_tokens": 12, "do_sample": False, "details": True}
        tensor = {"name": "input0", "shape": [1, len(self.ids)], "datatype": "UINT32", "data": self.ids}

        text = self.server.post(path + "/generate", {"id": "a1", "text_input": QUESTION, "parameters": parameters})
        versioned = self.server.post(path + "/versions/1/generate", {"text_input": QUESTION, "parameters": parameters})
        stream = self.server.text_of(path + "/generate_stream", {"text_input": QUESTION, "parameters": parameters})
        tokens = self.server.post(path + "/infer", {"id": "42", "inputs": [tensor], "outputs": [{"name": "output0"}], "parameters": parameters})

        self.assertEqual([text["id"], text["model_name"], text["model_version"]], ["a1", "deepseekr1", None])
        self.assertEqual(text["text_output"], self.completion)
        self.assertEqual(versioned["text_output"], self.completion)
        events = [json.loads(e.removeprefix("data:")) for e in stream.split("\n\n") if e]
        self.assertEqual("".join(e["text_output"] for e in events), self.completion)
        self.assertEqual(events[-1]["details"]["finish_reason"], "length")
        output = tokens["outputs"][0]
        self.assertEqual([tokens["id"], output["name"], output["shape"]], ["42", "output0", [1, 12]])
        self.assertEqual(self.server.post("/detokenize", {"tokens": output["data"]})["prompt"], self.completion)

    def test_stop_infer_ends_a_request_by_its_id(self):
        path = "/v2/models/deepseekr1"
        replies = []
        body = {"id": "long", "text_input": QUESTION, "parameters": {"max_new_tokens": 512, "details": True, "temperature": 50}}
        thread = threading.Thread(target=lambda: replies.append(self.server.post(path + "/generate", body)))
        thread.start()
        until = time.monotonic() + 30
        while self.server.ask("POST", path + "/stopInfer", {"id": "long"})[0] != 200 and time.monotonic() < until:
            time.sleep(0.01)
        thread.join()

        self.assertEqual(replies[0]["details"]["finish_reason"], "stop_sequence")
        self.server.post(path + "/stopInfer", {"id": "long"}, expect=404)

    def test_the_tokenizer_counts(self):
        reply = self.server.post("/v1/tokenizer", {"inputs": QUESTION})

        self.assertEqual(reply["token_number"], len(self.ids))
        self.assertTrue("".join(reply["tokens"]).endswith(QUESTION))
        self.assertEqual(self.server.post("/v1/tokenizer", {"inputs": QUESTION, "do_decode": False})["tokens"], [])

    def test_what_is_wrong_has_the_references_shape(self):
        cases = [
            ("/generate", "{", 422), ("/generate", {}, 422), ("/generate", {"inputs": ""}, 422),
            ("/generate", {"inputs": "a", "parameters": {"temperature": "hot"}}, 422),
            ("/generate", {"inputs": "a", "parameters": {"typical_p": 0.5}}, 422),
            ("/generate", {"inputs": "a", "parameters": {"adapter_id": "x"}}, 422),
            ("/generate", {"inputs": "a", "parameters": {"priority": 6}}, 422),
            ("/generate", {"prompt": "a", "n": 2}, 422), ("/generate", {"prompt": "a", "best_of": 2}, 422),
            ("/generate", {"prompt": "a", "use_beam_search": True}, 422),
            ("/infer", {"inputs": "a", "input_id": [1]}, 422), ("/infer", {"input_id": [-1]}, 422),
            ("/infer", {"inputs": "key " * 3000}, 422),
            ("/v2/models/deepseekr1/infer", {"inputs": []}, 422),
            ("/v2/models/deepseekr1/infer", {"inputs": [{"name": "a", "shape": [3], "datatype": "UINT32", "data": [1]}]}, 422),
            ("/v2/models/other/generate", {"text_input": "a"}, 404),
        ]
        for path, body, status in cases:
            with self.subTest(path=path, body=str(body)[:50]):
                got, reply, _ = self.server.ask("POST", path, body)

                self.assertEqual(got, status, reply)
                self.assertEqual(set(reply), {"error", "error_type"})

    def test_each_port_has_its_routes_only(self):
        for path in ("/v1/status", "/v2/health/live", "/metrics-json", "/stopService", "/metrics"):
            self.assertEqual(self.server.ask("GET", path)[0], 404, path)
        for path in ("/v1/models", "/metrics"):
            self.assertEqual(self.management.ask("GET", path)[0], 404, path)
        self.assertEqual(self.metrics.ask("GET", "/stopService")[0], 404)
        self.assertEqual(self.server.ask("GET", "/v1/models/deepseekr1")[1]["id"], "deepseekr1")

    def test_management_says_how_the_service_is(self):
        ask = lambda path: self.management.ask("GET", path)
        for path in ("/v2/health/live", "/v2/health/ready", "/v2/models/deepseekr1/ready", "/health"):
            self.assertEqual(ask(path)[0], 200, path)
        self.assertEqual(ask("/v1/config")[1], {"modelName": "deepseekr1", "maxSeqLen": 2560, "npuMemSize": -1, "cpuMemSize": 0,
                                                "worldSize": 1, "maxOutputLen": 512, "cacheBlockSize": 128})
        slots = ask("/v2/models/deepseekr1/getSlotCount")[1]
        self.assertEqual([slots["total_slots"], slots["free_slots"]], [8, 8])
        self.assertEqual(ask("/v1/status")[1]["resource"]["totalNpuBlockNums"] * 128 >= slots["available_tokens_length"], True)
        self.assertEqual(ask("/info")[1]["max_input_length"], 2048)
        names = [r["metric"][0]["__name__"] for r in ask("/metrics-json")[1]["result"]]
        self.assertEqual(names, ["TTFT", "TBT", "waitingInferRequestNum", "processingInferRequestNum", "remainBlocks"])

    def test_metrics_have_both_names(self):
        self.assertEqual(self.metrics.metric("latent8_generation_tokens_total"), self.metrics.metric("generation_tokens_total"))
        self.assertGreater(self.metrics.metric("request_success_total"), 0)


class Operation(unittest.TestCase):
    def test_the_verbatim_file_is_one_error_that_lists_everything(self):
        message = support.run("serve", "--config", SAMPLE, expect=1)

        for part in ("worldSize", "ModelConfig[0].tp", "moe_ep", "ServerConfig.httpsEnabled", "server.pem", "--adapt"):
            self.assertIn(part, message)

    def test_adapt_serves_what_was_refused(self):
        config = sample()
        config["BackendConfig"]["ModelDeployConfig"]["ModelConfig"][0].update(worldSize=8, tp=8, dp=2, moe_ep=4, moe_tp=4)
        server = MindieServer(config, "--adapt")
        try:
            self.assertIn("--adapt: 'BackendConfig.ModelDeployConfig.ModelConfig[0].worldSize': 1 instead of 8", "".join(server.log))
            server.post("/generate", {"inputs": QUESTION, "parameters": {"max_new_tokens": 1}})
        finally:
            self.assertEqual(server.stop(), 0)

    def test_flags_go_before_the_file(self):
        server = MindieServer(sample(), "--served-model-name", "mine", "--max-prompt-tokens", "4")
        try:
            self.assertEqual(server.ask("GET", "/v1/models")[1]["data"][0]["id"], "mine")
            server.post("/generate", {"inputs": "a long question, longer than that"}, expect=422)
        finally:
            server.stop()

    def test_truncation_cuts_long_prompts(self):
        config = sample()
        config["BackendConfig"]["ModelDeployConfig"].update(maxInputTokenLen=8, truncation=1)
        server = MindieServer(config)
        try:
            body = {"inputs": "key " * 500, "parameters": {"max_new_tokens": 1, "details": True}}
            self.assertEqual(server.post("/generate", body)["details"]["prompt_tokens"], 8)
        finally:
            server.stop()

    def test_an_answer_that_takes_too_long_is_ended(self):
        config = sample()
        config["ServerConfig"]["e2eTimeout"] = 1
        config["BackendConfig"]["ModelDeployConfig"]["maxSeqLen"] = 4096
        config["BackendConfig"]["ScheduleConfig"]["maxIterTimes"] = 4096
        server = MindieServer(config)
        try:
            body = {"prompt": QUESTION, "max_tokens": 4000, "ignore_eos": True}
            threads = [threading.Thread(target=server.ask, args=("POST", "/v1/completions", body)) for _ in range(7)]
            for thread in threads:
                thread.start()
            status, reply, _ = server.ask("POST", "/v1/completions", body)
            for thread in threads:
                thread.join()
            self.assertEqual((status, reply["error"]["message"]), (500, "the time for this answer is over"))
        finally:
            server.stop()

    def test_stop_service_waits_for_answers_and_ends_the_process(self):
        server = MindieServer(sample())
        replies = []
        body = {"prompt": QUESTION, "max_tokens": 200, "ignore_eos": True}
        thread = threading.Thread(target=lambda: replies.append(server.post("/v1/completions", body)))
        thread.start()
        while server.at("metricsPort").metric("num_requests_running") == 0:
            time.sleep(0.01)

        status = server.at("managementPort").ask("GET", "/stopService")[0]

        thread.join()
        self.assertEqual(status, 200)
        self.assertEqual(replies[0]["usage"]["completion_tokens"], 200)
        self.assertEqual(server.process.wait(timeout=60), 0)

    def test_pages_of_other_origins_may_ask_only_where_they_are_named(self):
        server = serve_test.Server("--cors-origin", "https://a.example", "--api-key", "secret", "--log-format", "json")
        try:
            asks = {"Origin": "https://a.example", "Access-Control-Request-Method": "POST"}
            status, _, headers = server.ask("OPTIONS", "/v1/completions", headers=asks)
            self.assertEqual((status, headers["access-control-allow-origin"]), (204, "https://a.example"))
            self.assertEqual(server.ask("OPTIONS", "/v1/completions", headers={**asks, "Origin": "https://b.example"})[0], 401)
            reply = server.ask("GET", "/v1/models", headers={"Origin": "https://a.example", "X-Api-Key": "secret", "X-Request-Id": "r1"})
            self.assertEqual(reply[2]["access-control-allow-origin"], "https://a.example")
            self.assertNotIn("access-control-allow-origin", server.ask("GET", "/health")[2])
        finally:
            server.stop()
        server.reader.join(timeout=10)
        lines = [json.loads(line) for line in server.log]
        self.assertEqual([l["status"] for l in lines if l.get("request_id") == "r1"], [200])

    def test_a_queue_full_of_tokens_is_told_429(self):
        server = serve_test.Server("--max-num-seqs", "1", "--max-queued-tokens", "40")
        try:
            body = {"prompt": "key " * 30, "max_tokens": 200, "ignore_eos": True}
            threads = [threading.Thread(target=server.ask, args=("POST", "/v1/completions", body)) for _ in range(2)]
            for thread in threads:
                thread.start()
            while server.metric("latent8_num_requests_running") + server.metric("latent8_num_requests_waiting") < 2:
                time.sleep(0.01)
            time.sleep(0.2)
            status, reply, headers = server.ask("POST", "/v1/completions", body)
            for thread in threads:
                thread.join()
            self.assertEqual((status, reply["error"]["code"]), (429, "queue_full"))
            self.assertIn("retry-after", headers)
        finally:
            server.stop()


@unittest.skipUnless(shutil.which("openssl"), "openssl is not installed")
class Tls(unittest.TestCase):
    """Its documents ask for certificates of both sides."""

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.made = Path(cls.folder.name)
        run = lambda *a: subprocess.run(["openssl", *map(str, a)], check=True, capture_output=True, cwd=cls.made)
        run("req", "-x509", "-newkey", "rsa:3072", "-nodes", "-subj", "/CN=ca", "-keyout", "ca.key", "-out", "ca.pem", "-days", "2")
        for name in ("server", "client"):
            run("req", "-newkey", "rsa:3072", "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr",
                "-addext", "subjectAltName=IP:127.0.0.1,IP:127.0.0.2")
            run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-copy_extensions", "copy",
                "-out", f"{name}.pem", "-days", "2")

    def context(self, with_client):
        context = ssl.create_default_context(cafile=self.made / "ca.pem")
        if with_client:
            context.load_cert_chain(self.made / "client.pem", self.made / "client.key")
        return context

    def test_all_three_ports_want_a_client_certificate(self):
        config = sample()
        server_config = config["ServerConfig"]
        server_config["httpsEnabled"] = True
        server_config["tlsCaPath"] = str(self.made)
        for prefix in ("tls", "managementTls", "metricsTls"):
            server_config.update({prefix + "CaFile": ["ca.pem"], prefix + "Cert": str(self.made / "server.pem"),
                                  prefix + "Pk": str(self.made / "server.key")})
            for key in (prefix + "CrlPath", prefix + "CrlFiles", prefix + "PkPwd"):
                server_config.pop(key, None)
        server = MindieServer(config)
        try:
            server.tls = self.context(with_client=True)
            self.assertEqual(server.ask("GET", "/v1/models")[0], 200)
            self.assertEqual(server.at("managementPort").ask("GET", "/v2/health/live")[0], 200)
            self.assertEqual(server.at("metricsPort").ask("GET", "/metrics")[0], 200)
            server.tls = self.context(with_client=False)
            with self.assertRaises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
                server.ask("GET", "/v1/models")
        finally:
            self.assertEqual(server.stop(signal.SIGTERM), 0)


if __name__ == "__main__":
    unittest.main()
