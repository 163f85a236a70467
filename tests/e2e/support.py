"""What every end-to-end test uses: the program, the models, a way to run the one on the other."""
import fcntl
import json
import os
import subprocess
from pathlib import Path

PROGRAM = os.environ["LATENT8"]
SOURCE = Path(os.environ["LATENT8_SOURCE_DIR"])
WORK = Path(os.environ["LATENT8_WORK_DIR"])
FLOAT_MODEL = SOURCE / "models" / "tiny-r1"
GOLDEN = SOURCE / "tests" / "data" / "golden"


def run(*arguments, text="", expect=0, timeout=600):
    """Runs `latent8 arguments...` with `text` on stdin; returns stdout. Any other exit status fails the test."""
    done = subprocess.run([PROGRAM, *map(str, arguments)], input=text, text=True, capture_output=True, timeout=timeout)
    command = "latent8 " + " ".join(map(str, arguments))
    assert done.returncode == expect, f"{command}: exit {expect} expected, got {done.returncode}\n{done.stderr}"
    if expect != 0:
        assert done.stderr.strip(), f"{command}: failed without a message on stderr"
        return done.stderr
    return done.stdout


def run_json(*arguments, **more):
    return json.loads(run(*arguments, "--json", **more))


def quantized_model():
    """The directory of models/tiny-r1 as W8A8 + FA3, quantised again when the program or the model changed."""
    target, stamp = WORK / "tiny-r1-w8a8-fa3", WORK / "quantized.stamp"
    WORK.mkdir(parents=True, exist_ok=True)
    sources = [Path(PROGRAM), *FLOAT_MODEL.iterdir()]
    with open(WORK / "lock", "w") as lock:  # ctest runs test files side by side
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not stamp.exists() or stamp.stat().st_mtime < max(p.stat().st_mtime for p in sources):
            stamp.unlink(missing_ok=True)
            subprocess.run(["rm", "-rf", str(target), f"{target}.partial"], check=True)
            run("quantize", "--model", FLOAT_MODEL, "--out", target, "--fa-quant")
            stamp.touch()
    return target
