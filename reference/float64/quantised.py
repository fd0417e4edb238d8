"""Exports a dump of a quantised engine: gpt2.py in float64 on dequantised weights, which are in the dump too.

    python3 reference/float64/quantised.py --scheme int8 --model DIR --name synthetic-tiny --tokens 15496,13 --new 10 --out DUMP

The matrices of the layers and the table of tokens are quantised, int8 with a scale for each output or q4_0 as llama.cpp
does it; weights.safetensors has them as the engine uses them.
"""

import argparse
import json
import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import dump  # noqa: E402
import gpt2  # noqa: E402

SOURCES = ["reference/contract.py", "reference/dump.py", "reference/float64/gpt2.py", "reference/float64/quantised.py",
           "reference/float64/requirements.txt"]


def int8(w):
    """[in,out] through levels of -127 to 127, a scale for each output."""
    scale = (np.abs(w).max(0) / np.float32(127)).astype(np.float32)
    scale[scale == 0] = 1
    return np.clip(np.rint(w / scale), -127, 127).astype(np.float32) * scale


def q4_0(w):
    """[in,out] through levels of -8 to 7, a float16 scale for each 32 inputs: the largest of them is level -8."""
    out = np.empty_like(w)
    for at in range(0, len(w), 32):
        part = w[at:at + 32]
        most = np.take_along_axis(part, np.abs(part).argmax(0)[None], 0)
        scale = most / np.float32(-8)
        inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)
        levels = np.clip(np.floor(part * inverse + np.float32(8.5)), 0, 15) - 8
        out[at:at + 32] = levels.astype(np.float32) * scale.astype(np.float16).astype(np.float32)
    return out


SCHEMES = {"int8": int8, "q4_0": q4_0}


def quantised(weights, scheme):
    """The weights that are quantised, dequantised, by name."""
    result = {}
    for name, w in weights.items():
        if name in ("wte.weight", "lm_head.weight"):
            result[name] = np.ascontiguousarray(SCHEMES[scheme](np.asarray(w).T).T)
        elif name.startswith("h.") and w.ndim == 2:
            result[name] = SCHEMES[scheme](np.asarray(w))
    return result


def write_safetensors(path, weights):
    header, offset = {}, 0
    for name, w in weights.items():
        header[name] = {"dtype": "F32", "shape": list(w.shape), "data_offsets": [offset, offset + w.nbytes]}
        offset += w.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "xb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for w in weights.values():
            f.write(w.astype("<f4").tobytes())


def open_model(scheme):
    def opened(job):
        model = gpt2.load(job.model)
        loaded = quantised(model.weights, scheme)
        model.weights = {**model.weights, **loaded}
        cache = model.new_cache(len(job.tokens))

        def step(tokens, writer):
            if cache.length == 0:
                write_safetensors(os.path.join(writer.temp, "weights.safetensors"), loaded)

            def tap(stage, array):
                if writer.wants(stage):
                    writer.put(stage, array if array.dtype == np.int64 else array.astype(np.float32))

            return model.step(tokens, cache, tap, job.temperatures)

        return step

    return opened


if __name__ == "__main__":
    p = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    p.add_argument("--scheme", choices=SCHEMES, required=True)
    options, rest = p.parse_known_args()
    engine = {"name": "quantised", "version": f"{options.scheme}, numpy {np.__version__}", "dtype": "float64"}
    sys.exit(dump.main(__doc__.splitlines()[0], engine, SOURCES, open_model(options.scheme), rest))
