"""Reads the .npy files of a golden with the standard library: float32 and int64, little-endian, C order."""

import array
import ast
import math
import operator
import sys

TYPES = {"<f4": "f", "<i8": "q"}


class BadNpy(Exception):
    """A file that is no such .npy; the text has the reason."""


def read(path):
    """(dtype such as "<f4", shape, array.array) of a file."""
    try:
        with open(path, "rb") as f:
            data = f.read()
    except OSError as e:
        raise BadNpy(e.strerror) from e
    if data[:8] != b"\x93NUMPY\x01\x00":
        raise BadNpy("not a .npy file of version 1.0")
    start = 10 + int.from_bytes(data[8:10], "little")
    try:
        header = ast.literal_eval(data[10:start].decode("latin1"))
        dtype, shape = header["descr"], header["shape"]
        if set(header) != {"descr", "fortran_order", "shape"} or header["fortran_order"] is not False:
            raise BadNpy(f"header {header}, want C order")
        values = array.array(TYPES[dtype])
        if len(data) - start != values.itemsize * math.prod(shape):
            raise BadNpy(f"{len(data) - start} bytes of data for shape {shape} of {dtype}")
    except (ValueError, SyntaxError, KeyError, TypeError) as e:
        raise BadNpy(f"header cannot be read: {e!r}") from e
    values.frombytes(data[start:])
    if sys.byteorder == "big":
        values.byteswap()
    return dtype, tuple(shape), values


def max_abs(values):
    """Largest finite magnitude; 0 when there is none."""
    return max((abs(v) for v in values if math.isfinite(v)), default=0.0)


def max_difference(a, b):
    """Largest |a-b| and its index. Equal infinities differ by 0, another infinity or NaN by infinity."""
    worst, index = 0.0, 0
    for i in (i for i, same in enumerate(map(operator.eq, a, b)) if not same):
        d = abs(a[i] - b[i])
        d = math.inf if d != d else d
        if d > worst:
            worst, index = d, i
    return worst, index
