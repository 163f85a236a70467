"""What tests of the tokenizer against Hugging Face `tokenizers` and `tiktoken` use: the libraries, which tools/deps.sh
puts into build/venv, texts, and tokenizer.json files.

LATENT8_REFERENCE_TEXTS sets the number of texts (300; 10,000 when a regex or a table changes)."""

import json
import os
import random
import subprocess
import sys
import tempfile
import unicodedata
import unittest

from support import PROGRAM, SOURCE

sys.path[:0] = [str(path) for path in sorted((SOURCE / "build/venv/lib").glob("python3*/site-packages"))]
try:
    import tokenizers
except ImportError:
    tokenizers = None
try:
    import tiktoken
except ImportError:
    tiktoken = None

TEXTS = int(os.environ.get("LATENT8_REFERENCE_TEXTS", "300"))
MISSING = "no {} in build/venv; get it with: make deps"


def byte_alphabet():
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    other = [b for b in range(256) if b not in plain]
    return {**{b: chr(b) for b in plain}, **{b: chr(256 + i) for i, b in enumerate(other)}}


def alphabet():
    """Characters of every general category, and more of those that texts are made of."""
    by_category = {}
    draw = random.Random(1)
    for code in range(0x110000):
        by_category.setdefault(unicodedata.category(chr(code)), []).append(chr(code))
    del by_category["Cs"]
    rare = [c for group in by_category.values() for c in draw.sample(group, min(40, len(group)))]
    usual = list("aabcdefstxyzABCSKZ'  .,-_/\n\r\t0123456789") + ["\r\n", "'s", "'LL", "don't", "\u017f", "\u212a"]
    cjk = list("\u4e2d\u6587\u5b57\u4e16\u754c\u4e00\u4e8c\u4e09\u3072\u3089\u30ab\u30bf\ud55c\uad6d\uc5b4\u3001\u3002\uff01\uff08\uff09")
    marks = ["e\u0301", "\u0308", "\u0903", "\u200d", "\ufe0f", "\U0001f469\u200d\U0001f467", "\U0001f642", "\u180e", "\u3000", "\u00a0"]
    return [rare, usual, usual, usual, cjk, marks]


ALPHABET = alphabet()


def texts(count, seed):
    draw = random.Random(seed)
    out = ["", " ", "\n", "a\n", "a \n \n", "  x\r\n\r\n", "\r", "I'M we'LL"]
    while len(out) < count:
        group = draw.choice(ALPHABET)
        out.append("".join(draw.choice(group if draw.random() < 0.6 else draw.choice(ALPHABET))
                           for _ in range(draw.randrange(1, 25))))
    return out


def pair_vocabulary():
    """Bytes and many pairs of them, in a random order of merging: where a text is cut shows in the ids."""
    letters = byte_alphabet()
    draw = random.Random(2)
    order = [(a, b) for a in range(128) for b in range(128) if draw.random() < 0.5]
    order += [(a, b) for a in range(256) for b in range(256) if a + b > 255 and draw.random() < 0.1]
    draw.shuffle(order)
    merges = [[letters[a], letters[b]] for a, b in order]
    vocab = {letters[b]: b for b in range(256)}
    for left, right in merges:
        vocab[left + right] = len(vocab)
    return {"type": "BPE", "vocab": vocab, "merges": merges}


PAIRS = pair_vocabulary()
BYTE_LEVEL = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def byte_level(*parts):
    return {"type": "Sequence", "pretokenizers": [*parts, BYTE_LEVEL]}


class Reference(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def write(self, name, value):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
            file.write(value if isinstance(value, str) else json.dumps(value))

    def tokenize(self, lines):
        """One answer of `latent8 tokenize` per line."""
        run = subprocess.run([PROGRAM, "tokenize", "--model", self.folder], text=True, capture_output=True, timeout=300,
                             input="".join(json.dumps(line) + "\n" for line in lines), check=False)
        self.assertEqual(run.returncode, 0, run.stderr[:500])
        return [json.loads(line) for line in run.stdout.split("\n")[:-1]]

    def expect_same(self, tokenizer, samples, note):
        """Ids of all samples, and the text of these ids, as the library gives them."""
        want = [encoding.ids for encoding in tokenizer.encode_batch(samples, add_special_tokens=False)]
        expected = tokenizer.decode_batch(want, skip_special_tokens=False)
        answers = self.tokenize([{"text": text} for text in samples] + [{"ids": ids} for ids in want])
        got = [answer["ids"] for answer in answers[:len(samples)]]
        wrong = [(text, g, w) for text, g, w in zip(samples, got, want) if g != w]
        self.assertFalse(wrong, f"{note}: {len(wrong)} of {len(samples)}, first {wrong[:1]!a}")
        decoded = [answer["text"] for answer in answers[len(samples):]]
        wrong = [(ids, g, w) for ids, g, w in zip(want, decoded, expected) if g != w]
        self.assertFalse(wrong, f"{note}: decode: {len(wrong)}, first {wrong[:1]!a}")

    def check(self, file, samples, note):
        self.write("tokenizer.json", file)
        self.expect_same(tokenizers.Tokenizer.from_str(json.dumps(file)), samples, note)


def tokenizer_file(**parts):
    return {"version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
            "pre_tokenizer": BYTE_LEVEL, "post_processor": None, "decoder": {**BYTE_LEVEL}, "model": PAIRS,
            **parts}
