"""Where text is cut before byte-pair merging: equal to Hugging Face `tokenizers`, construct by construct."""

import unittest

from tokenizer_reference import BYTE_LEVEL, MISSING, TEXTS, Reference, byte_level, split, texts, tokenizer_file, tokenizers

CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]"
TAIL = r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
KIMI = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?" + UPPER + "*" + LOWER + "+" + CONTRACTIONS + r"?|[^\r\n\p{L}\p{N}]?" +
        UPPER + "+" + LOWER + "*" + CONTRACTIONS + "?" + TAIL)

# The families' own constructs first, then what Oniguruma's syntax has besides.
REGEXES = {
    "kimi": KIMI,
    "llama3": CONTRACTIONS + r"|[^\r\n\p{L}\p{N}]?\p{L}+" + TAIL,
    "tekken": (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?"
               r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|"
               r"\s*[\r\n]+|\s+(?!\S)|\s+"),
    "deepseek v3": (r"[!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+"
                    r"[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"),
    "end of line": r"\s+$",
    "begin of line": r"^\s*\S",
    "ends of text": r"\A.|.\z|\n\Z",
    "gpt2": r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+",
    "categories": "|".join(rf"(?:\p{{{c}}}\p{{{c}}})" for c in
                           "Lu Ll Lt Lm Lo Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Cc Cf Co".split()),
    "negated": r"\P{L}\P{^N}|[^\P{L}a-c]+|[\P{N}\p{Lu}]{2}",
    "unassigned": r"\p{Cn}+|\p{C}{2}",
    "scripts": r"\p{Hiragana}+|\p{Katakana}+|\p{Hangul}+|\p{Latin}+|\p{Cyrillic}+|\p{Greek}+|\p{Arabic}+|\p{Thai}+",
    "posix": r"[[:alpha:]]+|[[:digit:]]+|[[:punct:]]+|[[:space:]]|[[:^alnum:]]",
    "posix case": r"[[:upper:]]+|[[:lower:]]+|[[:cntrl:][:xdigit:]]",
    "escapes": r"\w+|\d|\h\H|[\w\-.]+|[^\W\d]|\x41|\u4E2D|\t|[\s&&[^\n]]+",
    "boundaries": r"\b\w|\w\B",
    "intersections": r"[a-z&&[^aeiou]]+|[^\p{L}&&\p{Han}]|[\w&&\p{Lu}&&[^A-F]]+|[a-c[x-z]]+|[[a-m]&&[h-z]]",
    "quantifiers": r"a{2}?|b{1,2}?|c{,2}d|(?:ab)++|x*+y|\p{L}+?\p{N}|e{2}+|{a}",
    "groups": r"(?<word>\p{Lu}\p{Ll}+)|(\d+)(?=\p{L})|(?<=[a-z])(?:\.|,)|(?<!\d),|(?>a+)b|(?#note)z",
    "options": "(?m:a.b)|(?i)k|(?-i:S)|(?x: \\p{N} \\ \\p{N} # two\n )",
    "empty matches": r"(?=\p{Lu})|x*",
    "line ends": r"\R|.\N",
}

BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]


@unittest.skipIf(tokenizers is None, MISSING.format("tokenizers"))
class PreTokenizers(Reference):
    def test_every_regex_cuts_where_the_library_cuts(self):
        for seed, (name, regex) in enumerate(REGEXES.items()):
            with self.subTest(name):
                file = tokenizer_file(pre_tokenizer=byte_level(split({"Regex": regex})))
                self.check(file, texts(TEXTS, seed), name)

    def test_every_behaviour_and_its_inverse(self):
        for behavior in BEHAVIORS:
            for invert in (False, True):
                for pattern in ({"Regex": r"\p{L}+|\s"}, {"String": "a"}, {"String": " ."}, {"Regex": "(?=b)"}):
                    with self.subTest(behavior=behavior, invert=invert, pattern=pattern):
                        file = tokenizer_file(pre_tokenizer=byte_level(split(pattern, behavior, invert)))
                        self.check(file, texts(TEXTS // 4, 7), f"{behavior} {invert} {pattern}")

    def test_the_other_kinds(self):
        for part in ({"type": "Digits", "individual_digits": True}, {"type": "Digits", "individual_digits": False},
                     {"type": "Punctuation", "behavior": "Isolated"}, {"type": "Punctuation", "behavior": "Contiguous"},
                     {"type": "Whitespace"}, {"type": "WhitespaceSplit"}, {"type": "CharDelimiterSplit", "delimiter": "a"}):
            with self.subTest(part):
                samples = texts(TEXTS, 8)
                if part["type"] == "Punctuation":  # the library's table is of Unicode 8
                    samples = [t.encode("ascii", "ignore").decode() for t in samples]
                self.check(tokenizer_file(pre_tokenizer=byte_level(part)), samples, str(part))
        for prefix in (False, True):
            for regex in (False, True):
                part = {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True, "use_regex": regex}
                self.check(tokenizer_file(pre_tokenizer=part), texts(TEXTS, 9), str(part))


if __name__ == "__main__":
    unittest.main()
