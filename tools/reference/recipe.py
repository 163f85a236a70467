"""Numbers that tests/support/recipe.h draws too, so that golden data need not hold them."""
import numpy as np


def bits(stream, count):
    """The first `count` elements of a stream, uint64."""
    x = np.arange(1, count + 1, dtype=np.uint64) + np.uint64(stream << 32)
    with np.errstate(over="ignore"):
        x *= np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def bell(stream, count):
    """Sums of four bytes less their mean: -510 .. 510, int64."""
    x = bits(stream, count)
    return sum(((x >> np.uint64(s)) & np.uint64(255)).astype(np.int64) for s in (0, 8, 16, 24)) - 510
