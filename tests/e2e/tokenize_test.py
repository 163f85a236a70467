"""tokenize: JSON lines in and out, equal to Hugging Face's tokenizers and chat templates."""
import json
import unittest

import support


def tokenize(lines, expect=0):
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    out = support.run("tokenize", "--model", support.FLOAT_MODEL, text=text, expect=expect)
    return out if expect else [json.loads(line) for line in out.splitlines()]


def golden(name):
    return [json.loads(line) for line in (support.GOLDEN / name).read_text(encoding="utf-8").splitlines()]


class Tokenize(unittest.TestCase):
    def test_texts_have_the_golden_ids(self):
        cases = golden("tokenize.jsonl")

        answers = tokenize({"text": c["text"]} for c in cases)

        self.assertEqual(len(answers), len(cases))
        for case, answer in zip(cases, answers):
            self.assertEqual(answer, {"ids": case["tiny"]}, case["text"])

    def test_golden_ids_have_their_texts(self):
        cases = golden("tokenize.jsonl")

        answers = tokenize({"ids": c["tiny"]} for c in cases)

        for case, answer in zip(cases, answers):
            self.assertEqual(answer, {"text": case["text"]})

    def test_messages_have_the_golden_text_and_its_ids(self):
        cases = golden("chat.jsonl")

        answers = tokenize({k: c[k] for k in ("messages", "tools", "add_generation_prompt") if k in c} for c in cases)

        ids = tokenize({"text": c["text"]} for c in cases)
        for case, answer, of_text in zip(cases, answers, ids):
            self.assertEqual(answer["text"], case["text"])
            self.assertEqual(answer["ids"], of_text["ids"])

    def test_a_line_that_is_no_json_is_named_by_its_number(self):
        self.assertIn("line 2", tokenize([{"text": "a"}, "{oops\n"], expect=1))

    def test_a_line_without_a_known_key_is_named_by_its_number(self):
        self.assertIn("line 1", tokenize([{"words": "a"}], expect=1))

    def test_ids_that_are_no_numbers_are_refused(self):
        self.assertIn("token ids expected", tokenize([{"ids": [1, "two"]}], expect=1))


if __name__ == "__main__":
    unittest.main()
