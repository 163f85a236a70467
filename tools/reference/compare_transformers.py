#!/usr/bin/env python3
"""Compares the goldens of small random models with Hugging Face transformers: the largest difference of logits.

usage: compare_transformers.py [NAME..]     default: every model of tests/data/golden that transformers has a class for;
needs torch, transformers 5.24 and numpy. tests/model compares the program with the same goldens.
"""
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
import transformers
from make_small_models import LANGUAGE_MODEL, draw, read_recipe
from safetensors.numpy import load_file
from tensors import Checkpoint, write

GOLDEN = Path(__file__).parents[2] / "tests" / "data" / "golden"
# Where the published model_type is the name of a repository's own code, the class that computes the same.
SAME_CLASS = {"kimi_k2": "deepseek_v3"}


def language_model(name, config, tensors):
    """The language model of a larger one alone."""
    inner = config.get("text_config", config)
    prefix = LANGUAGE_MODEL if inner is not config else ""
    kept = {tensor[len(prefix):]: value for tensor, value in tensors.items() if tensor.startswith(prefix)}
    return inner | {"model_type": SAME_CLASS.get(inner["model_type"], inner["model_type"])}, kept


def largest_difference(name):
    attempt, lines = read_recipe(GOLDEN / name / "tensors.txt")
    config = json.loads((GOLDEN / name / "config.json").read_text())
    config, tensors = language_model(name, config, draw(lines, attempt))
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / "model.safetensors", tensors)
        if config.pop("quantization_config", None):  # its blocks widened: transformers' own code needs a GPU's kernels
            wide = Checkpoint(folder, np.float32)
            write(Path(folder) / "model.safetensors",
                  {name: wide[name] for name in tensors if not name.endswith("_scale_inv")})
        (Path(folder) / "config.json").write_text(json.dumps(config))
        model, report = transformers.AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
    if report["missing_keys"]:
        raise SystemExit(f"{name}: {report['missing_keys']}")
    golden, worst = load_file(GOLDEN / f"{name}.golden.safetensors"), 0.0
    for n in range(sum(key.endswith(".ids") for key in golden)):
        with torch.no_grad():
            logits = model(torch.from_numpy(golden[f"{n}.ids"])[None]).logits[0].numpy()
        worst = max(worst, np.abs(logits - golden[f"{n}.logits"]).max())
    return worst


if __name__ == "__main__":
    for model_name in sys.argv[1:] or sorted(path.parent.name for path in GOLDEN.glob("*/tensors.txt")):
        try:
            print(f"{model_name}: {largest_difference(model_name):.2g}")
        except Exception as error:  # a config that a class refuses says why, and the others are compared
            print(f"{model_name}: {type(error).__name__}: {str(error).splitlines()[0]}")
