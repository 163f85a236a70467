"""The page at `/` of latent8 serve, in a headless Chromium."""
import json
import re
import unittest

import browser
from browser import DOWN, ENTER, ESCAPE, SHIFT, TAB, UP, Browser
from serve_test import QUESTION, Server, chat

HOSTILE = """<img src=x onerror="window.hacked=1"><script>window.hacked=1</script>
[click](javascript:window.hacked=1) <javascript:window.hacked=1> ![x](https://example.org/leak.png)
<iframe srcdoc="<script>parent.hacked=1</script>"></iframe> <svg onload=window.hacked=1>
```<b onclick=window.hacked=1>
</code><script>window.hacked=1</script>
```
| <img src=x onerror=window.hacked=1> |
|---|
| <script>window.hacked=1</script> |
"""


def stored(page):
    """The conversations in the browser's storage."""
    entries = page.run("return Object.entries(localStorage).filter(([key]) => key.startsWith('latent8.conversation.'))")
    return [json.loads(text) for _, text in entries]


class Files(unittest.TestCase):
    """How the page comes, without a browser."""

    @classmethod
    def setUpClass(cls):
        cls.server = Server("--api-key", "secret")
        cls.addClassCleanup(cls.server.stop)

    def test_every_file_that_the_page_names_comes_with_its_type_and_without_a_key(self):
        status, text, headers = self.server.ask("GET", "/")

        self.assertEqual((status, headers["content-type"]), (200, "text/html; charset=utf-8"))
        names = re.findall(r'(?:href|src)="(page/[^"]+)"', text)
        self.assertGreater(len(names), 5)
        for name in names:
            with self.subTest(name):
                status, body, headers = self.server.ask("GET", f"/{name}")
                self.assertEqual(status, 200)
                self.assertTrue(body)
                kind = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}[name.rsplit(".", 1)[1]]
                self.assertTrue(headers["content-type"].startswith(kind), headers)
        self.assertEqual(self.server.ask("GET", "/v1/stats")[0], 401)
        self.assertEqual(self.server.ask("GET", "/page/nothing.js", headers={"x-api-key": "secret"})[0], 404)

    def test_a_browser_that_has_the_file_is_told_so(self):
        _, text, headers = self.server.ask("GET", "/")

        status, body, again = self.server.ask("GET", "/", headers={"if-none-match": headers["etag"]})
        other = self.server.ask("GET", "/", headers={"if-none-match": '"0"'})
        head = self.server.ask("HEAD", "/")

        self.assertEqual((status, body, again["etag"]), (304, "", headers["etag"]))
        self.assertEqual((other[0], other[1]), (200, text))
        self.assertEqual((head[0], head[1], head[2]["content-length"]), (200, "", str(len(text.encode()))))

    def test_nothing_may_come_from_elsewhere_and_no_script_be_inline(self):
        _, text, headers = self.server.ask("GET", "/")

        policy = headers["content-security-policy"]
        self.assertIn("default-src 'none'", policy)
        self.assertNotIn("unsafe", policy)
        self.assertNotRegex(text, r"<script>|<style|\son\w+=|\sstyle=")
        self.assertNotRegex(text, r'(?:href|src)="(?:https?:)?//')


@unittest.skipIf(browser.missing(), browser.missing())
class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server = Server()
        cls.addClassCleanup(cls.server.stop)
        cls.page = cls.enterClassContext(Browser())
        cls.url = f"http://127.0.0.1:{cls.server.port}/"

    def setUp(self):
        self.page.resize(1280, 800)
        self.visit(temperature=0)

    def tearDown(self):
        self.assertEqual(self.page.console(), [])

    def visit(self, *conversations, **settings):
        """The page with these conversations, the first of them open, and settings in a browser that knows nothing else."""
        self.page.open(self.url)
        self.page.run("""localStorage.clear(); localStorage.setItem('latent8.settings', arguments[0]);
            for (const one of arguments[1]) localStorage.setItem('latent8.conversation.' + one.id, JSON.stringify(one))""",
                      json.dumps(settings), conversations)
        self.page.open("about:blank")
        self.page.open(self.url + (f"#{conversations[0]['id']}" if conversations else ""))
        self.page.wait("document.getElementById('model-name').textContent.includes('tiny-r1')")

    def visit_for_a_long_answer(self):
        """As visit(), but no answer ends by itself."""
        self.visit(temperature=0)
        self.page.run("""const plain = window.fetch;
            window.fetch = (path, options) => plain(path, !options?.body ? options :
                {...options, body: JSON.stringify({...JSON.parse(options.body), ignore_eos: true, max_tokens: 8000})});""")

    def ask(self, text):
        self.page.run("document.getElementById('question').focus()")
        self.page.keys(text + ENTER)

    def wait_for_answer(self):
        self.page.wait("!document.body.classList.contains('answering')")
        self.page.wait("document.querySelector('.message.assistant:last-child .statistics')")

    def wait_for_text(self):
        self.page.wait("document.querySelector('.assistant .content')?.innerText || document.querySelector('.assistant details:not([hidden])')")

    def test_an_answer_is_streamed_and_is_the_one_of_the_api(self):
        message = self.server.post("/v1/chat/completions", chat())["choices"][0]["message"]
        self.page.run("""window.lengths = new Set();
            new MutationObserver(() => lengths.add(document.querySelector('.assistant .content')?.innerText.length))
                .observe(document.getElementById('messages'), {subtree: true, childList: true})""")

        self.ask(QUESTION)
        self.wait_for_answer()

        [conversation] = stored(self.page)
        self.assertEqual(conversation["title"], QUESTION)
        self.assertEqual(conversation["messages"][1]["content"], message["content"])
        self.assertEqual(conversation["messages"][1]["reasoning"], message["reasoning_content"])
        self.assertGreater(self.page.run("return window.lengths.size"), 3)
        self.assertIn(QUESTION, self.page.text(".message.user"))
        self.assertRegex(self.page.text(".statistics"), r"\d+ tokens.*[\d.]+ tokens/s")

    def test_reasoning_is_folded_and_opens(self):
        self.ask(QUESTION)
        self.wait_for_answer()

        self.assertEqual(self.page.text(".thought"), "")
        self.page.click(".reasoning summary")

        self.assertNotEqual(self.page.text(".thought"), "")
        self.assertIn("Thought for", self.page.text(".reasoning summary"))

    def test_the_next_question_knows_what_was_said(self):
        self.visit(temperature=0, max_tokens=200)
        self.ask(QUESTION)
        self.wait_for_answer()
        self.ask("And a key?")
        self.wait_for_answer()

        messages = stored(self.page)[0]["messages"]
        history = [{"role": m["role"], "content": m["content"]} for m in messages[:3]]
        reply = self.server.post("/v1/chat/completions", {"messages": history, "temperature": 0, "max_tokens": 200})
        self.assertEqual(messages[3]["content"], reply["choices"][0]["message"]["content"])

    def test_an_answer_can_be_stopped_by_key_and_by_button(self):
        for stop in (lambda: self.page.keys(ESCAPE), lambda: self.page.click("#send")):
            self.visit_for_a_long_answer()
            self.ask(QUESTION)
            self.wait_for_text()
            self.assertEqual(self.page.run("return document.getElementById('send').ariaLabel"), "Stop")

            stop()

            self.wait_for_answer()
            self.assertIn("stopped", self.page.text(".statistics"))
            self.page.wait("fetch('v1/stats').then(r => r.json()).then(s => s.running === 0)")

    def test_an_answer_can_be_made_again_and_a_question_edited(self):
        self.ask(QUESTION)
        self.wait_for_answer()
        first = stored(self.page)[0]["messages"]

        self.page.click(".assistant [aria-label='Answer again']")
        self.wait_for_answer()
        again = stored(self.page)[0]["messages"]
        self.page.click(".user [aria-label='Edit the question']")
        self.page.keys(" Be brief." + ENTER)
        self.wait_for_answer()
        edited = stored(self.page)[0]["messages"]

        self.assertEqual([m["content"] for m in again], [m["content"] for m in first])
        self.assertEqual([m["role"] for m in edited], ["user", "assistant"])
        self.assertEqual(edited[0]["content"], QUESTION + " Be brief.")
        self.assertEqual(self.page.run("return document.querySelectorAll('.message').length"), 2)

    def test_conversations_survive_a_reload_and_can_be_deleted(self):
        self.ask(QUESTION)
        self.wait_for_answer()
        answer = self.page.text(".assistant .content")

        self.page.call("POST", "/refresh")
        self.page.wait("document.querySelector('.assistant .content')?.innerText")
        self.assertEqual(self.page.text(".assistant .content"), answer)
        self.page.click(".conversations .icon-button")
        self.page.click(".conversations .icon-button")

        self.assertEqual(stored(self.page), [])
        self.assertEqual(self.page.text(".message"), "")

    def test_no_id_is_given_twice(self):
        ids = self.page.run("return [...document.querySelectorAll('[id]')].map(e => e.id)")

        self.assertEqual(len(ids), len(set(ids)), ids)

    def test_an_answer_goes_on_while_another_conversation_is_open(self):
        self.visit({"id": "other", "title": "Other", "time": 1, "messages": [{"role": "user", "content": "Other"}]}, temperature=0)
        self.page.click("[data-action=new]")
        self.ask(QUESTION)

        self.page.run("[...document.querySelectorAll('.conversations .open')].at(-1).click()")
        self.assertEqual(self.page.text(".message"), "Other")
        self.page.wait("Object.values(localStorage).some(text => text.includes('\"finish\":\"stop\"'))")

        self.assertEqual(self.page.text(".message"), "Other")

    def test_what_a_model_wrote_is_text_whatever_it_is(self):
        message = {"role": "assistant", "content": HOSTILE, "reasoning": HOSTILE, "error": HOSTILE, "finish": "stop"}
        self.visit({"id": "evil", "title": HOSTILE, "time": 1, "messages": [{"role": "user", "content": HOSTILE}, message]})
        self.page.click(".reasoning summary")

        self.assertIn('<img src=x onerror="window.hacked=1"><script>', self.page.text(".assistant .content"))
        self.assertIn("<script>", self.page.text(".thought"))
        foreign = "return document.querySelectorAll('main :is(img, script, iframe, b, [onclick], [onerror])').length"
        self.assertEqual(self.page.run(foreign), 0)
        links = self.page.run("return [...document.querySelectorAll('.message a')].map(a => a.protocol)")
        self.assertEqual(set(links), {"https:"})
        self.assertIsNone(self.page.run("return window.hacked"))

    def test_markup_cannot_become_elements_even_by_mistake(self):
        refused = self.page.run("""
            try { document.body.innerHTML = '<img src=x onerror=window.hacked=1>'; return null }
            catch (error) { return error.name }""")

        self.assertEqual(refused, "TypeError")
        self.assertIsNone(self.page.run("return window.hacked"))
        self.page.console()  # the refusal is told there

    def test_damaged_storage_is_passed_over(self):
        self.visit({"id": "good", "title": "Good", "time": 2, "messages": [{"role": "user", "content": "Good"}]},
                   {"id": "bad", "title": 7, "time": "x", "messages": None}, {"id": "worse"}, temperature="hot", key=[], thinking={})

        self.assertEqual(self.page.text(".conversations"), "Good")
        self.assertEqual(self.page.text(".message"), "Good")

    def render(self, text):
        """The shape of markdown: tags with their text."""
        return self.page.run("""return import('/page/markdown.js').then(({renderMarkdown}) => {
            const shape = (node) => node.nodeType === 3 ? node.data : node.tagName === 'BUTTON' ? '' :
                `<${node.tagName.toLowerCase()}>${[...node.childNodes].map(shape).join('')}</>`;
            const box = document.createElement('div');
            renderMarkdown(box, arguments[0]);
            return [...box.childNodes].map(shape).join('')})""", text)

    def test_markdown(self):
        cases = {
            "a *b* **c** ***d*** _e_ __f__ ~~g~~": "<p>a <em>b</> <strong>c</> <strong><em>d</></> <em>e</> <strong>f</> <del>g</></>",
            "snake_case_name 2*3*4 * x *": "<p>snake_case_name 2<em>3</>4 * x *</>",
            "`a*b*` ``c`d``": "<p><code>a*b*</> <code>c`d</></>",
            r"\*a\* \(x_1 * y_1\)": "<p>*a* <code>x_1 * y_1</></>",
            "[a](https://b.org/c_(d)) https://e.org/f. <mailto:g@h.org>":
                "<p><a>a</> <a>https://e.org/f</>. <a>mailto:g@h.org</></>",
            "[a](javascript:b) [c] [d](e": "<p><span>a</> [c] [d](e</>",
            "# a #\n## b\ntext": "<h3>a</><h4>b</><p>text</>",
            "- a\n- b\n  - c\n\n1. d\n2. e": "<ul><li>a</><li>b<ul><li>c</></></></><ol><li>d</><li>e</></>",
            "1. a\n\n   b\n2. c": "<ol><li><p>a</><p>b</></><li>c</></>",
            "> a\n> > b\n\n---\nc": "<blockquote><p>a</><blockquote><p>b</></></><hr></><p>c</>",
            "```\n<a> *b*\n```\nc": "<div><div><span>text</></><pre><code><a> *b*</></></><p>c</>",
            "~~~\nopen": "<div><div><span>text</></><pre><code>open</></></>",
            "|a|b|\n|-|-:|\n|c\\|d|": "<div><table><thead><tr><th>a</><th>b</></></><tbody><tr><td>c|d</><td></></></></></>",
            "```py\nif x: # y\n```":
                "<div><div><span>py</></><pre><code><span>if</> x: <span># y</></></></>",
        }
        for source, shape in cases.items():
            with self.subTest(source):
                self.assertEqual(self.render(source), shape)

    def test_text_made_to_be_slow_does_not_hang_the_page(self):
        for piece in ("*a ", "**", "[", "![](", "[a](", "`a``", "> ", "- ", "1. ", "|-", "<", "_a", "$$", "\\(", "https://a.b!", " ", "#",
                      "- a\n", "  - a\n", ">\n", "|a\n|-\n", "```\n", "a\n\n", "\n"):
            with self.subTest(piece):
                self.render(piece * (60_000 // len(piece)))

    def test_everything_has_a_name_and_the_keyboard_reaches_it(self):
        self.ask(QUESTION)
        self.wait_for_answer()

        reached = []
        for _ in range(40):
            self.page.keys(TAB)
            at = self.page.run("""const e = document.activeElement;
                return e === document.body ? null : [e, getComputedStyle(e).outlineStyle, e.getBoundingClientRect().width]""")
            if at is None:  # beyond the last one; the first comes next
                continue
            reached.append(self.page.call("GET", f"/element/{at[0][browser.ELEMENT]}/computedlabel"))
            self.assertGreater(at[2], 0, reached)
        for name in ("Skip to the question", "New conversation", "Settings", "Edit the question", "Answer again", "Your question", "Send"):
            self.assertIn(name, reached)
        self.assertNotIn("", reached)

    def test_the_keyboard_alone_is_enough(self):
        self.page.keys("a" + SHIFT + ENTER + "b" + ENTER)
        self.wait_for_answer()
        self.assertEqual(stored(self.page)[0]["messages"][0]["content"], "a\nb")

        self.page.keys(UP)
        self.assertEqual(self.page.run("return document.activeElement.getAttribute('aria-label')"), "The question, edited")
        self.page.keys(ESCAPE)
        self.page.run("document.querySelector('[data-action=settings]').focus()")
        self.page.keys(ENTER)
        self.page.wait("document.getElementById('settings-dialog').open")
        self.page.keys("Be brief." + TAB + "0.5" + TAB + "0.9" + TAB + "12" + TAB + DOWN + TAB + "key" + ENTER)
        self.page.wait("!document.getElementById('settings-dialog').open")

        self.assertEqual(json.loads(self.page.run("return localStorage['latent8.settings']")),
                         {"system": "Be brief.", "temperature": 0.5, "top_p": 0.9, "max_tokens": 12, "thinking": "on", "key": "key"})

    def test_settings_reach_the_model(self):
        self.visit(temperature=0, max_tokens=5, system="You are a pirate.")
        self.ask(QUESTION)
        self.wait_for_answer()

        messages = [{"role": "system", "content": "You are a pirate."}, {"role": "user", "content": QUESTION}]
        reply = self.server.post("/v1/chat/completions", {"messages": messages, "temperature": 0, "max_tokens": 5})
        message = stored(self.page)[0]["messages"][1]
        self.assertEqual((message["reasoning"], message["tokens"], message["finish"]),
                         (reply["choices"][0]["message"]["reasoning_content"], 5, "length"))

    def test_nothing_is_wider_than_a_phone(self):
        wide = f"{'x' * 400}\n\n```\n{'code ' * 100}\n```\n\n|{'a wide cell|' * 20}\n|{'-|' * 20}\n\n`{'y' * 300}`\n\n# {'z' * 200}"
        for width, height in ((390, 844), (320, 568)):
            self.page.resize(width, height)
            self.visit({"id": "wide", "title": "t" * 200, "time": 1, "messages": [
                {"role": "user", "content": "q" * 500}, {"role": "assistant", "content": wide, "reasoning": "r" * 300, "error": "e" * 300}]})
            for opened in (None, "toggle-sidebar", "toggle-engine", "settings"):
                with self.subTest(width=width, opened=opened):
                    if opened:
                        self.page.click(f"main [data-action={opened}]")
                    self.assertEqual(self.page.run("return [innerWidth, document.documentElement.scrollWidth]"), [width, width])
                    self.assertEqual(self.page.run("const s = document.getElementById('scroller'); return s.scrollWidth - s.clientWidth"), 0)
                    self.page.keys(ESCAPE)
                    self.page.wait("!document.querySelector('main').inert && !document.getElementById('settings-dialog').open")

    def test_light_and_dark_follow_the_system_until_somebody_chooses(self):
        shade = "return getComputedStyle(document.body).backgroundColor"
        light = self.page.run(shade)
        self.page.emulate_dark(True)
        dark = self.page.run(shade)
        self.page.click("[data-action=theme]")
        chosen = self.page.run(shade)
        self.page.call("POST", "/refresh")
        kept = self.page.run(shade)
        self.page.emulate_dark(False)

        self.assertNotEqual(light, dark)
        self.assertEqual([chosen, kept], [light, light])

    def test_the_engine_is_shown_live(self):
        self.visit_for_a_long_answer()
        self.ask(QUESTION)

        self.page.wait("document.querySelector('#engine .chart:nth-child(3) .number').textContent === '1'")
        self.page.wait("Number(document.querySelector('#engine .number').textContent.replaceAll(',', '')) > 0")
        self.assertIn("tiny-r1", self.page.text("#engine .state"))
        self.assertRegex(self.page.text("#engine .values"), r"Pages in use\s+\d+ of [\d,]+")
        self.page.keys(ESCAPE)
        self.page.wait("document.querySelector('#engine .chart:nth-child(3) .number').textContent === '0'")


@unittest.skipIf(browser.missing(), browser.missing())
class Trouble(unittest.TestCase):
    def test_a_key_is_asked_for_and_used(self):
        server = Server("--api-key", "secret")
        self.addCleanup(server.stop)
        with Browser() as page:
            page.open(f"http://127.0.0.1:{server.port}/")
            page.run("localStorage['latent8.settings'] = '{\"max_tokens\": 8}'")
            page.call("POST", "/refresh")
            page.wait("document.getElementById('settings-dialog').open")
            page.keys("secret" + ENTER)
            page.wait("document.getElementById('model-name').textContent.includes('tiny-r1')")
            page.run("document.getElementById('question').focus()")
            page.keys(QUESTION + ENTER)
            page.wait("document.querySelector('.statistics')?.innerText.includes('tokens/s')")

    def test_a_server_that_is_gone_is_told_and_the_question_stays(self):
        server = Server()
        with Browser() as page:
            page.open(f"http://127.0.0.1:{server.port}/")
            page.wait("document.getElementById('model-name').textContent.includes('tiny-r1')")
            server.stop()
            page.keys(QUESTION + ENTER)

            page.wait("document.querySelector('.error')?.innerText.includes('cannot be reached')")
            self.assertIn(QUESTION, page.text(".message.user"))
            self.assertEqual(page.run("return document.querySelector('.assistant .icon-button').ariaLabel"), "Answer again")


if __name__ == "__main__":
    unittest.main()
