"""verify: right checkpoints pass, damaged ones exit with 1 and a list."""
import json
import shutil
import struct
import subprocess
import tempfile
import unittest
from pathlib import Path
from random import Random

import support

REFERENCE = support.GOLDEN / "msmodelslim" / "a_mindie_m4_static"


class Verify(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)

    def copy(self, original):
        """A copy whose files can be changed."""
        target = Path(self.folder.name) / "checkpoint"
        target.mkdir()
        for path in original.iterdir():
            if path.is_file():
                shutil.copyfile(path, target / path.name)
        return target

    def shard_with(self, checkpoint, tensor):
        """(file, offset, size) of a tensor."""
        for path in checkpoint.glob("*.safetensors"):
            data = path.read_bytes()
            (length,) = struct.unpack("<Q", data[:8])
            header = json.loads(data[8:8 + length])
            if tensor in header:
                begin, end = header[tensor]["data_offsets"]
                return path, 8 + length + begin, end - begin
        self.fail(f"no shard has {tensor}")

    def overwrite(self, checkpoint, tensor, content):
        path, offset, size = self.shard_with(checkpoint, tensor)
        self.assertLessEqual(len(content), size)
        with open(path, "r+b") as file:
            file.seek(offset)
            file.write(content)

    def test_a_fresh_checkpoint_is_right(self):
        d = support.run_json("verify", support.quantized_model())

        self.assertTrue(d["ok"])
        self.assertEqual(d["problems"], [])
        self.assertEqual(d["fa_layers"], 5)

    def flip(self, path, byte, bit):
        with open(path, "r+b") as file:
            file.seek(byte)
            value = file.read(1)[0]
            file.seek(byte)
            file.write(bytes([value ^ 1 << bit]))

    def test_every_flipped_bit_of_every_file_is_noticed(self):
        checkpoint = self.copy(support.quantized_model())
        random = Random(20261127)
        for path in sorted(checkpoint.iterdir()):
            for _ in range(3):
                byte, bit = random.randrange(path.stat().st_size), random.randrange(8)
                self.flip(path, byte, bit)
                with self.subTest(file=path.name, byte=byte, bit=bit):
                    support.run("verify", checkpoint, expect=1)
                self.flip(path, byte, bit)
        support.run("verify", checkpoint)

    def test_run_check_answers_only_where_every_file_is_right(self):
        command = ["--raw", "--prompt", "The", "--max-tokens", 1, "--temperature", 0, "--check"]
        checkpoint = self.copy(support.quantized_model())
        support.run("run", "--model", checkpoint, *command)
        shard, offset, _ = self.shard_with(checkpoint, "model.layers.1.self_attn.o_proj.weight")
        self.flip(shard, offset, 0)
        self.assertIn(shard.name, support.run("run", "--model", checkpoint, *command, expect=1))
        self.assertIn("SHA256SUMS", support.run("run", "--model", support.FLOAT_MODEL, *command, expect=1))

    def test_doctor_says_whether_the_list_is_there(self):
        self.assertTrue(support.run_json("doctor", support.quantized_model())["checkpoint"]["sha256sums"])
        self.assertFalse(support.run_json("doctor", support.FLOAT_MODEL)["checkpoint"]["sha256sums"])

    def test_a_low_bit_of_a_copied_tensor_is_a_problem_without_the_list_too(self):
        checkpoint = self.copy(support.quantized_model())
        (checkpoint / "SHA256SUMS").unlink()
        shard, offset, _ = self.shard_with(checkpoint, "lm_head.weight")
        self.flip(shard, offset + 1000, 0)
        message = support.run("verify", checkpoint, "--source", support.FLOAT_MODEL, expect=1)
        self.assertIn("problem", message)

    def test_a_fresh_checkpoint_has_the_weights_of_its_source(self):
        d = support.run_json("verify", support.quantized_model(), "--source", support.FLOAT_MODEL)

        self.assertTrue(d["ok"])
        kinds = {k["kind"]: k for k in d["kinds"]}
        self.assertEqual(kinds["experts.down_proj"]["tensors"], 64)
        self.assertGreater(kinds["experts.down_proj"]["error"], 0)
        self.assertLess(kinds["experts.down_proj"]["error"], 0.02)

    def test_a_checkpoint_of_the_reference_is_right(self):
        text = support.run("verify", REFERENCE, "--source", support.FLOAT_MODEL)

        self.assertIn("no problem found", text)
        self.assertIn("scales of input_layernorm, q_a_layernorm, rows of kv_b_proj", text)

    def test_problems_are_listed_with_exit_status_1(self):
        checkpoint = self.copy(REFERENCE)
        self.overwrite(checkpoint, "model.layers.0.mlp.up_proj.weight_scale", struct.pack("<H", 0x7FC0))

        message = support.run("verify", checkpoint, expect=1)

        self.assertIn("1 problem(s) found", message)

    def test_json_lists_every_problem(self):
        checkpoint = self.copy(REFERENCE)
        self.overwrite(checkpoint, "model.layers.0.mlp.up_proj.weight", b"\x80")

        done = self.run_failing("verify", checkpoint, "--json")

        d = json.loads(done)
        self.assertFalse(d["ok"])
        self.assertEqual([p["where"] for p in d["problems"]], ["model.layers.0.mlp.up_proj.weight"])
        self.assertIn("-128", d["problems"][0]["got"])

    def test_a_truncated_shard_is_a_problem_and_no_crash(self):
        checkpoint = self.copy(REFERENCE)
        shard = next(checkpoint.glob("*.safetensors"))
        with open(shard, "r+b") as file:
            file.truncate(1_000_000)

        self.assertIn("truncated", self.run_failing("verify", checkpoint))

    def test_weights_of_another_source_are_told_apart(self):
        source = self.copy(support.FLOAT_MODEL)
        tensor = "model.layers.2.mlp.experts.3.up_proj.weight"
        _, _, size = self.shard_with(source, tensor)
        self.overwrite(source, tensor, bytes(size))

        self.assertIn(tensor, self.run_failing("verify", REFERENCE, "--source", source))

    def test_a_float_checkpoint_is_no_quantised_one(self):
        self.assertIn("is it a float checkpoint?", self.run_failing("verify", support.FLOAT_MODEL))

    def test_any_number_of_threads_gives_the_same_answer(self):
        one, three = (support.run_json("verify", REFERENCE, "--source", support.FLOAT_MODEL, "--threads", n)
                      for n in (1, 3))
        one.pop("seconds"), three.pop("seconds")

        self.assertEqual(one, three)

    def test_a_folder_that_is_not_there_is_an_error(self):
        self.assertIn("no-such-folder", support.run("verify", "no-such-folder", expect=1))

    def run_failing(self, *arguments):
        """stdout of a run that ends with status 1."""
        done = subprocess.run([support.PROGRAM, *map(str, arguments)], text=True, capture_output=True, timeout=600)
        self.assertEqual(done.returncode, 1, done.stderr)
        return done.stdout


if __name__ == "__main__":
    unittest.main()
