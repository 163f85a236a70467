"""What the program does when the machine or the caller gets in its way: full disks, signals, odd values."""
import signal
import subprocess
import tempfile
import unittest
from pathlib import Path

import support

RAW = ["--raw", "--prompt", "The", "--temperature", "0"]


def run_float(*arguments, **more):
    return support.run("run", "--model", support.FLOAT_MODEL, *arguments, **more)


class Failure(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.work = Path(directory.name)

    def names(self):
        return sorted(path.name for path in self.work.iterdir())

    def test_an_answer_that_stdout_cannot_take_is_an_error(self):
        command = [support.PROGRAM, "run", "--model", support.FLOAT_MODEL, *RAW, "--max-tokens", "2"]
        with open("/dev/full", "w") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)

        self.assertEqual(done.returncode, 1)
        self.assertIn("stdout", done.stderr)

    def test_a_file_over_the_limit_is_an_error_and_leaves_nothing(self):
        out = self.work / "out"
        command = f"ulimit -f 1000; exec {support.PROGRAM} quantize --model {support.FLOAT_MODEL} --out {out}"
        done = subprocess.run(["bash", "-c", command], capture_output=True, text=True)

        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("cannot make room", done.stderr)
        self.assertEqual(self.names(), [])

    def test_an_interrupted_quantize_leaves_what_a_second_run_finishes(self):
        command = [support.PROGRAM, "quantize", "--model", support.FLOAT_MODEL, "--out", self.work / "out"]
        for ending in (signal.SIGINT, signal.SIGTERM):
            with self.subTest(ending), subprocess.Popen(
                command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)) as process:
                process.stderr.readline()  # the first layer has begun
                process.send_signal(ending)
                process.stderr.read()

                self.assertEqual(process.wait(), -ending)
                self.assertLessEqual(set(self.names()), {"out.partial"})  # nothing where no layer was done
        done = subprocess.run(command, capture_output=True, text=True)

        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.names(), ["out"])

    def test_a_closed_pipe_ends_an_answer_quietly(self):
        command = [support.PROGRAM, "run", "--model", support.FLOAT_MODEL, *RAW]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            process.stdout.close()

            self.assertNotIn("error", process.stderr.read())

    def test_a_prompt_that_is_not_utf8_is_named(self):
        message = run_float("--prompt", "a\udcff", expect=1)

        self.assertIn("--prompt: UTF-8 expected, got byte 0xff at offset 1", message)

    def test_an_unknown_subcommand_is_named(self):
        self.assertIn("'fly'", support.run("fly", expect=2))

    def test_values_out_of_range_are_usage_errors(self):
        for flag, value in [("--top-p", "0"), ("--top-p", "nan"), ("--temperature", "-1"), ("--temperature", "nan"),
                            ("--seed", "-3"), ("--max-tokens", "-1"), ("--top-k", "-1"), ("--stop", "")]:
            with self.subTest(f"{flag} {value}"):
                message = run_float(*RAW[:3], flag, value, expect=2)

                self.assertIn(f"{flag}:", message)
                self.assertLess(len(message), 200)

    def test_an_atb_config_of_another_form_is_an_error(self):
        path = self.work / "config.json"
        for text in ["[]", '{"llm": 3}', '{"llm": {"kv_cache_options": 3}}',
                     '{"llm": {"kv_cache_options": {"enable_nz": null}}}']:
            with self.subTest(text):
                path.write_text(text)

                self.assertIn(str(path), run_float(*RAW, "--atb-config", path, expect=1))

    def test_an_unknown_shape_is_a_usage_error(self):
        self.assertIn("--shape: one of v2-lite,", support.run("bench", "--shape", "v9", expect=2))

    def test_a_file_of_tokens_that_is_not_there_is_named(self):
        message = support.run("eval", "logits", "--model", support.FLOAT_MODEL, "--tokens", self.work / "none",
                              "--out", self.work / "out", expect=1)

        self.assertIn(f"--tokens: cannot open '{self.work}/none': No such file", message)

    def test_a_directory_that_is_not_there_is_said_to_be_missing(self):
        self.assertIn("no such directory", support.run("inspect", self.work / "none", expect=1))

    def test_a_truncated_tokenizer_is_named(self):
        text = (support.FLOAT_MODEL / "tokenizer.json").read_bytes()
        (self.work / "tokenizer.json").write_bytes(text[:1000])

        message = support.run("tokenize", "--model", self.work, expect=1)

        self.assertIn("tokenizer.json: JSON expected, got a file that ends too early, after 1000 bytes", message)

    def test_questions_from_a_file_that_fail_fail_the_chat(self):
        command = [support.PROGRAM, "chat", "--model", support.FLOAT_MODEL, "--max-tokens", "2"]
        done = subprocess.run(command, input=b"a\xff\nhello\n", capture_output=True)

        self.assertEqual(done.returncode, 1)
        self.assertNotEqual(done.stdout, b"")  # the second question has its answer

    def test_messages_that_are_no_objects_are_an_error(self):
        message = support.run("tokenize", "--model", support.FLOAT_MODEL, text='{"messages": [3]}\n', expect=1)

        self.assertIn("line 1: 'messages'", message)


if __name__ == "__main__":
    unittest.main()
