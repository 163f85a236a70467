#!/usr/bin/env python3
"""Checks that what comments and documents cite is in the repository: pages of docs/, their sections, source files.

A citation is docs/PAGE.md, optionally followed by titles: docs/format.md, "Norms" and "Description". In documents, a source
file in backticks is one of that name anywhere (name.* stands for name.h, name.cpp, ...).

usage: check_docs.py [ROOT]     prints one line per violation, exit 1 if there is any
       check_docs.py --self-test
"""
import re
import sys
import tempfile
from pathlib import Path

FOLDERS = ["src", "include", "tests", "bench", "fuzz", "tools", "cmake"]
SUFFIXES = {".h", ".hpp", ".cpp", ".py", ".sh", ".cmake", ".md"}
TITLES = r'"[^"\n]{3,80}"(?:(?:, and |, | and | to )"[^"\n]{3,80}")*'
CITATION = re.compile(r"docs/([\w-]+\.md)(?:,? (%s))?" % TITLES)
NEXT_LINE = re.compile(r"\n[ \t]*(?://|#)?[ \t]*")  # a comment goes on
NAME = re.compile(r"`(?:[\w.-]+/)*([\w-]+)\.(\*|cpp|h|inl\.h|py|sh|cmake|txt)`")
OUTSIDE = re.compile(r"\bfacts/|\bstyle\.md\b|\bdesign\.md\b")
SELF = "check_docs.py"


def files(root):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES and "data" not in path.relative_to(root).parts and path.name != SELF:
                yield path
    yield from sorted(root.glob("*.md"))
    yield from sorted((root / "docs").glob("*.md"))


def titles(page):
    return set(re.findall(r"^#+ (.+)$", page.read_text(), re.M)) if page.exists() else None


def check(root):
    found = []
    pages = {page.name: titles(page) for page in (root / "docs").glob("*.md")}
    stems = {path.name.split(".")[0] for folder in FOLDERS for path in (root / folder).rglob("*") if path.is_file()}
    for path in files(root):
        name, text = path.relative_to(root), NEXT_LINE.sub(" ", path.read_text(errors="replace"))
        if match := OUTSIDE.search(text):
            found.append(f"{name}: cites '{match[0]}', which is not in the repository")
        for page, cited in CITATION.findall(text):
            if page not in pages:
                found.append(f"{name}: cites docs/{page}, and there is no such page")
                continue
            for title in re.findall(r'"([^"]+)"', cited):
                if title not in pages[page]:
                    found.append(f"{name}: cites '{title}' of docs/{page}, and it has no such section")
        if path.suffix == ".md":
            for stem, _ in NAME.findall(text):
                if stem not in stems:
                    found.append(f"{name}: names the file '{stem}', and there is none")
    return found


def self_test():
    wrong = {
        "src/a/page.h": "// Source: docs/none.md.\n",
        "src/a/section.h": '// Source: docs/real.md, "A\n// section" and "Another".\n',
        "tools/notes.py": '"""See fa' 'cts/format.md."""\n',
        "docs/file.md": "`src/a/none.cpp` does it\n",
    }
    right = {"docs/real.md": "# Real\n\n## A section\n\n`src/a/good.*` and `good.h`\n",
             "src/a/good.h": '// docs/real.md; docs/real.md, "A\n// section" and "Real"; docs/real.md ("A section")\n'}
    with tempfile.TemporaryDirectory() as name:
        for file, text in (wrong | right).items():
            (Path(name) / file).parent.mkdir(parents=True, exist_ok=True)
            (Path(name) / file).write_text(text)
        found = check(Path(name))
    named = {line.split(":")[0] for line in found}
    assert named == set(wrong), f"expected {set(wrong)}, found {found}"
    print(f"check_docs: self-test passed ({len(wrong)} violations found, {len(right)} files accepted)")


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(self_test())
    violations = check(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]))
    print("\n".join(violations) or "check_docs: everything that is cited is there")
    sys.exit(bool(violations))
