#!/usr/bin/env python3
"""Checks that each object of src/kernels/isa/*.cpp defines one external symbol: its kernel table.

A weak symbol (an inline function of a header) would be compiled with this file's ISA flags and could be the copy
that the linker keeps for the whole program, which then dies on a CPU without that ISA.

usage: check_symbols.py BUILD_DIR [--nm PROGRAM]    exit 1 on a violation, or if there is no object
       check_symbols.py --self-test
"""
import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

INSTRUMENTATION = ("__asan", "___asan", "asan.", "__odr_asan", "__ubsan", "__tsan", "tsan.", "__sancov", "__start_",
                   "__stop_")


def check_object(path, nm):
    listing = subprocess.run([nm, "-C", "--defined-only", "--extern-only", str(path)], check=True, text=True,
                             capture_output=True).stdout
    symbols = [line.split(maxsplit=2)[1:] for line in listing.splitlines() if len(line.split()) >= 3]
    symbols = [(kind, name) for kind, name in symbols if not name.startswith(INSTRUMENTATION)]
    weak = [name for kind, name in symbols if kind in "VvWwu"]
    strong = [name for kind, name in symbols if kind not in "VvWwu"]
    found = [f"{path}: weak symbol '{name}': keep everything but the table in an anonymous namespace" for name in weak]
    if len(strong) != 1 or not strong[0].endswith("Table"):
        found.append(f"{path}: exactly one external symbol, ending in Table, expected; got {strong}")
    return found


def check(build, nm):
    objects = sorted(build.rglob("kernels/isa/*.cpp.o"))
    if not objects:
        return [f"{build}: no object of src/kernels/isa there; build it first"], 0
    return [line for path in objects for line in check_object(path, nm)], len(objects)


def find_compiler():
    return next(filter(None, map(shutil.which, ("clang++-19", "clang++", "g++"))), None)


def self_test(nm):
    table = "struct T { int x; }; extern const T kGoodTable; const T kGoodTable{1};\n"
    cases = {  # file: text, number of violations
        "good": ("namespace { inline int f() { return 1; } }\n" + table, 0),
        "weak": ("inline int leaked() { return 1; }\n" + table + "namespace { int y = leaked(), (*p)() = &leaked; }\n", 1),
        "two": (table + "int another() { return 2; }\n", 1),
        "none": ("static int x;\n", 1),
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "kernels" / "isa"
        folder.mkdir(parents=True)
        for file, (text, expected) in cases.items():
            source, out = folder / f"{file}.cpp", folder / f"{file}.cpp.o"
            source.write_text(text)
            subprocess.run([find_compiler(), "-w", "-std=c++20", "-c", str(source), "-o", str(out)], check=True)
            found = check_object(out, nm)
            assert len(found) == expected, f"{file}: {expected} violations expected, got {found}"
        assert len(check(Path(name), nm)[0]) == 3
        assert check(Path(name) / "absent", nm)[0], "an empty build folder must be a violation"
    print(f"check_symbols: self-test passed ({len(cases)} objects)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("build", nargs="?", type=Path)
    parser.add_argument("--nm", default="nm")
    parser.add_argument("--self-test", action="store_true")
    args = parser.parse_args()
    if args.self_test:
        sys.exit(self_test(args.nm))
    violations, count = check(args.build, args.nm)
    print("\n".join(violations) or f"check_symbols: {count} objects, each with its table only")
    sys.exit(bool(violations))
