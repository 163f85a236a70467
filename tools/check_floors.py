#!/usr/bin/env python3
"""Checks every #include of src/ and include/latent8 against the tables in tools/floors.txt.

usage: check_floors.py [ROOT]     prints one line per violation, exit 1 if there is any
       check_floors.py --self-test
"""
import fnmatch
import re
import sys
import tempfile
from pathlib import Path

TABLES = Path(__file__).with_name("floors.txt")
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
SOURCES = {".h", ".hpp", ".cpp"}


def read_tables():
    floors, homes, words, calls = {}, [], [], []
    for line in TABLES.read_text().splitlines():
        kind, *rest = line.split() or ["#"]
        if kind == "floor":
            floors[rest[0]] = int(rest[1])
        elif kind == "home":
            homes.append((re.compile(rest[0]), rest[1:]))
        elif kind == "word":
            words.append((rest[0], rest[1:]))
        elif kind == "call":
            calls.append((re.compile(r"\b" + rest[0] + r"\s*[(<]"), rest[0], rest[1:]))
        elif not kind.startswith("#"):
            raise SystemExit(f"{TABLES}: a line starts with floor, home, word, call or #, got {line!r}")
    return floors, homes, words, calls


def at_home(name, places):
    return any(name == p or name.startswith(p + "/") or fnmatch.fnmatch(name, p) for p in places)


def sources(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in SOURCES) if folder.is_dir() else []


def includes(path):
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if found := INCLUDE.match(line):
            yield number, found[1] == '"', found[2]


def check_own(name, target, floors, root):
    """The complaint about an #include "..." in src/name, or None."""
    folder, into = name.split("/")[0], target.split("/")[0]
    if into == "latent8":
        return None if (root / "include" / target).is_file() else "no such file in include/"
    if into not in floors:
        return "is not written from src/, or its folder has no floor"
    if into != folder and floors[into] >= floors[folder]:
        return f"{folder} is on floor {floors[folder]}, {into} on floor {floors[into]}: only lower floors"
    return None


def check(root):
    floors, homes, words, calls = read_tables()
    found = []
    for path in sources(root / "src"):
        name = path.relative_to(root / "src").as_posix()
        if name.split("/")[0] not in floors:
            found.append(f"src/{name}: its folder has no floor in tools/floors.txt")
            continue
        for number, quoted, target in includes(path):
            complaint = check_own(name, target, floors, root) if quoted else None
            if complaint is None:
                complaint = next((f"belongs into {' '.join(places)} only" for pattern, places in homes
                                  if pattern.match(target) and not at_home(name, places)), None)
            if complaint:
                found.append(f"src/{name}:{number}: #include {target}: {complaint}")
        text = path.read_text(errors="replace")
        found += [f"src/{name}: says '{word}'; only {' '.join(places)} may" for word, places in words
                  if word in text and name not in places]
        found += [f"src/{name}: calls {word}(); only {' '.join(places)} may" for pattern, word, places in calls
                  if not at_home(name, places) and pattern.search(text)]
    for path in sources(root / "include"):
        for number, quoted, target in includes(path):
            if quoted and not target.startswith("latent8/") or not quoted and re.search(r"[/.]", target):
                found.append(f"{path.relative_to(root)}:{number}: #include {target}: std headers and latent8/ only")
    return found


def self_test():
    wrong = {  # file, text: each must be found; an empty second entry means nothing may be found
        "src/base/up.h": '#include "kv/pool.h"',
        "src/ops/beside.cpp": '#include "text/a.h"',
        "src/engine/json.cpp": "#include <nlohmann/json.hpp>",
        "src/formats/json.h": "#include <nlohmann/json.hpp>",
        "src/model/simd.h": "#include <immintrin.h>",
        "src/engine/mpi.cpp": "#include <mpi.h>",
        "src/text/cli.cpp": "#include <CLI/CLI.hpp>",
        "src/base/error.cpp": "#include <spdlog/spdlog.h>",
        "src/text/local.cpp": '#include "bpe.h"',
        "src/attic/a.h": "",
        "src/eval/google.cpp": "#include <benchmark/benchmark.h>",
        "src/apps/name.cpp": "// tiny-r1",
        "src/model/loop.cpp": "ctx.pool().parallel_for(n, 1, body);",
        "src/engine/start.cpp": "parallel_for_or_throw(pool, n, 1, body);",
        "src/base/gone.h": '#include "latent8/gone.h"',
        "include/latent8/fmt.h": "#include <fmt/core.h>",
    }
    right = {
        "src/kv/a.h": '#include "base/views.h"\n#include "kv/b.h"\n#include <vector>\n#include "latent8/error.h"',
        "src/formats/b.cpp": "#include <nlohmann/json.hpp>",
        "src/formats/b.h": "#include <nlohmann/json_fwd.hpp>",
        "src/base/log.cpp": "#include <spdlog/spdlog.h>",
        "src/sys/cpu.cpp": "#include <cpuid.h>",
        "src/ops/loop.cpp": "ctx.pool().parallel_for(n, 1, body);",
        "src/model/says.cpp": "// as parallel_for cuts it",
        "src/benchmark/a.h": '#include "benchmark/a.h"',
        "src/model/shapes.h": "// tiny-r1",
        "include/latent8/error.h": "#include <string>",
    }
    with tempfile.TemporaryDirectory() as name:
        for file, text in (wrong | right).items():
            (Path(name) / file).parent.mkdir(parents=True, exist_ok=True)
            (Path(name) / file).write_text(text + "\n")
        named = [line.split(":")[0] for line in check(Path(name))]
    missed, invented = set(wrong) - set(named), set(named) - set(wrong)
    assert not missed and not invented, f"missed {missed}, invented {invented}"
    print(f"check_floors: self-test passed ({len(wrong)} violations found, {len(right)} files accepted)")


if __name__ == "__main__":
    if sys.argv[1:] == ["--self-test"]:
        sys.exit(self_test())
    violations = check(Path(sys.argv[1] if len(sys.argv) > 1 else TABLES.parent.parent))
    print("\n".join(violations) or "check_floors: every include points down")
    sys.exit(bool(violations))
