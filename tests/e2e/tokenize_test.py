"""tokenize: JSON lines in and out, equal to Hugging Face's tokenizers and chat templates."""
import json
import shutil
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

    def test_an_unknown_key_is_named(self):
        for line in ({"text": "a", "ids": [1]}, {"messages": [{"role": "user", "content": "a"}], "thinking": True}):
            error = tokenize([line], expect=1)
            self.assertIn("line 1", error)
            self.assertIn("'ids'" if "ids" in line else "'thinking'", error)

    def test_json_that_nests_too_deeply_is_refused(self):
        deep = "[" * 100000 + "]" * 100000
        self.assertIn("levels deep", tokenize(['{"messages": ' + deep + "}\n"], expect=1))


class TemplateVariables(unittest.TestCase):
    """Variables of the template, by the request and by flags."""

    TEMPLATE = ("{%- if not thinking is defined -%}{%- set thinking = false -%}{%- endif -%}{{ messages[0].content }}"
                "{{ '<think>' if thinking else '</think>' }}{{ extra }}")

    @classmethod
    def setUpClass(cls):
        cls.model = support.WORK / "template-variables"
        shutil.rmtree(cls.model, ignore_errors=True)
        shutil.copytree(support.FLOAT_MODEL, cls.model)
        (cls.model / "chat_template.jinja").write_text(cls.TEMPLATE, encoding="utf-8")

    def text(self, line, *flags, expect=0):
        line = {"messages": [{"role": "user", "content": "hi"}], **line}
        out = support.run("tokenize", "--model", self.model, *flags, text=json.dumps(line) + "\n", expect=expect)
        return out if expect else json.loads(out)["text"]

    def test_a_line_may_give_them(self):
        self.assertEqual(self.text({}), "hi</think>")
        self.assertEqual(self.text({"chat_template_kwargs": {"thinking": True, "extra": 1}}), "hi<think>1")

    def test_flags_may_give_them_and_a_line_wins(self):
        self.assertEqual(self.text({}, "--think"), "hi<think>")
        self.assertEqual(self.text({}, "--no-think"), "hi</think>")
        self.assertEqual(self.text({}, "--chat-template-kwargs", '{"extra": "e"}'), "hi</think>e")
        self.assertEqual(self.text({"chat_template_kwargs": {"thinking": False}}, "--think"), "hi</think>")

    def test_what_is_no_object_is_refused(self):
        self.assertIn("--chat-template-kwargs", self.text({}, "--chat-template-kwargs", "[1]", expect=1))
        self.assertIn("chat_template_kwargs", self.text({"chat_template_kwargs": 3}, expect=1))

    def test_a_template_that_cannot_switch_says_so(self):
        out = support.run("tokenize", "--model", support.FLOAT_MODEL, "--think", text="", expect=1)
        self.assertIn("neither 'thinking' nor 'enable_thinking'", out)


if __name__ == "__main__":
    unittest.main()
