#!/usr/bin/env python3
"""Makes the small golden data of the msmodelslim mode from the checkpoints and dumps that the reference wrote.

usage: make_msmodelslim_golden.py GOLDEN OUT      GOLDEN: the folder with a_mindie_m4_static, stats, prompts, ...

Writes OUT/FOLDER/hashes.txt (a name and a hash per line: of every file's bytes, but of a safetensors file's header and
of its tensors, without those that equal a's of the same name), OUT/stats/{a,c,e}.safetensors (what static scales, latent scales and smoothing read; calls along the first
dimension) and OUT/prompts.
"""
import json
import shutil
import struct
import sys
from pathlib import Path

# alpha and beta of run e (m6), which the dump does not have: the only ones of the search's grid with which its norms and
# kv_b_proj come out equal, per layer for the inputs of q_a_proj, q_b_proj and o_proj.
EXPONENTS = [((1.0, 0.0), (0.9, 0.1), (0.8, 0.3)), ((1.0, 0.0), (0.9, 0.0), (0.75, 0.45)),
             ((1.0, 0.0), (0.9, 0.05), (0.75, 0.25)), ((1.0, 0.0), (0.8, 0.2), (0.7, 0.3)),
             ((1.0, 0.0), (1.0, 0.0), (1.0, 0.05))]
FOLDERS = ["b_ascendv1_m4_static", "c_ascendv1_dynamic_noanti", "e_ascendv1_m6_static", "f_ascendv1_m4_mtpfloat"]
WHOLE = "a_mindie_m4_static"
MASK = (1 << 64) - 1


def hash64(data):
    """FNV-1a over little-endian words of 8 bytes, the last one filled up with zeros, then over the length."""
    value = 0xCBF29CE484222325
    padded = data + bytes(-len(data) % 8)
    for word in struct.unpack(f"<{len(padded) // 8}Q", padded) + (len(data),):
        value = (value ^ word) * 0x100000001B3 & MASK
    return value


def read(path):
    """The header text, and [(name, type, shape, bytes)] in the file's order."""
    content = path.read_bytes()
    size = struct.unpack("<Q", content[:8])[0]
    header, data = content[8:8 + size], content[8 + size:]
    tensors = [(name, t["dtype"], t["shape"], data[slice(*t["data_offsets"])])
               for name, t in json.loads(header).items() if name != "__metadata__"]
    return header, tensors


def write(path, tensors):
    header, at = {}, 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + len(data)]}
        at += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(t[3] for t in tensors))


def write_hashes(source, whole, out):
    lines = []
    for path in sorted(source.iterdir()):
        if path.suffix != ".safetensors":
            lines.append(f"{path.name} {hash64(path.read_bytes()):016x}")
            continue
        header, tensors = read(path)
        lines.append(f"{path.name} {hash64(header):016x}")
        lines += [f"{name} {hash64(data):016x}" for name, _, _, data in tensors if whole.get(name) != data]
    out.write_text("\n".join(lines) + "\n")


def write_stats(source, out):
    tensors = {name: (dtype, shape, data) for name, dtype, shape, data in read(source)[1]}
    kept, calls = [], 1 + max(int(name.split(".")[1]) for name in tensors if name.startswith("calib."))

    def stack(name, parts):
        shape = [len(parts)] + parts[0][1]
        kept.append((name, parts[0][0], shape, b"".join(p[2] for p in parts)))

    for name, (dtype, shape, data) in tensors.items():
        if name.endswith((".max", ".min")):
            kept.append((name, dtype, shape, data))
        elif name.endswith(".input_ids") and out.stem == "a":  # the prompts of all runs are the same
            kept.append((name, dtype, shape, data))
        elif name.startswith("calib.0.") and ".self_attn." in name and name.endswith(".min_max"):
            rest = name.split(".", 2)[2]
            parts = [tensors[f"calib.{i}.{rest}"] for i in range(calls)]
            if "kv_a_proj" in rest:  # it reads what q_a_proj reads
                other = rest.replace("kv_a_proj_with_mqa", "q_a_proj")
                assert all(tensors[f"calib.{i}.{other}"] == parts[i] for i in range(calls))
            else:
                stack("calib." + rest.replace(".quant_input", ""), parts)
        elif name.startswith("fa.0.") and name.endswith(".window"):
            rest = name.split(".", 2)[2]
            stack("fa." + rest, [tensors[f"fa.{i}.{rest}"] for i in range(calls)])
    if out.stem == "e":
        for layer, groups in enumerate(EXPONENTS):
            for linear, pair in zip(("q_a_proj", "q_b_proj", "o_proj"), groups):
                name = f"anti.model.layers.{layer}.self_attn.{linear}.alpha_beta"
                kept.append((name, "F32", [2], struct.pack("<2f", *pair)))
    write(out, kept)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    golden, out = Path(sys.argv[1]), Path(sys.argv[2])
    whole = {name: data for path in (golden / WHOLE).glob("*.safetensors") for name, _, _, data in read(path)[1]}
    for folder in FOLDERS:
        (out / folder).mkdir(parents=True, exist_ok=True)
        write_hashes(golden / folder, whole, out / folder / "hashes.txt")
    for folder in ("stats", "prompts"):
        (out / folder).mkdir(exist_ok=True)
    for run in "ace":
        write_stats(golden / "stats" / f"{run}.safetensors", out / "stats" / f"{run}.safetensors")
    for name in ("anti.json", "calib.json"):
        shutil.copyfile(golden / "prompts" / name, out / "prompts" / name)


if __name__ == "__main__":
    main()
