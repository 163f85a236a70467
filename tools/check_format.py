#!/usr/bin/env python3
"""Checks that every C++ file git knows is formatted as .clang-format says.

usage: check_format.py [ROOT] [--fix]     prints the files that are not, exit 1 if there is any
       check_format.py --self-test
"""
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = "clang-format-19"
PATTERNS = ["*.h", "*.cpp"]


def tracked(root):
    listed = subprocess.run(["git", "-C", str(root), "ls-files", "-z", "--", *PATTERNS], check=True,
                            capture_output=True)
    return sorted(root / name for name in listed.stdout.decode().split("\0") if name and (root / name).is_file())


def unformatted(files):
    def bad(path):
        run = subprocess.run([PROGRAM, "--dry-run", "-Werror", str(path)], capture_output=True)
        return run.returncode != 0
    return [path for path in files if bad(path)]


def self_test():
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        shutil.copy(Path(__file__).parents[1] / ".clang-format", root)
        (root / "good.cpp").write_text("int f(int x) { return x; }\n")
        (root / "bad.cpp").write_text("int   f( int x ){ return x; }\n")
        subprocess.run("git init -q && git add .", shell=True, cwd=root, check=True)
        assert [p.name for p in unformatted(tracked(root))] == ["bad.cpp"]
    print("check_format: self-test passed")


def main(arguments):
    if not shutil.which(PROGRAM):
        return f"check_format: {PROGRAM} is missing; make deps installs it"
    if "--self-test" in arguments:
        return self_test()
    fix = "--fix" in arguments
    root = Path(next((a for a in arguments if not a.startswith("--")), Path(__file__).parents[1]))
    wrong = unformatted(tracked(root))
    if fix and wrong:
        subprocess.run([PROGRAM, "-i", *map(str, wrong)], check=True)
    for path in wrong:
        print(f"{path.relative_to(root)}: {'formatted' if fix else f'not formatted; {PROGRAM} -i formats it'}")
    return 1 if wrong and not fix else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
