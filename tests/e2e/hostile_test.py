"""Checkpoints, files and machines that are not as they should be: an error that says so, soon, and exit status 1."""
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import support

ASK = ["--raw", "--prompt", "The", "--temperature", "0", "--max-tokens", "2"]


class Hostile(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = Path(directory.name)
        self.model = self.work / "model"
        self.model.mkdir()
        for path in support.FLOAT_MODEL.iterdir():
            (self.model / path.name).symlink_to(path)

    def replace(self, name, content):
        (self.model / name).unlink(missing_ok=True)
        (self.model / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    def edit_config(self, **changes):
        config = json.loads((support.FLOAT_MODEL / "config.json").read_text())
        self.replace("config.json", json.dumps(config | changes))

    def add_tensor(self, name):
        values = struct.pack("<4f", 1, 1, 1, 1)
        header = json.dumps({name: {"dtype": "F32", "shape": [4], "data_offsets": [0, len(values)]}}).encode()
        self.replace("more.safetensors", struct.pack("<Q", len(header)) + header + values)

    def shell(self, command, **more):
        return subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=120,
                              env=os.environ | {"L": support.PROGRAM, "M": str(self.model)}, **more)

    def test_a_fifo_in_place_of_a_file_is_refused_at_once(self):
        for name in ("model.safetensors", "config.json", "tokenizer.json", "generation_config.json"):
            with self.subTest(name):
                (self.model / name).unlink()
                os.mkfifo(self.model / name)

                message = support.run("run", "--model", self.model, *ASK, expect=1, timeout=60)

                self.assertIn(name, message)
                self.assertIn("a regular file expected", message)
                (self.model / name).unlink()
                (self.model / name).symlink_to(support.FLOAT_MODEL / name)
        os.mkfifo(self.work / "lines")
        message = support.run("eval", "logits", "--model", self.model, "--tokens", self.work / "lines", "--out",
                              self.work / "out", expect=1, timeout=60)
        self.assertIn("--tokens: cannot read", message)

    def test_stderr_that_takes_nothing_stops_nothing(self):
        (self.work / "calib.json").write_text('["a few words to look at"]')
        for redirection in ("2>/dev/full", "2>&-"):
            with self.subTest(redirection):
                done = self.shell(f'"$L" run --model "$M" {" ".join(ASK)} {redirection}')
                self.assertEqual(done.returncode, 0)
                self.assertNotEqual(done.stdout, "")
                done = self.shell(f'"$L" quantize --model "$M" --out d{len(redirection)} --calib calib.json {redirection}',
                                  cwd=self.work)
                self.assertEqual(done.returncode, 0)

    def test_closed_streams_are_not_reused_for_files(self):
        done = self.shell(f'"$L" quantize --model "$M" --out d --dynamic --anti none >&- 2>&- <&-', cwd=self.work)
        self.assertEqual(done.returncode, 1)  # the summary has nowhere to go
        self.assertIn("no problem found", support.run("verify", self.work / "d"))
        self.assertEqual(self.shell(f'"$L" run --model "$M" {" ".join(ASK)} >&-').returncode, 1)

    def test_help_that_nobody_can_read_is_an_error(self):
        self.assertEqual(self.shell('"$L" --help >/dev/full').returncode, 1)
        self.assertEqual(self.shell('"$L" --help').returncode, 0)

    @unittest.skipUnless(os.geteuid() == 0 and shutil.which("setpriv"), "needs another user's process limit")
    def test_threads_that_cannot_be_started_are_counted(self):
        os.chmod(self.work, 0o777)
        limited = "exec setpriv --reuid 65533 --regid 65534 --clear-groups prlimit --nproc=4"
        for command in (f'run --model "$M" {" ".join(ASK)}', 'quantize --model "$M" --out d --fa-quant'):
            with self.subTest(command):
                done = self.shell(f'{limited} "$L" {command} --threads 16', cwd=self.work)

                self.assertEqual(done.returncode, 1, done.stderr)
                self.assertRegex(done.stderr, r"threads: 16 expected, but only \d+ could be started")

    def test_control_characters_of_a_checkpoint_reach_no_terminal(self):
        self.edit_config(hidden_act="\x1b]0;pwned\x07\x1b[31m" + "x" * 100000)

        message = support.run("inspect", self.model, expect=1)

        self.assertNotIn("\x1b", message)
        self.assertIn("\\x1b]0;pwned", message)
        self.assertLess(len(message), 2000)

    def test_a_path_that_is_not_utf8_does_not_break_json(self):
        odd = Path(os.fsdecode(os.fsencode(str(self.work)) + b"/m\xff"))
        self.model.rename(odd)

        described = json.loads(support.run("inspect", odd, "--json"))

        self.assertIn("path", described)

    def test_a_config_of_another_model_is_refused(self):
        layers = json.loads((support.FLOAT_MODEL / "config.json").read_text())["num_hidden_layers"]
        for changes in ({"num_hidden_layers": layers - 1}, {"num_hidden_layers": layers + 1}, {"n_shared_experts": 0},
                        {"vocab_size": 4097}):
            with self.subTest(changes):
                self.edit_config(**changes)

                support.run("run", "--model", self.model, *ASK, expect=1)
                support.run("quantize", "--model", self.model, "--out", self.work / "d", "--dynamic", "--anti", "none",
                            expect=1)
                self.assertIn("1 problem(s) found", support.run("doctor", self.model, expect=1))

    def set_bf16(self, name, index, bits):
        data = bytearray((support.FLOAT_MODEL / "model.safetensors").read_bytes())
        (length,) = struct.unpack_from("<Q", data)
        entry = json.loads(data[8:8 + length])[name]
        self.assertEqual(entry["dtype"], "BF16")
        struct.pack_into("<H", data, 8 + length + entry["data_offsets"][0] + 2 * index, bits)
        self.replace("model.safetensors", bytes(data))

    def test_a_gate_that_is_not_finite_is_refused_by_name(self):
        for bits in (0x7fc0, 0xff80):  # NaN, -Inf
            self.set_bf16("model.layers.2.mlp.gate.weight", 1000, bits)

            self.assertIn("model.layers.2.mlp.gate.weight", support.run("run", "--model", self.model, *ASK, expect=1))

    def test_an_absurd_norm_is_refused_by_a_quantiser_that_observes_nothing(self):
        name = "model.layers.1.post_attention_layernorm.weight"
        self.set_bf16(name, 3, 0x7e00)  # 4e37

        message = support.run("quantize", "--model", self.model, "--out", self.work / "d", "--dynamic", "--anti", "none", expect=1)

        self.assertIn(name, message)
        self.assertFalse((self.work / "d").exists())

    def test_tensors_that_nobody_reads_are_named_unless_they_are_ignored(self):
        name = "model.layers.1.self_attn.indexer.k_norm.weight"
        self.add_tensor(name)
        out = self.work / "d"

        self.assertIn(name, support.run("run", "--model", self.model, *ASK, expect=1))
        self.assertIn(name, support.run("inspect", self.model))
        quantize = ["quantize", "--model", self.model, "--out", out, "--dynamic", "--anti", "none"]
        self.assertIn(name, support.run(*quantize, expect=1))
        support.run(*quantize, "--ignore-unread-tensors")
        self.assertIn("1 problem(s)", support.run("verify", out, "--source", self.model, expect=1))
        support.run("verify", out, "--source", self.model, "--ignore-unread-tensors")
        support.run("run", "--model", self.model, *ASK, "--ignore-unread-tensors")

    def test_harmless_tensors_are_read_over(self):
        self.add_tensor("model.layers.1.self_attn.rotary_emb.inv_freq")

        support.run("run", "--model", self.model, *ASK)

    def test_doctor_tells_all_that_is_wrong(self):
        self.replace("tokenizer.json", "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
        self.replace("generation_config.json", "<!DOCTYPE html><html>")
        self.replace("model.safetensors", (support.FLOAT_MODEL / "model.safetensors").read_bytes()[:100000])
        command = [support.PROGRAM, "doctor", self.model, "--json"]

        done = subprocess.run(command, capture_output=True, text=True)

        self.assertEqual(done.returncode, 1)
        problems = "\n".join(json.loads(done.stdout)["checkpoint"]["problems"])
        for cause in ("Git LFS pointer", "web page", "truncated"):
            self.assertIn(cause, problems)

    def test_a_promise_of_millions_of_positions_costs_no_memory(self):
        self.edit_config(max_position_embeddings=10_000_000)
        script = ("import resource, subprocess, sys; subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True); "
                  "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
        done = subprocess.run([sys.executable, "-c", script, support.PROGRAM, "doctor", self.model], capture_output=True,
                              text=True, check=True)
        self.assertLess(int(done.stdout), 1_000_000, "KiB")
        self.edit_config(max_position_embeddings=10**9)
        self.assertIn("max_position_embeddings", support.run("run", "--model", self.model, *ASK, expect=1))

    def test_sizes_are_understood_or_refused(self):
        command = ["quantize", "--model", self.model, "--out", self.work / "d"]
        for flag, value in (("--max-memory", "-1"), ("--max-memory", "99999999999999999999"), ("--max-memory", "x"),
                            ("--shard-size", "-1"), ("--shard-size", "0"), ("--shard-size", "1.5QB")):
            with self.subTest(f"{flag} {value}"):
                message = support.run(*command, f"{flag}={value}", expect=2)

                self.assertRegex(message, f"{flag}: a size of at least a byte .* expected")
        support.run(*command, "--dynamic", "--anti", "none", "--max-memory", "1.5GiB", "--shard-size", "0.5 GB")

    def test_ids_beyond_the_vocabulary_are_refused(self):
        message = support.run("tokenize", "--model", self.model, text='{"ids": [99999999]}\n', expect=1)

        self.assertTrue(re.search(r"line 1: 'ids': token ids from 0 to \d+ expected, got 99999999", message), message)


if __name__ == "__main__":
    unittest.main()
