#!/usr/bin/env python3
"""Writes tests/data/golden/mla.safetensors: what the reference operator's golden formula makes of int8 decode attention.

usage: make_mla_golden.py [OUT]          needs numpy. The formula: docs/numerics.md, "Ascend attention", from the
operator's own test (test_multi_latent_attention_int8nz.py); it gave the same bits as that test's output on seven inputs
of other values.

Inputs come from recipe.py and are not stored. Case N: N.meta [4] i64 (context, keys of a tile, tokens, heads);
N.out [T, H, 512] f16, N.lse [T, H] f32. Row r of T sees the first context - (T - 1 - r) keys.
"""
import sys
from pathlib import Path

import numpy as np
from recipe import bell, bits
from tensors import write

RANK, ROPE, SCALE = 512, 64, np.float32(0.1352)
CASES = [(1, 128, 1, 8), (127, 128, 1, 8), (128, 128, 1, 16), (129, 128, 1, 16), (1100, 512, 1, 128), (515, 512, 2, 16),
         (300, 128, 1, 4)]  # context, tile, tokens, heads


def codes(stream, rows, divisor, loud):
    """int8 [rows, RANK]; every 64th column from 5 is `loud` times as large."""
    x = bell(stream, rows * RANK).reshape(rows, RANK)
    x[:, 5::64] *= loud
    return np.clip(np.sign(x) * (np.abs(x) // divisor), -127, 127)


def inputs(case):
    context, _, tokens, heads = CASES[case]
    stream = 10 * (case + 1)
    return {
        "q8": codes(stream, tokens * heads, 4, 1).reshape(tokens, heads, RANK),
        "k8": codes(stream + 1, context, 13, 4),
        "q_rope": bell(stream + 2, tokens * heads * ROPE).reshape(tokens, heads, ROPE).astype(np.float32) / 64,
        "k_rope": bell(stream + 3, context * ROPE).reshape(context, ROPE).astype(np.float32) / 128,
        "qk_descale": ((1 + bits(stream + 4, heads) % 32).astype(np.float32) / 16384),
        "pv_descale": np.full(heads, 15 / 128, np.float32),
    }


def attend(x, tile):
    f32 = np.float32
    tokens, heads, _ = x["q8"].shape
    out, lse = np.zeros(x["q8"].shape, np.float16), np.zeros((tokens, heads), f32)
    for t in range(tokens):
        last = len(x["k8"]) - (tokens - 1 - t)
        peak = None
        for begin in range(0, last, tile):
            k, k_rope = x["k8"][begin:min(last, begin + tile)], x["k_rope"][begin:min(last, begin + tile)]
            s = (x["q8"][t] @ k.T).astype(f32) * x["qk_descale"][:, None] + x["q_rope"][t] @ k_rope.T
            s = s * SCALE
            local = s.max(axis=1)
            high = local if peak is None else np.maximum(local, peak)
            p = np.exp(s - high[:, None])
            scale = np.exp(local - high) / f32(127)
            p8 = np.rint((p / scale[:, None]).astype(np.float16)).astype(np.int64)
            values = (p8 @ k).astype(f32) * x["pv_descale"][:, None] * scale[:, None]
            row_sum = p.sum(axis=1, dtype=f32)
            if peak is None:
                total, mix = row_sum, values
            else:
                fade = np.exp(peak - high)
                total, mix = total * fade + row_sum, mix * fade[:, None] + values
            peak = high
        out[t], lse[t] = (mix / total[:, None]).astype(np.float16), np.log(total) + peak
    return out, lse


if __name__ == "__main__":
    golden = {}
    for n, (context, tile, tokens, heads) in enumerate(CASES):
        out, lse = attend(inputs(n), tile)
        golden |= {f"{n}.meta": np.array([context, tile, tokens, heads]), f"{n}.lse": lse}
        golden[f"{n}.out"] = out
        print(f"{n}: largest output {np.abs(out).max():.2f}, lse {lse.min():.2f} .. {lse.max():.2f}")
    order = sorted(golden, key=lambda name: -golden[name].itemsize)  # wide elements first: every tensor is aligned
    default = Path(__file__).parents[2] / "tests" / "data" / "golden" / "mla.safetensors"
    write(Path(sys.argv[1]) if len(sys.argv) > 1 else default, {name: golden[name] for name in order})
