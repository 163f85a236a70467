#!/usr/bin/env python3
"""A quantised checkpoint with some of its layers taken from the float one: what a list of fallback layers gains.

    python3 bench/float_layers.py QUANTISED SOURCE DST LAYER [LAYER ...]

Needs safetensors and torch from PyPI. DST must not exist.
"""
import json
import shutil
import sys
from pathlib import Path

from safetensors.torch import safe_open, save_file


def read_tensors(folder: Path) -> dict:
    tensors = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, "pt") as file:
            tensors.update({name: file.get_tensor(name) for name in file.keys()})
    return tensors


def main() -> None:
    if len(sys.argv) < 5:
        sys.exit(__doc__)
    quantised, source, out = (Path(arg) for arg in sys.argv[1:4])
    prefixes = tuple(f"model.layers.{layer}." for layer in sys.argv[4:])
    from_source = {name: x for name, x in read_tensors(source).items() if name.startswith(prefixes)}
    tensors = {name: x for name, x in read_tensors(quantised).items() if not name.startswith(prefixes)}
    out.mkdir(parents=True)
    for path in quantised.glob("*.json"):
        if path.name.startswith("quant_model_description"):
            kept = {k: v for k, v in json.loads(path.read_text()).items() if not k.startswith(prefixes)}
            (out / path.name).write_text(json.dumps(kept | dict.fromkeys(from_source, "FLOAT"), indent=2))
        elif not path.name.endswith(".index.json"):
            shutil.copy(path, out)
    save_file({k: x.contiguous() for k, x in (tensors | from_source).items()}, out / "model.safetensors")


if __name__ == "__main__":
    main()
