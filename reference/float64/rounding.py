"""Tensors and weights that went through fewer bits: float16, bfloat16, TF32."""

import numpy as np


def float16(x):
    """Rounded to 11 significant bits and float16's range."""
    with np.errstate(over="ignore"):
        return np.asarray(x).astype(np.float16).astype(x.dtype)


def to_bits(x, drop):
    """Rounds float32 to nearest, ties to even, dropping so many bits of the mantissa."""
    bits = np.asarray(x).astype(np.float32).view(np.uint32)
    half = np.uint32((1 << (drop - 1)) - 1) + ((bits >> np.uint32(drop)) & np.uint32(1))
    rounded = (bits + half) & np.uint32(0xFFFFFFFF << drop & 0xFFFFFFFF)
    out = rounded.view(np.float32).astype(x.dtype)
    return np.where(np.isfinite(x), out, x)


def bfloat16(x):
    return to_bits(x, 16)


def tf32(x):
    return to_bits(x, 13)


class Rounded:
    """A model whose weights are rounded as they are read."""

    def __init__(self, model, round):
        self.model, self.round, self.layers, self.heads, self.width, self.eps = (
            model, round, model.layers, model.heads, model.width, model.eps)

    def weight(self, name):
        return self.round(self.model.weight(name))

    def head(self):
        return self.round(self.model.head())
