"""From a float checkpoint to answers: quantize, run, chat, run_pa."""
import json
import os
import pty
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

import support

QUESTION = "What's deep learning?"


def golden_answers():
    return [json.loads(line) for line in (support.GOLDEN / "greedy.jsonl").read_text(encoding="utf-8").splitlines()]


def run_json(model, *flags, prompt=QUESTION):
    return support.run_json("run", "--model", model, "--prompt", prompt, "--temperature", 0, *flags)


class Run(unittest.TestCase):
    def test_greedy_answers_of_the_float_model_are_the_reference_s(self):
        for case in golden_answers():
            with self.subTest(case["q"]):
                expected = case["ids"]

                ids = run_json(support.FLOAT_MODEL, "--max-tokens", len(expected), prompt=case["q"])["ids"]

                # Where the reference's two likeliest tokens are close, rounding may choose the other one.
                first = next((i for i, (a, b) in enumerate(zip(ids, expected)) if a != b), None)
                if first not in case["close"]:
                    self.assertEqual(ids, expected)

    def test_drafts_change_no_answer(self):
        for model in support.FLOAT_MODEL, support.quantized_model():
            for sampling in ([], ["--temperature", 0.8, "--top-p", 0.9, "--seed", 7]):
                answers = {flags: support.run_json("run", "--model", model, "--prompt", QUESTION, "--max-tokens", 64, *sampling, *flags)
                           for flags in (("--speculative", "none"), (), ("--speculative", "mtp", "--num-speculative-tokens", 2))}
                plain, auto, two = answers.values()
                self.assertEqual(auto["ids"], plain["ids"])
                self.assertEqual(two["ids"], plain["ids"])
                self.assertEqual([a["speculative"]["max_tokens"] for a in (plain, auto, two)], [0, 4, 2])
                self.assertEqual(plain["speculative"]["drafted"], 0)
                self.assertGreater(two["speculative"]["accepted"], 0)
                self.assertGreater(two["speculative"]["tokens_per_step"], 1)

    def test_drafts_need_an_mtp_layer(self):
        model = support.GOLDEN / "msmodelslim" / "a_mindie_m4_static"
        refused = support.run("run", "--model", model, "--prompt", QUESTION, "--speculative", "mtp", expect=1)
        self.assertIn("MTP layer", refused)
        self.assertEqual(run_json(model, "--max-tokens", 4)["speculative"]["max_tokens"], 0)

    def test_the_quantised_model_reasons_and_answers(self):
        answer = run_json(support.quantized_model())

        self.assertIn("deep learning", answer["reasoning"])
        self.assertIn("neural networks", answer["answer"])
        self.assertEqual(answer["finish_reason"], "stop")
        self.assertEqual((answer["cache_bytes_per_token"], answer["cache_bytes_per_token_fp16"]), (3200, 5760))

    def test_the_stream_is_what_json_has(self):
        answer = run_json(support.quantized_model())

        text = support.run("run", "--model", support.quantized_model(), "--prompt", QUESTION, "--temperature", 0)

        self.assertIn(answer["reasoning"].strip(), text)
        self.assertTrue(text.rstrip("\n").endswith(answer["answer"]))

    def test_both_numerics_and_both_prefills_answer(self):
        for flags in (["--numerics", "ascend"], ["--prefill", "float"], ["--load", "copy"], ["--threads", 1]):
            with self.subTest(flags):
                self.assertIn("neural networks", run_json(support.quantized_model(), *flags)["answer"])

    def test_a_stop_text_ends_the_answer_before_it(self):
        answer = run_json(support.FLOAT_MODEL, "--raw", "--stop", " of", "--max-tokens", 64, prompt="The key")

        self.assertNotIn(" of", answer["answer"])
        self.assertEqual(answer["finish_reason"], "stop")

    def test_max_tokens_ends_the_answer(self):
        answer = run_json(support.FLOAT_MODEL, "--max-tokens", 5)

        self.assertEqual((len(answer["ids"]), answer["finish_reason"]), (5, "length"))

    def test_equal_seeds_give_equal_answers(self):
        def sample(seed):
            return support.run_json("run", "--model", support.FLOAT_MODEL, "--prompt", "Define sea.", "--temperature",
                                    1.5, "--seed", seed, "--max-tokens", 40)["ids"]

        self.assertEqual(sample(1), sample(1))
        self.assertNotEqual(sample(1), sample(2))

    def test_a_prompt_longer_than_the_context_is_refused(self):
        message = support.run("run", "--model", support.FLOAT_MODEL, "--raw", "--prompt", "word " * 9000, expect=1)

        self.assertIn("8192", message)

    def test_a_prompt_that_is_not_utf8_is_refused(self):
        command = [support.PROGRAM, "run", "--model", str(support.FLOAT_MODEL), "--raw", "--prompt", b"caf\xe9"]

        done = subprocess.run(command, capture_output=True, timeout=60)

        self.assertEqual(done.returncode, 1)
        self.assertIn(b"UTF-8", done.stderr)


class EnableNz(unittest.TestCase):
    def refuse(self, *flags):
        return support.run("run", "--model", support.quantized_model(), "--prompt", QUESTION, *flags, expect=1)

    def test_false_with_an_int8_cache_is_an_error_that_says_what_to_set(self):
        self.assertIn("set enable_nz to true", self.refuse("--enable-nz", "false"))

    def test_the_reference_s_configuration_is_read(self):
        for section in ({"llm": {"kv_cache_options": {"enable_nz": False}}},
                        {"models": {"deepseekv2": {"kv_cache_options": {"enable_nz": False}}}}):
            with tempfile.TemporaryDirectory() as directory:
                config = Path(directory) / "config.json"
                config.write_text(json.dumps(section))

                self.assertIn(str(config), self.refuse("--atb-config", config))

    def test_true_is_fine_and_so_is_false_for_a_float_cache(self):
        run_json(support.quantized_model(), "--enable-nz", "true", "--max-tokens", 2)
        run_json(support.FLOAT_MODEL, "--enable-nz", "false", "--max-tokens", 2)


class Quantize(unittest.TestCase):
    def test_an_output_folder_that_is_not_empty_is_refused(self):
        message = support.run("quantize", "--model", support.FLOAT_MODEL, "--out", support.FLOAT_MODEL, expect=1)

        self.assertIn(str(support.FLOAT_MODEL), message)

    def test_float_weights_with_scales_answer(self):
        with tempfile.TemporaryDirectory() as directory:
            out = Path(directory) / "fa3"
            result = support.run_json("quantize", "--model", support.FLOAT_MODEL, "--out", out, "--fa-quant", "--weights",
                                      "float", "--format", "ascendv1")

            self.assertEqual(result["fa_layers"], 5)
            self.assertIn("neural networks", run_json(out)["answer"])

    def test_weights_alone_keep_a_float_cache(self):
        with tempfile.TemporaryDirectory() as directory:
            out = Path(directory) / "w8a8"
            support.run("quantize", "--model", support.FLOAT_MODEL, "--out", out, "--dynamic")

            self.assertEqual(support.run_json("inspect", out)["cache_bytes_per_token"], 5 * 1152)
            self.assertIn("neural networks", run_json(out)["answer"])

    def test_a_quantised_source_is_refused(self):
        with tempfile.TemporaryDirectory() as directory:
            support.run("quantize", "--model", support.quantized_model(), "--out", Path(directory) / "twice", expect=1)


class RunPa(unittest.TestCase):
    def test_answers_are_printed_as_the_reference_prints_them(self):
        text = support.run("run_pa", "--model_path", support.quantized_model(), "--is_chat_model", "--tp", -1,
                           "--input_texts", QUESTION, "What is a KV cache?", "--max_output_length", 8)

        self.assertIn("Answer[0]: ", text)
        self.assertIn("Answer[1]: ", text)
        self.assertIn("Generate[0] token num: (12, 8)", text)

    def test_ignored_flags_are_named(self):
        done = subprocess.run([support.PROGRAM, "run_pa", "--model_path", str(support.FLOAT_MODEL), "--trust_remote_code",
                               "--dp", "-1", "--max_output_length", "1"], capture_output=True, text=True, timeout=60)

        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("--trust_remote_code is ignored", done.stderr)
        self.assertIn("--dp is ignored", done.stderr)


class Chat(unittest.TestCase):
    def chat(self, text, *flags):
        out = support.run("chat", "--model", support.quantized_model(), "--json", *(flags or ("--temperature", 0)),
                          text=text)
        return [json.loads(line) for line in out.splitlines()]

    def test_every_line_is_a_question(self):
        answers = self.chat(QUESTION + "\n\nWhat is a KV cache?\n/exit\nnot asked\n")

        self.assertEqual(len(answers), 2)
        self.assertIn("neural networks", answers[0]["answer"])
        self.assertIn("cache", answers[1]["answer"])

    def test_reset_forgets_the_conversation(self):
        first, again = self.chat(QUESTION + "\n/reset\n" + QUESTION + "\n")

        self.assertEqual(first["ids"], again["ids"])

    def test_ctrl_c_stops_an_answer_and_not_the_program(self):
        # Nearly uniform over the vocabulary: EOS hardly comes, so that the answer takes seconds.
        flags = ["--temperature", "5", "--seed", "1", "--max-tokens", "1000"]
        whole = self.chat("Define ability.\n", *flags)[0]["ids"]
        master, terminal = pty.openpty()
        process = subprocess.Popen([support.PROGRAM, "chat", "--model", str(support.quantized_model()), "--json", *flags],
                                   stdin=terminal, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        os.close(terminal)

        def interrupted_answer(question):
            os.write(master, question)
            time.sleep(0.3)
            process.send_signal(signal.SIGINT)
            return json.loads(process.stdout.readline())["ids"]
        try:
            time.sleep(2)
            cut = interrupted_answer(b"Define ability.\n")
            process.send_signal(signal.SIGINT)  # at the prompt
            time.sleep(0.3)
            again = interrupted_answer(b"What is a KV cache?\n")
            self.assertIsNone(process.poll())
            os.write(master, b"/exit\n")

            self.assertEqual(process.wait(timeout=30), 0)
            self.assertEqual(cut, whole[:len(cut)])
            self.assertLess(len(cut), len(whole))
            self.assertLess(len(again), 1000)
        finally:
            process.kill()
            process.stdout.close()
            os.close(master)


if __name__ == "__main__":
    unittest.main()
