"""Help, usage errors and input errors: the same manners for every subcommand."""
import tempfile
import unittest
from pathlib import Path

import support

COMMANDS = ["quantize", "quant_deepseek_w8a8", "run", "chat", "run_pa", "eval", "inspect", "tokenize", "bench", "doctor"]


class Cli(unittest.TestCase):
    def test_help_names_every_subcommand(self):
        text = support.run("--help")

        for command in COMMANDS:
            self.assertIn(command, text)

    def test_every_subcommand_has_help_with_an_example(self):
        for command in COMMANDS:
            with self.subTest(command):
                self.assertIn(f"latent8 {command}", support.run(command, "--help"))

    def test_an_unknown_subcommand_is_a_usage_error(self):
        support.run("fly", expect=2)

    def test_an_unknown_flag_is_a_usage_error(self):
        for command in COMMANDS:
            with self.subTest(command):
                support.run(command, "--no-such-flag", expect=2)

    def test_a_missing_model_is_named(self):
        message = support.run("inspect", "/no/such/model", expect=1)

        self.assertIn("/no/such/model", message)

    def test_a_directory_without_config_is_named(self):
        with tempfile.TemporaryDirectory() as directory:
            message = support.run("run", "--model", directory, "--prompt", "hello", expect=1)

        self.assertIn("config.json", message)

    def test_a_truncated_weight_file_is_named(self):
        with tempfile.TemporaryDirectory() as directory:
            for source in support.FLOAT_MODEL.iterdir():
                (Path(directory) / source.name).write_bytes(source.read_bytes()[:1_000_000])

            message = support.run("run", "--model", directory, "--prompt", "hello", expect=1)

        self.assertIn("model.safetensors", message)


if __name__ == "__main__":
    unittest.main()
