#!/usr/bin/env python3
"""Compares the goldens of small models with Hugging Face transformers, which computes them from the same drawn weights.

usage: compare_transformers.py NAME..      needs torch and transformers 5.24 (in a venv of its own); NAME: as in make_small_models.py
"""
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from deepseek import open_golden
from make_small_models import MODELS, draw, published, recipe
from tensors import write
from transformers import AutoModelForCausalLM

GOLDEN = Path(__file__).parents[2] / "tests" / "data" / "golden"


def logits_of(name, prompts):
    """Without the MTP layer, which transformers leaves out."""
    import json
    with tempfile.TemporaryDirectory() as folder:
        config = published(name, MODELS[name])
        attempt = int((GOLDEN / name / "tensors.txt").read_text().split()[0])
        (Path(folder) / "config.json").write_text(json.dumps(config))
        write(Path(folder) / "model.safetensors", draw(recipe(MODELS[name]), attempt))
        model, info = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", output_loading_info=True)
        if info["missing_keys"] or info["unexpected_keys"]:
            print(f"{name}: missing {sorted(info['missing_keys'])}, unexpected {sorted(info['unexpected_keys'])}")
        model = model.eval()
        with torch.no_grad():
            return [model(torch.tensor([ids])).logits[0].numpy() for ids in prompts]


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    for model_name in sys.argv[1:]:
        golden = open_golden(GOLDEN / f"{model_name}.golden.safetensors")
        names = sorted(tensor[:-4] for tensor in golden.where if tensor.endswith(".ids"))
        found = logits_of(model_name, [np.asarray(golden[n + ".ids"]).astype(int) for n in names])
        worst = max(np.abs(a - golden[n + ".logits"]).max() for a, n in zip(found, names))
        print(f"{model_name}: {len(names)} prompts, largest difference to transformers {worst:.3g}")
