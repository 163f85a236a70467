#!/usr/bin/env python3
"""soak.py --seconds N [--program PATH] [--seed N]: does to quantisations what machines do, at random, and counts.

Each round kills a quantisation of models/tiny-r1, lets a system call fail in it (strace -e inject), fills its disk,
or flips a bit in what it has written, and then finishes it. What may come of it: the bytes of an undisturbed run, or
an error with a message and, once what was wrong is gone, the bytes of an undisturbed run. Anything else is a finding:
it is printed with the round's seed, its folder stays, and the exit status is 1.
"""
import argparse
import collections
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
MODEL = SOURCE / "models/tiny-r1"
WRITES = ["openat", "write", "pwrite64", "fsync", "fdatasync", "rename", "renameat2", "ftruncate", "fallocate",
          "unlink", "mkdir", "mmap", "pread64", "read", "fstat", "statx", "getdents64"]
ERRORS = ["ENOSPC", "EIO", "ENOMEM", "EACCES", "EMFILE", "EINTR"]
LIMIT_S = 300


class Finding(Exception):
    """Something that must not happen."""


class Round:
    def __init__(self, program, folder, want, rng):
        self.program, self.folder, self.want, self.rng = program, folder, want, rng
        self.out = folder / "out"
        self.partial = folder / "out.partial"

    def command(self, *more):
        return [self.program, "quantize", "--model", MODEL, "--out", self.out, "--fa-quant", "--threads", "2", *more]

    def run(self, *prefix, more=()):
        done = subprocess.run(list(map(str, [*prefix, *self.command(*more)])), capture_output=True, text=True,
                              errors="replace", timeout=LIMIT_S)
        if done.returncode < 0 and -done.returncode != signal.SIGKILL:
            raise Finding(f"ended by {signal.Signals(-done.returncode).name}: {done.stderr[-500:]}")
        if done.returncode == 0:
            self.check_result()
        elif done.returncode > 0 and not done.stderr.strip():
            raise Finding(f"exit status {done.returncode} without a message")
        return done.returncode

    def check_result(self):
        got = sums(self.out)
        if got != self.want:
            raise Finding(f"exit status 0 with other bytes: {sorted(set(got.items()) ^ set(self.want.items()))[:4]}")

    def finish(self, may_be_refused=False):
        """Goes on as a user does: the same command again, afresh where the state is refused."""
        if self.out.exists():  # it appears when it is complete
            return self.check_result()
        status = self.run()
        if status != 0 and may_be_refused:
            status = self.run(more=["--no-resume"])
        if status != 0:
            raise Finding("an undisturbed run did not finish what was left")

    def kill_after(self, time_s):
        process = subprocess.Popen(list(map(str, self.command())), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            process.wait(time_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    # What happens to a quantisation. Each returns how it ended.
    def kill_at_a_time(self):
        for _ in range(self.rng.randint(1, 3)):
            self.kill_after(self.rng.uniform(0.05, 4.0))
        self.finish()
        return "same bytes"

    def kill_at_a_call(self):
        call = self.rng.choice(WRITES)
        nth = self.rng.randint(1, 400)
        self.run("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:signal=KILL:when={nth}")
        self.finish()
        return "same bytes"

    def fail_a_call(self):
        call, error = self.rng.choice(WRITES), self.rng.choice(ERRORS)
        nth = self.rng.randint(1, 400)
        more = "+" if self.rng.random() < 0.3 else ""
        status = self.run("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject={call}:error={error}:when={nth}{more}")
        self.finish(may_be_refused=True)
        return "an error, then the same bytes" if status else "same bytes at once"

    def fill_the_disk(self):
        size_kib = self.rng.randint(1, 30000)
        script = f'ulimit -f {size_kib}; exec "$@"'
        status = self.run("bash", "-c", script, "bash")
        self.finish()
        return "an error, then the same bytes" if status else "same bytes at once"

    def flip_a_bit_of_the_state(self):
        self.kill_after(self.rng.uniform(0.3, 4.0))
        if self.out.exists() or not self.flip(self.partial):
            self.finish()
            return "nothing to flip"
        flipped = self.run() != 0
        self.finish(may_be_refused=True)
        return "refused, afresh the same bytes" if flipped else "same bytes at once"

    def flip_a_bit_of_the_result(self):
        self.finish()
        flipped = self.flip(self.out)
        done = subprocess.run([self.program, "verify", self.out], capture_output=True, text=True, timeout=LIMIT_S)
        if done.returncode == 0:
            raise Finding(f"verify found nothing after a flip in {flipped}")
        return "verify failed"

    def flip(self, folder):
        files = [path for path in folder.rglob("*") if path.is_file() and path.stat().st_size > 0] if folder.is_dir() else []
        if not files:
            return None
        path = self.rng.choice(sorted(files))
        with open(path, "r+b") as file:
            at = self.rng.randrange(path.stat().st_size)
            file.seek(at)
            byte = file.read(1)[0]
            file.seek(at)
            file.write(bytes([byte ^ (1 << self.rng.randrange(8))]))
        return path


def sums(folder):
    lines = (folder / "SHA256SUMS").read_text().splitlines()
    return {line.split(maxsplit=1)[1]: line.split()[0] for line in lines}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--program", default=SOURCE / "build/release/bin/latent8", type=Path)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    arguments = parser.parse_args()
    kinds = [Round.kill_at_a_time, Round.kill_at_a_call, Round.fail_a_call, Round.fill_the_disk,
             Round.flip_a_bit_of_the_state, Round.flip_a_bit_of_the_result]
    if shutil.which("strace") is None:
        kinds = [kind for kind in kinds if kind not in (Round.kill_at_a_call, Round.fail_a_call)]
        print("no strace here: no system call fails", file=sys.stderr)
    counts, findings = collections.Counter(), 0
    with tempfile.TemporaryDirectory(prefix="latent8-soak-") as work:
        reference = Round(arguments.program, Path(work), None, random.Random(0))
        reference.check_result = lambda: None
        if reference.run() != 0:
            sys.exit("an undisturbed quantisation failed")
        want = sums(reference.out)
        seed, end = arguments.seed, time.monotonic() + arguments.seconds
        while time.monotonic() < end:
            seed += 1
            folder = Path(tempfile.mkdtemp(prefix="latent8-soak-round-"))
            rng = random.Random(seed)
            kind = rng.choice(kinds)
            try:
                counts[kind.__name__, kind(Round(arguments.program, folder, want, rng))] += 1
            except (Finding, subprocess.TimeoutExpired, OSError) as error:
                findings += 1
                print(f"FINDING in {kind.__name__}, seed {seed}, {folder}: {error}", flush=True)
                continue
            shutil.rmtree(folder)
    for (kind, ending), count in sorted(counts.items()):
        print(f"{kind.replace('_', ' '):<28}{ending:<34}{count:>6}")
    print(f"{sum(counts.values())} rounds as promised, {findings} findings; first seed {arguments.seed + 1}")
    sys.exit(findings > 0)


if __name__ == "__main__":
    main()
