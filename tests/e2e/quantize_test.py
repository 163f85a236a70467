"""The quantising commands: the reference's own, interruption, the report."""
import json
import os
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

import support

PROMPTS = ["What is deep learning? Deep learning trains networks of many layers on data.", "int main() { return 0; }"]


class Quantize(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.dir = Path(folder.name)
        self.calib = self.dir / "calib.json"
        self.calib.write_text(json.dumps(PROMPTS))

    def command(self, out):
        return ["quantize", "--model", support.FLOAT_MODEL, "--out", out, "--fa-quant", "--calib", self.calib]

    def files(self, folder):
        return {path.name: path.read_bytes() for path in folder.iterdir()}

    def test_the_reference_command_runs_under_its_own_name(self):
        out = self.dir / "out"
        program = Path(support.PROGRAM).with_name("quant_deepseek_w8a8")
        arguments = ["--model_path", support.FLOAT_MODEL, "--save_path", out, "--batch_size", 4, "--fa_quant",
                     "--mindie_format", "--trust_remote_code", "True", "--calib_dataset", self.calib]

        done = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)

        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("--trust_remote_code has no effect", done.stderr)
        description = json.loads((out / "quant_model_description.json").read_text())
        self.assertEqual(description["fa_quant_type"], "FAKQuant")
        self.assertEqual(description, json.loads((out / "quant_model_description_w8a8_dynamic.json").read_text()))
        self.assertFalse(any(name.startswith("model.layers.5.") for name in description))  # --quant_mtp none
        self.assertTrue(support.run("verify", out, "--source", support.FLOAT_MODEL))

    def test_the_reference_command_rotates_the_model(self):
        out = self.dir / "out"
        support.run("quant_deepseek_w8a8", "--model_path", support.FLOAT_MODEL, "--save_path", out, "--rot", "--fa_quant",
                    "--dynamic", "--anti_method", "m6", "--quant_mtp", "mix", "--calib_dataset", self.calib)

        self.assertIn("rotations of the hidden state", support.run("verify", out, "--source", support.FLOAT_MODEL))

    def test_the_reference_command_refuses_what_does_not_go_together(self):
        arguments = ["quant_deepseek_w8a8", "--model_path", support.FLOAT_MODEL, "--save_path", self.dir / "out"]
        for more in (["--from_fp8"], ["--rot", "--quant_mtp", "float"], ["--layer_count", "6"]):
            with self.subTest(more):
                self.assertIn(more[0], support.run(*arguments, *more, expect=1))

    def test_a_killed_run_goes_on_and_gives_the_same_bytes(self):
        support.run(*self.command(self.dir / "once"))
        out = self.dir / "out"
        killed = subprocess.Popen([support.PROGRAM, *map(str, self.command(out))], stderr=subprocess.PIPE, text=True)
        for line in killed.stderr:
            if "layer 3 of" in line:
                os.kill(killed.pid, signal.SIGKILL)
                break
        killed.communicate()
        self.assertFalse(out.exists())

        result = support.run_json(*self.command(out))

        self.assertGreaterEqual(result["resumed_layers"], 2)
        self.assertEqual(self.files(out), self.files(self.dir / "once"))
        self.assertFalse((self.dir / "out.partial").exists())

    def test_the_report_is_one_page_that_loads_nothing(self):
        report = self.dir / "report.html"

        support.run(*self.command(self.dir / "out"), "--report", report)

        page = report.read_text()
        self.assertIn("latent8 " + " ".join(map(str, [*self.command(self.dir / "out"), "--report", report])), page)
        self.assertIn("<svg", page)
        for reference in ("src=\"http", "href=\"http", "@import", "url("):
            self.assertNotIn(reference, page)

    def test_a_report_never_takes_the_place_of_another_file(self):
        notes = self.dir / "notes.html"
        notes.write_text("<!doctype html> mine")
        source = support.FLOAT_MODEL / "config.json"
        before = source.read_bytes()
        for report in (notes, source, support.FLOAT_MODEL / "new.html", self.dir / "out" / "config.json",
                       self.dir / "nowhere" / "report.html"):
            with self.subTest(report):
                message = support.run(*self.command(self.dir / "out"), "--report", report, expect=1)
                self.assertIn(str(report), message)
                self.assertFalse((self.dir / "out").exists())  # before any work
        self.assertEqual(notes.read_text(), "<!doctype html> mine")
        self.assertEqual(source.read_bytes(), before)

    def test_a_former_report_is_replaced(self):
        report = self.dir / "report.html"
        for _ in range(2):
            support.run(*self.command(self.dir / "out"), "--report", report, "--dynamic", "--overwrite")

    def test_sizes_are_understood_or_refused(self):
        command = self.command(self.dir / "out")
        for flag in ("--max-memory", "--shard-size"):
            for size in ("-1", "0", "99999999999999999999", "1.5XiB", "GiB", "nan"):
                done = subprocess.run([support.PROGRAM, *map(str, command), flag, size], capture_output=True, text=True)
                self.assertNotEqual(done.returncode, 0, size)
                self.assertIn(flag, done.stderr)
        self.assertFalse((self.dir / "out").exists())
        support.run(*command, "--max-memory", "1.5GiB", "--shard-size", "2MiB")
        self.assertGreater(len(list((self.dir / "out").glob("*.safetensors"))), 2)

    def test_a_calibration_of_single_tokens_is_refused_at_the_start(self):
        self.calib.write_text(json.dumps(["a"]))
        self.assertIn("two ordinary tokens", support.run(*self.command(self.dir / "out"), expect=1))
        self.assertEqual(sorted(path.name for path in self.dir.iterdir()), ["calib.json"])

    def test_sha256sum_accepts_the_list_of_the_result(self):
        out = self.dir / "out"
        support.run(*self.command(out))
        done = subprocess.run(["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=out, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        named = {line.split("  ", 1)[1] for line in (out / "SHA256SUMS").read_text().splitlines()}
        self.assertEqual(named, {path.name for path in out.iterdir()} - {"SHA256SUMS"})

    def test_overwriting_leaves_what_is_not_the_checkpoints(self):
        out = self.dir / "out"
        support.run(*self.command(out), "--dynamic")
        (out / "thesis.txt").write_text("precious")
        support.run(*self.command(out), "--overwrite")
        self.assertEqual((out / "thesis.txt").read_text(), "precious")
        self.assertIn("is not among the files", support.run("verify", out))

    def test_json_says_what_was_chosen_in_every_layer(self):
        layers = support.run_json(*self.command(self.dir / "out"))["per_layer"]

        self.assertEqual([layer["layer"] for layer in layers], [0, 1, 2, 3, 4, 5])
        for layer in layers:
            self.assertIn(layer["fold"], layer["candidates"])
            self.assertLessEqual(layer["error_after"], layer["error_before"])
            self.assertLess(layer["output_error_after"], layer["output_error_before"])


if __name__ == "__main__":
    unittest.main()
