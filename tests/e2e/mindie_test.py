"""MindIE's own routes, on its three ports."""
import json
import threading
import unittest

from mindie_server import QUESTION, MindieServer, sample, wait_until


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
        self.assertNotIn("plugin_params mtp", log)
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
        answer = self.server.post("/detokenize", {"tokens": output["data"]})["prompt"]
        self.assertTrue(answer.endswith(self.completion), answer)  # it shows special tokens too

    def test_stop_infer_ends_a_request_by_its_id(self):
        path = "/v2/models/deepseekr1"
        replies = []
        body = {"id": "long", "text_input": QUESTION, "parameters": {"max_new_tokens": 512, "details": True, "temperature": 50}}
        thread = threading.Thread(target=lambda: replies.append(self.server.post(path + "/generate", body)))
        thread.start()
        wait_until(lambda: self.server.ask("POST", path + "/stopInfer", {"id": "long"})[0] == 200)
        thread.join()

        self.assertEqual(replies[0]["details"]["finish_reason"], "stop_sequence")
        # A reply is there a moment before its request is over.
        wait_until(lambda: self.server.ask("POST", path + "/stopInfer", {"id": "long"})[0] == 404)

    def test_the_tokenizer_counts(self):
        reply = self.server.post("/v1/tokenizer", {"inputs": QUESTION})

        self.assertEqual(reply["token_number"], len(self.ids))
        self.assertTrue("".join(reply["tokens"]).endswith(QUESTION))
        self.assertEqual(self.server.post("/v1/tokenizer", {"inputs": QUESTION, "do_decode": False})["tokens"], [])

    def test_what_is_wrong_has_the_references_shape(self):
        cases = [
            ("/generate", "{", 422), ("/generate", {}, 422), ("/generate", {"inputs": ""}, 422),
            ("/generate", {"inputs": "a", "prompt": "a"}, 422),
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
        self.assertGreater(self.metrics.metric("latent8_tokens_per_step"), 1)  # plugin_params: mtp


if __name__ == "__main__":
    unittest.main()
