"""Completion of command lines in bash, and the manual pages: both come from the option tables that --help prints."""
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import support

BREAKS = re.compile(r"(=)")  # bash makes a word of every "="


def complete(line, directory="/"):
    """What bash offers for the last word of `line` (after a blank: for a new one), as a sorted list."""
    words = [part for word in line.split(" ") for part in BREAKS.split(word) if part]
    if line.endswith(" "):
        words.append("")
    quoted = " ".join("'" + word + "'" for word in words)
    script = (f"source <('{support.PROGRAM}' completion bash)\n"
              f"COMP_WORDS=({quoted}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))\n"
              "_latent8; printf '%s\\n' \"${COMPREPLY[@]}\"")
    done = subprocess.run(["bash", "--norc", "-c", script], cwd=directory, text=True, capture_output=True, check=True)
    assert done.stderr == "", done.stderr
    return sorted(word for word in done.stdout.split("\n") if word)


def commands_of(*command):
    """Names below "Subcommands:" in a help text."""
    section = support.run(*command, "--help").split("\nSubcommands:\n")
    return re.findall(r"^  (\w+)", section[1].split("\n\n")[0], re.M) if len(section) == 2 else []


def options_of(*command):
    """Long names of options in a help text."""
    return sorted(set(re.findall(r"^  (?:-\w,)?(--[\w-]+)", support.run(*command, "--help"), re.M)))


class Completion(unittest.TestCase):
    def test_offers_every_subcommand_of_the_help_and_no_hidden_one(self):
        self.assertEqual(complete("latent8 "), sorted(commands_of()))
        self.assertEqual(complete("latent8 eval "), sorted(commands_of("eval")))
        self.assertEqual(complete("latent8 compl"), [])
        self.assertEqual(complete("latent8 ins"), ["inspect"])

    def test_offers_exactly_the_options_of_the_help(self):
        for command in commands_of() + ["eval kld", "bench attention"]:
            with self.subTest(command):
                self.assertEqual(complete(f"latent8 {command} --"), options_of(*command.split()))

    def test_offers_the_choices_of_an_option(self):
        self.assertEqual(complete("latent8 quantize --format "), ["ascendv1", "mindie"])
        self.assertEqual(complete("latent8 quantize --format=m"), ["mindie"])
        self.assertEqual(complete("latent8 quantize --format="), ["ascendv1", "mindie"])
        self.assertEqual(complete("latent8 run --numerics a"), ["ascend"])
        self.assertIn("v2-lite", complete("latent8 bench --shape "))

    def test_a_value_is_not_taken_for_a_command(self):
        self.assertIn("--text", complete("latent8 eval kld --model eval --"))

    def test_offers_nothing_for_free_text(self):
        self.assertEqual(complete("latent8 run --prompt "), [])

    def test_offers_files_where_a_file_is_wanted_and_directories_where_a_directory_is(self):
        with tempfile.TemporaryDirectory() as directory:
            (Path(directory) / "model one").mkdir()
            (Path(directory) / "models.json").touch()

            self.assertEqual(complete("latent8 run --model mo", directory), ["model one"])
            self.assertEqual(complete("latent8 inspect mo", directory), ["model one"])
            self.assertEqual(complete("latent8 quantize --calib mo", directory), ["model one", "models.json"])

    def test_the_second_name_of_the_program_completes_its_own_options(self):
        self.assertEqual(complete("quant_deepseek_w8a8 --"), options_of("quant_deepseek_w8a8"))
        self.assertEqual(complete("/opt/bin/quant_deepseek_w8a8 --quant_mtp "), ["float", "mix", "none"])

    def test_a_shell_that_is_not_known_is_a_usage_error(self):
        support.run("completion", "fish", expect=2)


class Manual(unittest.TestCase):
    def pages(self):
        return {"latent8": support.run("manual"),
                "quant_deepseek_w8a8": support.run("manual", "quant_deepseek_w8a8")}

    def test_names_every_command_and_option_of_the_help(self):
        pages = self.pages()
        for name, command in [("latent8", [c]) for c in commands_of()] + [("quant_deepseek_w8a8", ["quant_deepseek_w8a8"])]:
            page = pages[name].replace("\\-", "-")
            for option in options_of(*command):
                with self.subTest(f"{name} {command[0]} {option}"):
                    self.assertIn(f"\\fB{option}\\fR", page)

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_groff_has_nothing_to_complain_about(self):
        for name, page in self.pages().items():
            with self.subTest(name):
                done = subprocess.run(["groff", "-man", "-ww", "-z", "-Tutf8"], input=page, text=True, capture_output=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""))

    @unittest.skipUnless(shutil.which("groff"), "groff is not installed")
    def test_examples_can_be_pasted(self):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-P-cbou"], input=self.pages()["latent8"], text=True,
                              capture_output=True, check=True)

        self.assertIn('latent8 run --model models/tiny --prompt "What\'s deep learning?" --temperature 0', done.stdout)


class Installation(unittest.TestCase):
    def test_completion_and_manual_pages_go_where_bash_and_man_look_for_them(self):
        build = Path(support.PROGRAM).parents[1]
        with tempfile.TemporaryDirectory() as prefix:
            subprocess.run(["cmake", "--install", str(build), "--prefix", prefix], capture_output=True, check=True)
            share = Path(prefix) / "share"
            pages = {page.stem: page.read_text() for page in (share / "man" / "man1").iterdir()}
            scripts = {script.name: script.read_text() for script in (share / "bash-completion" / "completions").iterdir()}

            for name in ["latent8", "quant_deepseek_w8a8"]:
                self.assertEqual(scripts[name], support.run("completion", "bash"))
                self.assertTrue(subprocess.run([f"{prefix}/bin/{name}", "--help"], capture_output=True).stdout)
            self.assertEqual(pages, {"latent8": support.run("manual"),
                                     "quant_deepseek_w8a8": support.run("manual", "quant_deepseek_w8a8")})


if __name__ == "__main__":
    unittest.main()
