"""eval: golden logits, the quantised model's decode path, divergences, drafts of the MTP layer."""
import json
import subprocess
import tempfile
import unittest
from pathlib import Path

import safetensors
import support

PROMPTS = (0, 1, 2, 3, 4, 5)  # of golden/logits.safetensors; 6, of 4,000 tokens, is in the unit tests


def arg_max(row):
    return max(range(len(row)), key=row.__getitem__)


def write_text(path, bytes_wanted=12_000):
    """A text of our own documentation, longer than two windows."""
    text = "".join((support.SOURCE / name).read_text(encoding="utf-8") for name in ("CONTRIBUTING.md", "models/tiny-r1/README.md"))
    path.write_text((text * (bytes_wanted // len(text) + 1))[:bytes_wanted], encoding="utf-8")


class Logits(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.dir = Path(directory.name)
        self.golden = safetensors.read(support.GOLDEN / "logits.safetensors")

    def logits(self, model, *flags):
        tokens, out = self.dir / "tokens.jsonl", self.dir / "out.safetensors"
        lines = (json.dumps({"ids": list(self.golden[f"{n}.ids"][1])}) + "\n" for n in PROMPTS)
        tokens.write_text("".join(lines))
        support.run("eval", "logits", "--model", model, "--tokens", tokens, "--out", out, "--last", 32, *flags)
        return safetensors.read(out)

    def test_prefill_equals_the_float_reference_mtp_rows_too(self):
        out = self.logits(support.FLOAT_MODEL)

        for n in PROMPTS:
            for kind in ("logits", "mtp"):
                name = f"{n}.{kind}"
                if name not in self.golden:
                    continue
                want = safetensors.rows(self.golden[name])
                got = safetensors.rows(out[name], last=len(want))
                worst = max(abs(a - b) for x, y in zip(want, got) for a, b in zip(x, y))
                self.assertLess(worst, 1e-3, name)

    def agreement(self, out):
        same = total = 0
        for n in PROMPTS:
            want = safetensors.rows(self.golden[f"{n}.logits"])
            got = safetensors.rows(out[f"{n}.logits"], last=len(want))
            same += sum(arg_max(a) == arg_max(b) for a, b in zip(want, got))
            total += len(want)
        return same / total

    def test_the_quantised_model_decodes_the_reference_s_tokens(self):
        self.assertGreaterEqual(self.agreement(self.logits(support.quantized_model(), "--path", "decode")), 0.95)

    def test_the_ascend_numerics_agree_with_the_reference_s_tokens(self):
        self.assertGreaterEqual(self.agreement(self.logits(support.quantized_model(), "--numerics", "ascend")), 0.95)

    def test_a_text_gets_a_bos_in_front(self):
        tokens, out = self.dir / "t.jsonl", self.dir / "t.safetensors"
        ids = json.loads(support.run("tokenize", "--model", support.FLOAT_MODEL, text='{"text": "a cache"}'))["ids"]
        tokens.write_text(json.dumps({"text": "a cache"}) + "\n" + json.dumps({"ids": [0, *ids]}) + "\n")

        support.run("eval", "logits", "--model", support.FLOAT_MODEL, "--tokens", tokens, "--out", out)

        tensors = safetensors.read(out)
        self.assertEqual(tensors["0.logits"], tensors["1.logits"])

    def test_a_prompt_longer_than_the_context_is_named_by_its_line(self):
        tokens = self.dir / "t.jsonl"
        tokens.write_text(json.dumps({"ids": [5]}) + "\n" + json.dumps({"ids": [5] * 8193}) + "\n")

        message = support.run("eval", "logits", "--model", support.FLOAT_MODEL, "--tokens", tokens, "--out",
                              self.dir / "o.safetensors", expect=1)

        self.assertIn("line 2", message)
        self.assertIn("8193", message)


class Divergence(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.text = Path(directory.name) / "text.txt"
        write_text(self.text)

    def kld(self, model, *flags):
        return support.run_json("eval", "kld", "--model", model, "--reference", support.FLOAT_MODEL, "--text",
                                self.text, *flags)

    def test_the_float_model_does_not_diverge_from_itself(self):
        d = self.kld(support.FLOAT_MODEL, "--windows", 1)

        self.assertLess(d["kld_max"], 1e-6)
        self.assertEqual(d["top1"], 1.0)
        self.assertEqual(d["windows"], 1)

    def test_the_quantised_model_diverges_little_on_the_decode_path(self):
        d = self.kld(support.quantized_model(), "--windows", 2, "--path", "decode")

        self.assertGreater(d["kld_mean"], 0.0)
        self.assertLess(d["kld_mean"], 0.05)
        self.assertGreater(d["top1"], 0.9)
        self.assertLessEqual(d["kld_mean"], d["kld_p99"])
        self.assertLessEqual(d["kld_p99"], d["kld_max"])
        self.assertEqual(d["windows"], 2)

    def test_decode_and_prefill_of_the_native_numerics_are_the_same_bits(self):
        self.assertEqual(self.kld(support.quantized_model(), "--windows", 1),
                         self.kld(support.quantized_model(), "--windows", 1, "--path", "decode"))

    def test_a_reference_that_is_quantised_itself_is_named(self):
        def warnings(reference):
            command = [support.PROGRAM, "eval", "kld", "--model", support.FLOAT_MODEL, "--reference", reference, "--text",
                       self.text, "--windows", "1"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
            self.assertEqual(done.returncode, 0, done.stderr)
            return [line for line in done.stderr.splitlines() if "not a float checkpoint" in line]

        self.assertEqual(len(warnings(support.quantized_model())), 1)
        self.assertEqual(warnings(support.FLOAT_MODEL), [])

    def test_perplexity_alone_is_that_of_the_comparison(self):
        alone = support.run_json("eval", "ppl", "--model", support.FLOAT_MODEL, "--text", self.text, "--windows", 1)

        self.assertEqual(alone["ppl"], self.kld(support.FLOAT_MODEL, "--windows", 1)["ppl"])

    def test_a_text_that_is_not_utf8_is_named_with_the_offset(self):
        self.text.write_bytes(b"caf\xe9" * 1000)

        message = support.run("eval", "ppl", "--model", support.FLOAT_MODEL, "--text", self.text, expect=1)

        self.assertIn("offset 3", message)

    def test_a_text_of_less_than_a_window_is_refused(self):
        self.text.write_text("short")

        self.assertIn("1024", support.run("eval", "ppl", "--model", support.FLOAT_MODEL, "--text", self.text, expect=1))


class Drafts(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.text = Path(directory.name) / "text.txt"
        write_text(self.text)

    def acceptance(self, model, *flags):
        return support.run_json("eval", "mtp", "--model", model, "--text", self.text, "--windows", 1, *flags)

    def test_the_quantised_mtp_layer_guesses_as_often_as_the_float_one(self):
        exact, quantised = self.acceptance(support.FLOAT_MODEL), self.acceptance(support.quantized_model())

        self.assertEqual([exact["windows"], exact["predictions"]], [1, 896])
        self.assertGreater(exact["accepted"], 0.4)
        self.assertLess(abs(exact["accepted"] - quantised["accepted"]), 0.03)

    def test_a_model_without_the_layer_is_refused(self):
        message = support.run("eval", "mtp", "--model", support.GOLDEN / "msmodelslim" / "a_mindie_m4_static", "--text", self.text, expect=1)

        self.assertIn("MTP layer", message)

    def test_bench_measures_without_drafts_anyway(self):
        message = support.run("bench", "mtp", "--model", support.FLOAT_MODEL, "--text", self.text, "--speculative", "none", expect=1)

        self.assertIn("auto or mtp expected, got none", message)

    def test_bench_tells_the_speed_with_and_without(self):
        bench = support.run_json("bench", "mtp", "--model", support.FLOAT_MODEL, "--text", self.text, "--batch", "1,3", "--prompt", 16,
                                 "--output", 12, "--rounds", 1, "--num-speculative-tokens", 2)

        self.assertEqual([row["batch"] for row in bench["rows"]], [1, 3])
        for row in bench["rows"]:
            self.assertAlmostEqual(row["ratio"], row["tok_per_s"] / row["tok_per_s_without"])
            self.assertEqual(row["speculative"]["max_tokens"], 2)
            self.assertGreaterEqual(row["speculative"]["drafted"], row["speculative"]["accepted"])
            self.assertGreater(row["speculative"]["drafted"], 0)


if __name__ == "__main__":
    unittest.main()
