"""Reading float and integer tensors of a safetensors file with the standard library."""
import array
import json
import struct

CODES = {"F32": "f", "I64": "q"}


def read(path):
    """Name -> (shape, array) of every F32 and I64 tensor."""
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    tensors = {}
    for name, entry in json.loads(data[8:8 + length]).items():
        if name != "__metadata__" and entry["dtype"] in CODES:
            begin, end = (8 + length + offset for offset in entry["data_offsets"])
            tensors[name] = entry["shape"], array.array(CODES[entry["dtype"]], data[begin:end])
    return tensors


def rows(tensor, last=None):
    """The rows of a [K, N] tensor, or its `last` ones."""
    (count, width), values = tensor
    first = 0 if last is None else count - last
    return [values[r * width:(r + 1) * width] for r in range(first, count)]
