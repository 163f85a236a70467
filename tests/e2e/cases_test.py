"""Checkpoints as people have them: what a download, an editor or another tool made of one, and what latent8 says.

Inputs are models/tiny-r1 with a file or two changed. `latent8 doctor DIR` names the cause and the way out in one line."""
import base64
import bz2
import io
import json
import lzma
import os
import struct
import tarfile
import tempfile
import unittest
import zipfile
from pathlib import Path

import support

WEIGHTS = "model.safetensors"
LFS = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 4302341\n"
PAGE = "\n<!DOCTYPE html>\n<html><body>Log in</body></html>"


def source(name):
    return (support.FLOAT_MODEL / name).read_bytes()


def edited(name, **changes):
    return json.dumps({**json.loads(source(name)), **changes})


def archive(kind):
    file = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(file, "w") as out:
            out.writestr("archive/data.pkl", b"x" * 200)
    else:
        with tarfile.open(fileobj=file, mode="w") as out:
            out.addfile(tarfile.TarInfo("model.safetensors"))
    return file.getvalue()


class Link(str):
    """The target of a symbolic link."""


def safetensors(tensors):
    """name -> (dtype, shape, bytes)"""
    header, data = {}, b""
    for name, (dtype, shape, content) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data


def tensors_of_source():
    data = source(WEIGHTS)
    (length,) = struct.unpack("<Q", data[:8])
    out = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__":
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            out[name] = entry["dtype"], entry["shape"], data[begin:end]
    return out


def with_tensors(*names, without=()):
    tensors = {name: entry for name, entry in tensors_of_source().items() if name not in without}
    return safetensors({**tensors, **{name: ("F32", [2], b"\0\0\x80\x3f" * 2) for name in names}})


def method(**quantization):
    return {"config.json": edited("config.json", quantization_config=quantization)}


def tensors_in(shard_of_first, **files):
    """An index by which the first tensor lies in another file than the others."""
    names = sorted(tensors_of_source())
    weight_map = {name: WEIGHTS for name in names} | {names[0]: shard_of_first}
    return {"model.safetensors.index.json": json.dumps({"weight_map": weight_map}), **files}


# Situation: files (None: it is not there), the cause, the way out.
BROKEN = {
    "weights are a Git LFS pointer": ({WEIGHTS: LFS}, "Git LFS pointer", "git lfs pull"),
    "a pointer that Windows rewrote": ({WEIGHTS: LFS.replace("\n", "\r\n")}, "Git LFS pointer", "git lfs pull"),
    "the index is a Git LFS pointer": ({"model.safetensors.index.json": LFS}, "Git LFS pointer", "git lfs pull"),
    "config.json is a Git LFS pointer": ({"config.json": LFS}, "Git LFS pointer", "git lfs pull"),
    "generation_config.json is a Git LFS pointer": ({"generation_config.json": LFS}, "Git LFS pointer", "git lfs"),
    "weights are a zip archive": ({WEIGHTS: archive("zip")}, "a zip archive", "convert it"),
    "weights are a tar archive": ({WEIGHTS: archive("tar")}, "a tar archive", "unpack it"),
    "weights are packed by xz": ({WEIGHTS: lzma.compress(b"x")}, "compressed (xz)", "unpack it"),
    "weights are packed by bzip2": ({WEIGHTS: bz2.compress(b"x")}, "compressed (bzip2)", "unpack it"),
    "weights are an empty file": ({WEIGHTS: ""}, "an empty file", "fetch it again"),
    "weights are a server's message": ({WEIGHTS: '{"error": "Access to model x is restricted"}'},
                                       "a server's error message", "fetch it again"),
    "weights end early": ({WEIGHTS: source(WEIGHTS)[:-5000]}, "truncated", "fetch it again"),
    "the header ends early": ({WEIGHTS: source(WEIGHTS)[:500]}, "the download is incomplete", "fetch it again"),
    "weights are being downloaded": ({WEIGHTS: None, WEIGHTS + ".incomplete": "x"}, "has not ended", "fetch it again"),
    "a browser is downloading": ({WEIGHTS: None, WEIGHTS + ".crdownload": "x"}, "has not ended", "fetch it again"),
    "weights are a pickle": ({WEIGHTS: None, "pytorch_model.bin": archive("zip")}, "'pytorch_model.bin'", "convert"),
    "weights are GGUF": ({WEIGHTS: None, "model.gguf": "GGUF"}, "'model.gguf'", "fetch or convert"),
    "a hub's cache copied without what links name": ({WEIGHTS: Link("../../blobs/4d7a")}, "'../../blobs/4d7a'", "cp -L"),
    "config.json is such a link": ({"config.json": Link("../../blobs/4d7a")}, "'../../blobs/4d7a'", "cp -L"),
    "the index names a shard that is not there": (tensors_in("model-2.safetensors"), "'model-2.safetensors'",
                                                  "fetch it again"),
    "the index names an empty shard": (tensors_in("model-2.safetensors", **{"model-2.safetensors": ""}),
                                       "model-2.safetensors: the file is an empty file", "fetch it again"),
    "config.json is a web page": ({"config.json": PAGE}, "a web page", "fetch it again"),
    "config.json is a page that begins with a comment": ({"config.json": "<!-- x --><html>"}, "a web page", "fetch it"),
    "config.json is in UTF-16": ({"config.json": source("config.json").decode().encode("utf-16")}, "UTF-16",
                                 "save it as UTF-8"),
    "config.json has a merge conflict": ({"config.json": b"<<<<<<< HEAD\n" + source("config.json")}, "merge conflict",
                                         "resolve it"),
    "there is no config.json but an adapter's": ({"config.json": None, "adapter_config.json": "{}"}, "a LoRA adapter",
                                                 "merge it"),
    "the checkpoint is one folder down": ({name: None for name in ("config.json", WEIGHTS)} | {
        "snapshot/config.json": source("config.json")}, "got it in 'snapshot'", "name that folder"),
    "AWQ": (method(quant_method="awq", bits=4), "'awq' (of AutoAWQ)", "take the bf16 or fp8 checkpoint"),
    "GPTQ": (method(quant_method="gptq", bits=4), "'gptq' (of AutoGPTQ", "take the bf16 or fp8 checkpoint"),
    "compressed-tensors": (method(quant_method="compressed-tensors"), "llm-compressor", "take the bf16 or fp8"),
    "bitsandbytes": (method(quant_method="bitsandbytes"), "bitsandbytes", "take the bf16 or fp8 checkpoint"),
    "bitsandbytes without its name": (method(load_in_4bit=True), "bitsandbytes", "take the bf16 or fp8 checkpoint"),
    "a method without a name": (method(bits=4, group_size=128), "without a name", "take the bf16 or fp8 checkpoint"),
    "GPTQ that config.json does not tell": (
        {WEIGHTS: with_tensors("model.layers.1.self_attn.o_proj.qweight", without=["model.layers.1.self_attn.o_proj.weight"])},
        "quantised by gptq or awq", "take the bf16 or fp8 checkpoint"),
    "llm-compressor that config.json does not tell": (
        {WEIGHTS: with_tensors("model.layers.1.self_attn.o_proj.weight_packed")}, "(of llm-compressor)", "take the bf16"),
    "an unknown norm": ({WEIGHTS: with_tensors("model.layers.1.self_attn.q_norm.weight")}, "self_attn.q_norm.weight'",
                        "--ignore-unread-tensors"),
    "a bias that nobody adds": ({WEIGHTS: with_tensors("model.layers.1.self_attn.kv_b_proj.bias")}, "kv_b_proj.bias'",
                                "--ignore-unread-tensors"),
    "a scale beside bf16 weights": ({WEIGHTS: with_tensors("model.layers.1.self_attn.o_proj.weight_scale_inv")},
                                    "o_proj.weight_scale_inv'", "--ignore-unread-tensors"),
    "a second head": ({WEIGHTS: with_tensors("score.weight")}, "'score.weight'", "--ignore-unread-tensors"),
}

# What quantize does not need: it says what it leaves out.
BROKEN_TEXT = {
    "tokenizer.json is a Git LFS pointer": ({"tokenizer.json": LFS}, "Git LFS pointer", "git lfs pull"),
    "tokenizer.json is a web page": ({"tokenizer.json": PAGE}, "a web page", "fetch it again"),
    "tokenizer.json is a server's message": ({"tokenizer.json": '{"error":"Repository not found"}'},
                                             "a server's error message", "fetch it again"),
    "tokenizer.json says not found": ({"tokenizer.json": "Not Found"}, "'Not found'", "fetch it again"),
    "the template is a Git LFS pointer": ({"chat_template.jinja": LFS}, "Git LFS pointer", "git lfs pull"),
    "the template is a web page": ({"chat_template.jinja": PAGE}, "a web page", "fetch it again"),
    "a named template is a web page": ({"additional_chat_templates/tool_use.jinja": PAGE, "chat_template.jinja": "x"},
                                       "a web page", "fetch it again"),
    "tokenizer.json is a link that leads nowhere": ({"tokenizer.json": Link("../../blobs/4d7a")}, "'../../blobs/4d7a'",
                                                    "cp -L"),
}
NO_TOKENIZER = {
    "there is only sentencepiece's tokenizer.model": ({"tokenizer.json": None, "tokenizer.model": "\n\x0e\n\x05<unk>"},
                                                      "got tokenizer.model", "AutoTokenizer"),
    "there is only tekken.json": ({"tokenizer.json": None, "tekken.json": "{}"}, "got tekken.json", "AutoTokenizer"),
    "there is only GPT-2's vocabulary": ({"tokenizer.json": None, "vocab.json": "{}", "merges.txt": "a b"},
                                         "got vocab.json", "AutoTokenizer"),
    "there is a tiktoken file of another model": ({"tokenizer.json": None, "qwen.tiktoken": "IQ== 0"},
                                                  "got qwen.tiktoken", "AutoTokenizer"),
    "there is no tokenizer": ({"tokenizer.json": None}, "no tokenizer", "publishers"),
}


class Cases(unittest.TestCase):
    def model(self, files):
        """A folder with models/tiny-r1 and `files` instead of its own."""
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        path = Path(folder.name) / "model"
        path.mkdir()
        for own in support.FLOAT_MODEL.iterdir():
            if own.is_file() and own.name not in files:
                os.symlink(own, path / own.name)
        for name, content in files.items():
            if content is None:
                continue
            (path / name).parent.mkdir(exist_ok=True)
            if isinstance(content, Link):
                os.symlink(content, path / name)
            else:
                (path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    def quantize(self, model, *flags, **more):
        return support.run_json("quantize", "--model", model, "--out", model.parent / "out", "--dynamic", "--anti",
                                "none", *flags, **more)

    def expect(self, text, *parts):
        for part in parts:
            self.assertIn(part, text)

    def doctor(self, model, *parts):
        """One problem of doctor has all the parts."""
        command = [support.PROGRAM, "doctor", str(model), "--json"]
        done = support.subprocess.run(command, capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, 1, done.stdout)
        problems = json.loads(done.stdout)["checkpoint"]["problems"]
        self.assertTrue(any(all(part in p for part in parts) and "\n" not in p for p in problems), problems)

    def healthy(self, model):
        return support.run_json("doctor", model)["checkpoint"]

    def test_what_is_wrong_with_files_is_named_with_the_way_out(self):
        for situation, (files, cause, way_out) in BROKEN.items():
            with self.subTest(situation):
                model = self.model(files)

                self.doctor(model, cause, way_out)
                self.expect(support.run("run", "--model", model, "--prompt", "hi", expect=1), cause, way_out)
                self.expect(support.run("quantize", "--model", model, "--out", model.parent / "out", expect=1), cause, way_out)
                self.assertEqual([p.name for p in model.parent.iterdir()], ["model"])

    def test_what_is_wrong_with_texts_is_named_and_not_copied(self):
        for situation, (files, cause, way_out) in BROKEN_TEXT.items():
            with self.subTest(situation):
                model = self.model(files)

                self.doctor(model, cause, way_out)
                self.expect(support.run("run", "--model", model, "--prompt", "hi", expect=1), cause, way_out)
                if not any(isinstance(content, Link) for content in files.values()):
                    self.expect(json.dumps(self.quantize(model)["warnings"]), cause, way_out)
                    self.assertFalse((model.parent / "out" / next(iter(files))).exists())

    def test_a_tokenizer_that_is_not_read_is_named_with_the_way_out(self):
        for situation, (files, cause, way_out) in NO_TOKENIZER.items():
            with self.subTest(situation):
                model = self.model(files)

                self.doctor(model, cause, way_out)
                self.expect(support.run("tokenize", "--model", model, text='{"text": "a"}\n', expect=1), cause, way_out)

    def test_what_editors_leave_in_files_changes_nothing(self):
        for situation, change in {"a mark of UTF-8": lambda text: b"\xef\xbb\xbf" + text,
                                  "Windows' line ends": lambda text: text.replace(b"\n", b"\r\n")}.items():
            for name in ("config.json", "tokenizer.json", "tokenizer_config.json", "generation_config.json"):
                with self.subTest(f"{situation} in {name}"):
                    self.assertEqual(self.healthy(self.model({name: change(source(name))}))["problems"], [])

    def test_json_with_a_comma_too_many_is_not_called_truncated(self):
        model = self.model({"config.json": source("config.json").rstrip()[:-1] + b",}"})

        error = support.run("inspect", model, expect=1)

        self.expect(error, "config.json: JSON expected, got something else at line")
        self.assertNotIn("truncated", error)

    def test_weights_of_other_programs_beside_the_models_are_left_alone(self):
        for name in ("adapter_model.safetensors", "consolidated.00.safetensors"):
            with self.subTest(name):
                model = self.model({name: with_tensors("x")})

                report = self.healthy(model)

                self.assertEqual(report["problems"], [])
                self.expect(json.dumps(report["advice"]), name)

    def test_a_header_whose_length_begins_like_a_pickle_is_a_header(self):
        data = source(WEIGHTS)
        (length,) = struct.unpack("<Q", data[:8])
        for low in (0x280, 0x380, 0x480, 0x580):  # the first bytes of pickles of protocols 2 to 5
            padded = (length + 0xffff) // 0x10000 * 0x10000 + low
            text = data[8:8 + length] + b" " * (padded - length)

            model = self.model({WEIGHTS: struct.pack("<Q", padded) + text + data[8 + length:]})

            self.assertEqual(self.healthy(model)["problems"], [])

    def test_constants_and_scales_of_other_caches_are_no_problem(self):
        at = "model.layers.1.self_attn."
        model = self.model({WEIGHTS: with_tensors(at + "rotary_emb.inv_freq", at + "rotary_emb.cos_cached", at + "k_scale",
                                                  at + "attn.v_scale")})

        self.assertEqual(self.healthy(model)["problems"], [])

    def test_biases_that_the_quantiser_cannot_keep_are_refused(self):
        for name in ("lm_head.bias", "model.norm.bias", "model.layers.1.mlp.gate.bias"):
            with self.subTest(name):
                width = {"lm_head.bias": 4096, "model.norm.bias": 256}.get(name, 16)
                tensors = {**tensors_of_source(), name: ("F32", [width], b"\0" * 4 * width)}
                model = self.model({WEIGHTS: safetensors(tensors)})

                error = support.run("quantize", "--model", model, "--out", model.parent / "out", expect=1)

                self.expect(error, f"'{name}'", "cannot keep")

    def test_kimis_tokenizer_is_read_without_its_python(self):
        lines = [f"{base64.b64encode(bytes([b])).decode()} {b}\n" for b in range(256)]
        config = {"tokenizer_class": "TikTokenTokenizer", "bos_token": "[BOS]",
                  "added_tokens_decoder": {"256": {"content": "[BOS]", "special": True}},
                  "chat_template": "{{ messages[0].content }}"}
        model = self.model({"tokenizer.json": None, "tiktoken.model": "".join(lines),
                            "tokenizer_config.json": json.dumps(config), "chat_template.jinja": None})

        self.assertEqual(self.healthy(model)["problems"], [])
        out = support.run("tokenize", "--model", model, text='{"text": "[BOS]ab"}\n')
        self.assertEqual(json.loads(out), {"ids": [256, 97, 98]})

    def test_a_method_that_no_conversation_reaches_is_a_note(self):
        template = "{% if tools %}{{ tools.popitem() }}{% endif %}{{ messages[0].content }}"
        model = self.model({"chat_template.jinja": template})

        self.assertEqual(self.healthy(model)["problems"], [])
        line = {"messages": [{"role": "user", "content": "hi"}]}
        self.assertEqual(json.loads(support.run("tokenize", "--model", model, text=json.dumps(line) + "\n"))["text"], "hi")

    def test_tools_have_their_own_template(self):
        listed = {"chat_template": [{"name": "default", "template": "D"}, {"name": "tool_use", "template": "T"}]}
        layouts = {"files": {"chat_template.jinja": "D", "additional_chat_templates/tool_use.jinja": "T"},
                   "a list": {"chat_template.jinja": None,
                              "tokenizer_config.json": edited("tokenizer_config.json", **listed)}}
        for layout, files in layouts.items():
            for tools, expected in ((None, "D"), ([{"type": "function", "function": {"name": "f"}}], "T")):
                with self.subTest(layout=layout, tools=tools):
                    line = {"messages": [{"role": "user", "content": "hi"}]} | ({"tools": tools} if tools else {})

                    out = support.run("tokenize", "--model", self.model(files), text=json.dumps(line) + "\n")

                    self.assertEqual(json.loads(out)["text"], expected)

    def test_a_byte_level_tokenizer_that_calls_itself_llama_keeps_its_spaces(self):
        model = self.model({"tokenizer_config.json": edited("tokenizer_config.json", tokenizer_class="LlamaTokenizerFast",
                                                            legacy=True, add_prefix_space=None)})

        out = support.run("tokenize", "--model", model, text='{"text": "hello  world"}\n')

        ids = json.loads(out)["ids"]
        back = json.loads(support.run("tokenize", "--model", model, text=json.dumps({"ids": ids}) + "\n"))
        self.assertEqual(back["text"], "hello  world")
        plain = support.run("tokenize", "--model", support.FLOAT_MODEL, text='{"text": "hello  world"}\n')
        self.assertEqual(json.loads(plain)["ids"], ids)


if __name__ == "__main__":
    unittest.main()
