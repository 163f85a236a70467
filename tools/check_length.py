#!/usr/bin/env python3
"""Checks that no source file is longer than 800 lines and that sources are ASCII without tabs or trailing blanks.

usage: check_length.py [ROOT]     prints one line per violation, exit 1 if there is any; notices above 400 lines
       check_length.py --self-test
"""
import sys
import tempfile
from pathlib import Path

FOLDERS = ["src", "include", "tests", "bench", "fuzz", "tools", "cmake"]
SUFFIXES = {".h", ".hpp", ".cpp", ".py", ".sh", ".cmake", ".js", ".css", ".html"}
LIMIT, NOTICE = 800, 400


def sources(root):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            hidden = any(part in ("data", "__pycache__") for part in path.relative_to(root).parts)
            if path.suffix in SUFFIXES and not hidden:
                yield path


def check(root):
    found, notices = [], []
    for path in sources(root):
        name, data = path.relative_to(root), path.read_bytes()
        lines = data.count(b"\n")
        if lines > LIMIT:
            found.append(f"{name}: {lines} lines; the limit is {LIMIT}, split the file by subject")
        elif lines > NOTICE:
            notices.append(f"notice: {name}: {lines} lines; aim at 250")
        for number, line in enumerate(data.split(b"\n"), 1):
            if not line.isascii():
                found.append(f"{name}:{number}: a character outside ASCII; write it as an escape")
            elif line.rstrip() != line or b"\t" in line:
                found.append(f"{name}:{number}: a tab or blanks at the end of the line")
    return found, notices


def self_test():
    wrong = {
        "src/a/long.cpp": b"int x;\n" * 801,
        "tests/a_test.cpp": "// caf\u00e9\n".encode(),
        "tools/blank.py": b"x = 1 \n",
        "bench/tab.cpp": b"\tint x;\n",
    }
    right = {"src/a/edge.cpp": b"int x;\n" * 800, "tests/data/any.py": b"\xff\n", "src/a/note.md": b"\xff\n"}
    with tempfile.TemporaryDirectory() as name:
        for file, data in (wrong | right).items():
            (Path(name) / file).parent.mkdir(parents=True, exist_ok=True)
            (Path(name) / file).write_bytes(data)
        found, notices = check(Path(name))
    named = {line.split(":")[0] for line in found}
    assert named == set(wrong), f"expected {set(wrong)}, found {named}"
    assert len(notices) == 1, notices
    print(f"check_length: self-test passed ({len(wrong)} violations found, {len(right)} files accepted)")


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(self_test())
    violations, remarks = check(Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]))
    print("\n".join(remarks + violations) or f"check_length: no file above {NOTICE} lines")
    sys.exit(bool(violations))
