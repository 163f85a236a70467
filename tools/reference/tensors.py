"""Reading and writing safetensors with numpy alone: bf16 and fp8 e4m3 are widened here, 128x128 blocks undone."""
import json
import struct
from pathlib import Path

import numpy as np

BLOCK = 128  # side of the blocks that share one weight_scale_inv
PLAIN = {"F64": np.float64, "F32": np.float32, "F16": np.float16, "I64": np.int64, "I32": np.int32, "I8": np.int8,
         "U8": np.uint8}


def _fp8_table():
    codes = np.arange(256)
    exponent, mantissa = (codes >> 3) & 15, codes & 7
    value = np.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7))
    value[(codes & 127) == 127] = np.nan
    return np.where(codes & 128, -value, value).astype(np.float32)


FP8 = _fp8_table()


def to_bf16(x):
    """float32 -> the bits of bf16, to nearest, ties to even (finite values)."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bf16(bits):
    return (bits.astype(np.uint32) << 16).view(np.float32)


def to_fp8(x):
    """float -> the bits of e4m3 (fn), to nearest, ties to even; |x| <= 448."""
    positive = FP8[:127].astype(np.float64)
    magnitude = np.abs(x).astype(np.float64)
    middle = (positive[:-1] + positive[1:]) / 2
    code = np.searchsorted(middle, magnitude, side="left")  # ties go to the lower code ...
    tie = (code < len(middle)) & (magnitude == middle[np.minimum(code, len(middle) - 1)]) & (code % 2 == 1)
    return (code + tie + 128 * np.signbit(x)).astype(np.uint8)  # ... unless the upper one is even


def to_fp8_blocks(w):
    """w [n, k] -> (bits uint8 [n, k], weight_scale_inv f32 [ceil(n/128), ceil(k/128)])."""
    n, k = w.shape
    scale = np.empty((-(-n // BLOCK), -(-k // BLOCK)), np.float32)
    bits = np.empty((n, k), np.uint8)
    for i in range(scale.shape[0]):
        for j in range(scale.shape[1]):
            at = np.s_[i * BLOCK:(i + 1) * BLOCK, j * BLOCK:(j + 1) * BLOCK]
            scale[i, j] = np.abs(w[at]).max() / 448
            bits[at] = to_fp8(np.clip(w[at] / scale[i, j], -448, 448))
    return bits, scale


class Checkpoint:
    """The tensors of a checkpoint directory as float arrays, by name."""

    def __init__(self, directory, dtype=np.float64):
        self.dtype, self.where = dtype, {}
        files = sorted(Path(directory).glob("*.safetensors"))
        for path in [f for f in files if not f.name.startswith("golden")]:
            self._index(path)

    def _index(self, path):
        with open(path, "rb") as f:
            size = struct.unpack("<Q", f.read(8))[0]
            header = json.loads(f.read(size))
        for name, entry in header.items():
            if name != "__metadata__":
                self.where[name] = (path, 8 + size, entry)

    def __contains__(self, name):
        return name in self.where

    def raw(self, name):
        path, base, entry = self.where[name]
        begin, end = entry["data_offsets"]
        kind = {"BF16": np.uint16, "F8_E4M3": np.uint8}.get(entry["dtype"]) or PLAIN[entry["dtype"]]
        count = (end - begin) // np.dtype(kind).itemsize
        return entry["dtype"], np.fromfile(path, kind, count, offset=base + begin).reshape(entry["shape"])

    def __getitem__(self, name):
        stored, x = self.raw(name)
        if stored == "BF16":
            return from_bf16(x).astype(self.dtype)
        if stored != "F8_E4M3":
            return x if stored.startswith("I") else x.astype(self.dtype)
        _, scale = self.raw(name + "_scale_inv")
        blocks = np.repeat(np.repeat(scale, BLOCK, 0), BLOCK, 1)[:x.shape[0], :x.shape[1]]
        return FP8[x].astype(self.dtype) * blocks.astype(self.dtype)


def write(path, tensors):
    """tensors: name -> array, or (dtype name, array of bits) for BF16 and F8_E4M3."""
    names = {np.dtype(v): k for k, v in PLAIN.items()}
    header, chunks, offset = {}, [], 0
    for name, value in tensors.items():
        stored, x = value if isinstance(value, tuple) else (names[value.dtype], value)
        data = np.ascontiguousarray(x).tobytes()
        header[name] = {"dtype": stored, "shape": list(x.shape), "data_offsets": [offset, offset + len(data)]}
        chunks.append(data)
        offset += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + b"".join(chunks))
