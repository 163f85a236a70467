"""Generated templates, rendered here and by Jinja2 in the sandbox that transformers sets up.

usage: differential_test.py JINJA_LINES [COUNT] [SEED]

JINJA_LINES is the program of render_lines.cpp. Needs jinja2; without it the test says so and passes as skipped
(exit 77). Both must give the same text, or both an error.
"""
import copy
import json
import random
import subprocess
import sys

try:
    import jinja2
    import jinja2.ext
    import jinja2.sandbox
except ImportError:
    print("no jinja2 for this Python; tools/deps.sh installs it into build/venv")
    sys.exit(77)

VARIABLES = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi  there\n"},
        {"role": "assistant", "content": None, "tool_calls": [
            {"type": "function", "id": "c1", "function": {"name": "f", "arguments": {"a": 1, "b": [1, 2.5, None, True]}}},
            {"type": "function", "id": "c2", "function": {"name": "g", "arguments": "{\"x\": \"\u00fc\"}"}}]},
        {"role": "tool", "content": "42", "tool_call_id": "c1"},
        {"role": "assistant", "content": "<think>\nso\n</think>\n\nDone", "reasoning_content": "so"},
    ],
    "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": {
        "type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}}}],
    "s": "Hello World\u00e9 foo", "t": "a,b,,c", "u": "\u6df1\u5ea6 \u00df\u00e9\U0001f600x", "w": " \t x\n ", "e": "",
    "n": 7, "m": -3, "z": 0, "f": 2.5, "g": -0.125, "yes": True, "no": False, "none_value": None,
    "l": [3, 1, 2, 1], "ls": ["b", "A", "c", "a"], "le": [], "mixed": [1, "a", None, [2, 3], {"k": "v"}],
    "rows": [{"a": 2, "b": {"c": "x"}}, {"a": 1, "b": {"c": "Y"}}, {"b": {}}, {"a": 2, "b": {"c": "y"}}],
    "d": {"z": 1, "a": "two", "items": [1], "B": None}, "de": {}, "dd": {"x": {"y": [1, {"w": "deep"}]}},
    "add_generation_prompt": True, "bos_token": "<s>",
}


def environment():
    def raise_exception(message):
        raise jinja2.exceptions.TemplateError(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = jinja2.sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = raise_exception
    return env


class Generator:
    """Random expressions and templates; what is drawn need not make sense."""

    STRINGS = ["''", "'a'", "'Hello'", "' x '", "','", "'\\n'", "'o'", "'%s-%s'", "'{} {}'", "'b,A'", "'\\u00e9'", "'12'",
               "'1.5'", "'function.name'", "'a b  c'", "'x\\ny\\r\\nz'"]
    NAMES = [k for k in VARIABLES] + ["missing", "loop"]
    FILTERS = ["upper", "lower", "title", "capitalize", "trim", "length", "string", "list", "first", "last", "reverse",
               "sort", "unique", "join", "join(', ')", "join('-', attribute='a')", "int", "float", "abs", "round",
               "round(1)", "round(2, 'floor')", "round(method='ceil')", "tojson", "tojson(indent=2)",
               "tojson(ensure_ascii=true)", "tojson(separators=(',', ':'))", "tojson(sort_keys=true)", "items", "dictsort",
               "dictsort(by='value')", "dictsort(reverse=true)", "sum", "sum(attribute='a')", "min", "max", "default('x')",
               "default('x', true)", "d", "replace('l', 'L')", "replace('o', '0', 1)", "replace('', '-')", "indent",
               "indent(2, true)", "indent('> ', blank=true)", "map('upper')", "map(attribute='a')",
               "map(attribute='b.c', default='q')", "map('int')", "select", "reject", "select('string')",
               "select('gt', 1)", "reject('none')", "selectattr('a')", "selectattr('a', 'equalto', 2)",
               "rejectattr('a', 'defined')", "selectattr('role', 'in', ['user', 'tool'])", "batch(2)", "batch(2, 'f')",
               "slice(2)", "slice(3, 'f')", "groupby('a', default=0)", "groupby('b.c', default='q')", "center(9)",
               "truncate(5)", "truncate(6, true, '!', 0)", "wordcount", "urlencode", "count", "safe", "attr('items')",
               "attr('a')", "format(1, 'b')", "sort(reverse=true)", "sort(attribute='a')", "sort(case_sensitive=true)",
               "unique(attribute='a')", "min(attribute='a')", "max(case_sensitive=true)", "filesizeformat", "escape", "striptags"]
    TESTS = ["defined", "undefined", "none", "string", "number", "integer", "float", "mapping", "sequence", "iterable",
             "boolean", "true", "false", "odd", "even", "divisibleby(2)", "divisibleby 3", "eq(1)", "equalto('a')", "ne 1",
             "gt(1)", "lt 2", "ge(1)", "le(7)", "in([1, 'a'])", "in 'abc'", "upper", "lower", "sameas(true)", "callable",
             "filter", "test"]
    METHODS = ["upper()", "lower()", "strip()", "lstrip()", "rstrip('\\n')", "strip('Ho')", "split()", "split(',')",
               "split(' ', 1)", "split(None, 1)", "rsplit(None, 1)", "rsplit('o', 1)", "splitlines()", "splitlines(true)",
               "startswith('H')", "startswith(('a', 'H'))", "endswith('o')", "startswith('e', 1)", "replace('l', 'L')",
               "replace('l', 'L', 1)", "find('o')", "rfind('o')", "find('l', 3)", "index('o')", "count('o')", "count('')",
               "count(1)", "index(1)", "join(ls)", "join(['a', 'b'])", "title()", "capitalize()", "swapcase()", "isdigit()",
               "isalpha()", "isalnum()", "isspace()", "isupper()", "islower()", "istitle()", "isnumeric()", "isascii()",
               "isidentifier()", "isprintable()", "zfill(5)", "center(9, '*')", "ljust(8)", "rjust(8, '.')", "partition(' ')",
               "rpartition('o')", "removeprefix('He')", "removesuffix('oo')", "format(1, 2)", "format('a', k=1)",
               "expandtabs(4)", "casefold()", "items()", "keys()", "values()", "get('a')", "get('q', 'dflt')", "get('z')",
               "copy()", "pop('a')", "append(1)", "update({})", "setdefault('a', 1)", "items", "a", "z.b", "x.y", "content",
               "function.name"]
    FORMATS = ["'%s' % s", "'%d|%5.1f' % (n, f)", "'%r' % d", "'%-5s|%5s' % ('a', 'b')", "'%05d' % m", "'%x' % n", "'%%'  % ()",
               "'%(a)s' % d", "'{:>8}|{:<4}|{:^6}'.format('a', n, 'c')", "'{:.2f}'.format(f)", "'{0}{1}{0}'.format('a', 'b')",
               "'{:05d}'.format(n)", "'{a}'.format(a=1)", "'{:,}'.format(1234567)", "'{!r}'.format('a')", "'{:+}'.format(n)",
               "'%e' % f", "'%g' % f", "'%5s%%' % n", "'{:x}'.format(n)", "'{:.3}'.format('abcdef')", "'{:%}'.format(f)"]

    def __init__(self, rng):
        self.rng = rng

    def atom(self):
        r = self.rng.random()
        if r < 0.55:
            return self.rng.choice(self.NAMES)
        if r < 0.75:
            return self.rng.choice(self.STRINGS)
        return self.rng.choice(["0", "1", "2", "-1", "10", "3.0", "0.5", "1e3", "true", "false", "none", "[]", "{}", "()",
                                "range(4)", "range(5, 0, -2)", "[1, 'b']", "{'k': 1}", "(1,)", "dict(a=1)", "dict([('q', 2)])"])

    def expression(self, depth):
        if depth == 0:
            return self.atom()
        sub = lambda: self.expression(depth - 1)
        r = self.rng.random()
        if r < 0.26:
            return f"{self.paren(sub())}|{self.rng.choice(self.FILTERS)}"
        if r < 0.44:
            return f"{self.paren(sub())}.{self.rng.choice(self.METHODS)}"
        if r < 0.54:
            return f"{self.paren(sub())} is {self.rng.choice(['', '', 'not '])}{self.rng.choice(self.TESTS)}"
        if r < 0.70:
            op = self.rng.choice(["+", "-", "*", "/", "//", "%", "~", "==", "!=", "<", ">", "<=", ">=", "in", "not in", "and",
                                  "or", "+", "~", "=="])
            return f"{self.paren(sub())} {op} {self.paren(sub())}"
        if r < 0.80:
            return f"{self.paren(sub())}[{self.subscript()}]"
        if r < 0.85:
            return f"({sub()} if {sub()} else {sub()})"
        if r < 0.90:
            return f"{self.rng.choice(['not ', '-', '+'])}{self.paren(sub())}"
        if r < 0.95:
            return f"[{sub()}, {sub()}]"
        return self.rng.choice(self.FORMATS)

    def subscript(self):
        return self.rng.choice(["0", "-1", "1", "9", "'a'", "'items'", "'content'", "'missing'", "1:", ":-1", "::2", "::-1",
                                "1:3", "-2:", ":2", "5:1:-1", "-1:0:-2", "0:100", "n", "'upper'", ":none"])

    @staticmethod
    def paren(text):
        return f"({text})" if any(c in text for c in " |") or text.startswith("-") else text

    def template(self):
        r = self.rng.random()
        if r < 0.62:
            return "{{ " + self.expression(self.rng.choice([1, 1, 2, 2, 3])) + " }}"
        return "".join(self.statement(2) for _ in range(self.rng.randint(1, 4)))

    def body(self, depth):
        return "".join(self.statement(depth) for _ in range(self.rng.randint(1, 2)))

    def tag(self, text):
        left, right = self.rng.choice([("{%", "%}"), ("{%-", "%}"), ("{%-", "-%}"), ("{%", "-%}"), ("{%+", "%}")])
        return self.rng.choice(["", "", "\n", "  ", " \n "]) + f"{left} {text} {right}" + self.rng.choice(["", "", "\n", " "])

    def statement(self, depth):
        kinds = ["text", "out", "out", "set"] if depth == 0 else [
            "text", "out", "set", "for", "for", "if", "ns", "macro", "call", "with", "filter", "setblock", "raw", "comment",
            "recursive", "loopcontrol", "tuple", "chat"]
        kind = self.rng.choice(kinds)
        e = lambda: self.expression(self.rng.choice([0, 1, 1, 2]))
        name = self.rng.choice(["v", "q", "s", "n"])
        sub = lambda: self.body(depth - 1)
        t = self.tag
        if kind == "text":
            return self.rng.choice(["a", " b\n", "\n  ", "x y", "<|end|>", "}}", "{ ", "\u00e9"])
        if kind == "out":
            left, right = self.rng.choice([("{{", "}}"), ("{{-", "}}"), ("{{", "-}}")])
            return f"{left} {e()} {right}"
        if kind == "set":
            return t(f"set {name} = {e()}")
        if kind == "tuple":
            return t(f"set v, q = {self.rng.choice(['1, 2', 'l', 'd.items()', '(1, [2])', 't'])}") + "{{ v }}{{ q }}"
        if kind == "for":
            over = self.rng.choice(["l", "messages", "d", "d.items()", "s", "range(3)", "le", "missing", "rows", "tools", e()])
            condition = self.rng.choice(["", "", f" if {e()}"])
            target = "k, v" if over == "d.items()" else "v"
            inner = self.rng.choice(["{{ loop.index }}{{ loop.last }}", "{{ v }}", "{{ loop.previtem }}|{{ loop.nextitem }}",
                                     "{{ loop.length }}{{ loop.revindex0 }}", "{{ loop.cycle('a', 'b') }}",
                                     "{{ loop.changed(v) }}", "{{ loop.depth }}{{ loop.first }}"])
            other = self.rng.choice(["", t("else") + "none"])
            return t(f"for {target} in {over}{condition}") + inner + sub() + other + t("endfor")
        if kind == "if":
            middle = self.rng.choice(["", t(f"elif {e()}") + sub(), t("else") + sub()])
            return t(f"if {e()}") + sub() + middle + t("endif")
        if kind == "ns":
            return (t(f"set o = namespace(a={e()}, b=1)") + t("for v in l") + t(f"set o.a = {self.rng.choice(['v', 'o.a ~ v', e()])}")
                    + t("endfor") + "{{ o.a }}{{ o.b }}")
        if kind == "macro":
            call = self.rng.choice(["k(1)", "k(1, b=2)", "k()", "k(a=3)", "k(1, 2, 3)", "k(*[1, 2])", "k(**{'a': 5})", "k(1, c=2)"])
            use = self.rng.choice(["{{ a }}{{ b }}", "{{ varargs }}{{ a }}", "{{ kwargs }}{{ a }}", "{{ s }}{{ a }}"])
            return t("macro k(a, b='x')") + use + sub() + t("endmacro") + "{{ " + call + " }}"
        if kind == "call":
            return (t("macro k(a='z')") + "[{{ caller(a) if caller else '-' }}]" + t("endmacro")
                    + t(f"call({self.rng.choice(['v', 'v, q=1'])}) k({self.rng.choice(['', '1', 's'])})") + "{{ v }}" + sub() + t("endcall"))
        if kind == "with":
            return t(f"with v = {e()}, q = 2") + "{{ v }}" + sub() + t("endwith") + "{{ q }}"
        if kind == "filter":
            chain = self.rng.choice(["upper", "trim", "indent(2)", "replace('a', 'b')|lower"])
            return t(f"filter {chain}") + sub() + t("endfilter")
        if kind == "setblock":
            return t(f"set {name}{self.rng.choice(['', ' | upper', ' | trim'])}") + sub() + t("endset") + "{{ " + name + " }}"
        if kind == "raw":
            return t("raw") + "{{ x }} {% y %}" + t("endraw")
        if kind == "comment":
            return self.rng.choice(["{# c #}", "{#- c -#}", " {# c #}\n", "{# {{ x }} -#} "])
        if kind == "recursive":
            return t("for v in [[1, [2]], [3]] recursive") + "<{{ loop.depth }}{{ loop(v) if v is iterable else v }}>" + t("endfor")
        if kind == "loopcontrol":
            return t("for v in l") + t(f"if v == {self.rng.choice(['1', '2', '9'])}") + t(self.rng.choice(["break", "continue"])) + t("endif") + "{{ v }}" + t("endfor")
        return (t("for m in messages") + "<|{{ m.role }}|>{{ m['content'] | default('', true) | trim }}" + t("if m.tool_calls")
                + t("for c in m.tool_calls") + "{{ c.function.name }}{{ c.function.arguments | tojson if c.function.arguments is mapping "
                "else c.function.arguments }}" + t("endfor") + t("endif") + t("endfor"))


# Where we differ and say so: integers beyond 64 bits, methods that are not there, slices of what has none (Jinja2's own
# answer depends on whether it folds the constant). Text that names Python's own classes and addresses.
def is_excluded(ours, theirs):
    if any(word in str(ours.get("error")) for word in ("64 bits", "not supported", "cannot be sliced")):
        return True
    text = str(theirs).lower()
    return any(word in text for word in ("object at 0x", "generator", "<built-in", "<bound", "undefined", "reversed", "context", "<class",
                                         "itertools", "iterator", "method", "<function", "markup", "<macro", "_grouptuple"))


def main():
    program = sys.argv[1]
    count = int(sys.argv[2]) if len(sys.argv) > 2 else 4000
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else 1
    generator = Generator(random.Random(seed))
    env = environment()
    templates = [generator.template() for _ in range(count)]
    lines = "".join(json.dumps({"template": t, "variables": VARIABLES}) + "\n" for t in templates)
    out = subprocess.run([program], input=lines, capture_output=True, text=True, check=True, timeout=900).stdout.splitlines()
    bad = compared = errors = 0
    for template, line in zip(templates, out):
        ours = json.loads(line)
        try:
            theirs = {"text": env.from_string(template).render(**copy.deepcopy(VARIABLES))}
        except Exception as error:  # whatever Python says about it
            theirs = {"error": f"{type(error).__name__}: {error}"}
        compared += 1
        if "error" in theirs and "error" in ours:
            errors += 1
            continue
        if ours == theirs or is_excluded(ours, theirs):
            continue
        bad += 1
        if bad <= 40:
            print(json.dumps({"template": template, "ours": ours, "jinja2": theirs}))
    print(f"{compared} templates, {errors} of them errors in both, {bad} differ")
    return 1 if bad or compared != count else 0


if __name__ == "__main__":
    sys.exit(main())
