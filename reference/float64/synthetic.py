"""Synthetic GPT-2 models: a formula instead of a download.

    python3 reference/float64/synthetic.py synthetic-tiny --out DIR

writes DIR/config.json and DIR/model.safetensors, the same bytes wherever and in whatever language it is computed.

Every element
    All integers are uint64, arithmetic modulo 2**64. All else is float32: each operation rounds once, to nearest even,
    and nothing is fused (in Go: float32(a*b) + c). Element i (row-major, from 0) of the tensor called NAME (no
    `transformer.` prefix):

        key = FNV-1a-64(NAME as UTF-8) xor seed         offset basis 0xCBF29CE484222325, prime 0x100000001B3
        h = key + (i+1) * 0x9E3779B97F4A7C15
        h = (h xor h>>30) * 0xBF58476D1CE4E5B9
        h = (h xor h>>27) * 0x94D049BB133111EB
        h =  h xor h>>31
        f = float32(h>>40) * 2**-23 - 1                 exact, in [-1, 1)
        v = f*scale + shift                             two roundings

    scale and shift are the float32 nearest to the decimals of MODELS, by the tensor's name without `h.N.`.

Structural rules, applied after that; c is the channel `spike`, the last index of the element
    wte.weight          column c:   v = f*scale + shift with wte_spike's pair
    ln_f.weight         v = -v where h is odd (bit 0); then element c is ln_f_spike
    h.N.ln_1.weight, h.N.ln_2.weight, every N: element c is multiplied by ln_spike
    h.0.mlp.c_proj.bias             element c: v = v + resid_spike, one more rounding

File
    8 bytes little-endian: the header's length with its padding; the header: compact JSON (no spaces) such as
    {"wte.weight":{"dtype":"F32","shape":[50257,80],"data_offsets":[0,16082240]},...}, tensors in the order of shapes(),
    offsets without gaps in the same order, no __metadata__; spaces until its length is a multiple of 8; then the
    tensors, float32 little-endian. config.json is config() in that order: two spaces of indentation, one key a line,
    "key": value, n_inner null, layer_norm_epsilon 1e-05, a newline at the end.

Why these numbers (measured with sensitivity.py, which fails where any of it does not hold)
    Projections: weights so that q and k have an RMS of 1.4 to 1.6 and scores reach 12 to 17, which makes attention
    choose (probabilities from 0 to 1) without one key taking all; c_fc reaches 6.7 to 7.5, so that GELU is seen on both
    sides and where erf and tanh differ most, near 2.3.
    Biases are +-0.125 to 0.375 and gains 0.5 to 1.5: dropping any moves its stage by 130 tolerances or more.
    Embeddings have a deviation of 0.13, as in GPT-2, so that h.0.ln_1 sees another epsilon: 37 tolerances for 1e-6.
    wte's shift and the spike give every LayerNorm a mean to remove.
    As in GPT-2, one channel leaves the others far behind: h.0.mlp.c_proj's bias puts it at 16 (tiny) or 128 (medium),
    the blocks' gains of 1/16 keep it out of their projections, ln_f's gain of 10 makes it 73 or 229 against an RMS of
    7.4 or 6.9 (GPT-2 Medium: 302 against 8), and wte's nearly constant column turns it into a shift of all logits
    together: tiny -44 to -11 with a deviation of 1.9 to 2.6 in a row, medium -52 to -35 with 1.5. 10.097 lies between
    two float16 numbers, and between two bfloat16 ones, or a gain rounded to those would pass.
    ln_f gains of both signs keep a token from predicting itself.
    Seeds: the first found whose greedy continuations vary in every committed case with margins from 0.023 up (float32
    moves the logits by 7e-5 at most).
"""

import argparse
import hashlib
import json
import os
import struct
import sys

import numpy as np

VOCAB = 50257

# name -> sizes, seed and the table of (scale, shift) by tensor
MODELS = {
    "synthetic-tiny": {
        "seed": 99, "n_layer": 3, "n_head": 4, "n_embd": 80, "n_positions": 48, "spike": 53,
        "table": {
            "wte.weight": (0.2, 0.015625), "wpe.weight": (0.125, 0.0),
            "ln_1.weight": (0.5, 1.0), "ln_1.bias": (0.25, 0.0),
            "attn.c_attn.weight": (0.35, 0.0), "attn.c_attn.bias": (0.375, 0.0),
            "attn.c_proj.weight": (0.125, 0.0), "attn.c_proj.bias": (0.125, 0.0),
            "ln_2.weight": (0.5, 1.0), "ln_2.bias": (0.25, 0.0),
            "mlp.c_fc.weight": (0.31, 0.0), "mlp.c_fc.bias": (0.375, 0.0),
            "mlp.c_proj.weight": (0.07, 0.0), "mlp.c_proj.bias": (0.125, 0.0),
            "ln_f.weight": (1.0, 3.0), "ln_f.bias": (0.25, 0.0),
        },
        "wte_spike": (0.0078125, -0.5), "resid_spike": 16.0, "ln_spike": 0.0625, "ln_f_spike": 10.097,
    },
    "synthetic-medium": {
        "seed": 5, "n_layer": 24, "n_head": 16, "n_embd": 1024, "n_positions": 1024, "spike": 909,
        "table": {
            "wte.weight": (0.2, 0.015625), "wpe.weight": (0.125, 0.0),
            "ln_1.weight": (0.5, 1.0), "ln_1.bias": (0.25, 0.0),
            "attn.c_attn.weight": (0.098, 0.0), "attn.c_attn.bias": (0.375, 0.0),
            "attn.c_proj.weight": (0.035, 0.0), "attn.c_proj.bias": (0.125, 0.0),
            "ln_2.weight": (0.5, 1.0), "ln_2.bias": (0.25, 0.0),
            "mlp.c_fc.weight": (0.087, 0.0), "mlp.c_fc.bias": (0.375, 0.0),
            "mlp.c_proj.weight": (0.02, 0.0), "mlp.c_proj.bias": (0.125, 0.0),
            "ln_f.weight": (0.25, 0.5), "ln_f.bias": (0.25, 0.0),
        },
        "wte_spike": (0.001953125, -0.2), "resid_spike": 128.0, "ln_spike": 0.0625, "ln_f_spike": 10.097,
    },
}

# SHA-256 of model.safetensors
PINNED = {
    "synthetic-tiny": "5947dd6366616495d019a07768c058466103a5d6e9a2a0865bd2757f9e4713e8",
    "synthetic-medium": "bb30de32faeb48dc58cabd440c8a13214a1a0509153d2cc721c25a0478d99644",
}

GOLDEN = 0x9E3779B97F4A7C15
MASK64 = (1 << 64) - 1


def config(name):
    """The configuration as a dict, in the order in which config.json has it."""
    m = MODELS[name]
    return {
        "activation_function": "gelu_new",
        "bos_token_id": 50256,
        "eos_token_id": 50256,
        "layer_norm_epsilon": 1e-05,
        "model_type": "gpt2",
        "n_ctx": m["n_positions"],
        "n_embd": m["n_embd"],
        "n_head": m["n_head"],
        "n_inner": None,
        "n_layer": m["n_layer"],
        "n_positions": m["n_positions"],
        "tie_word_embeddings": True,
        "vocab_size": VOCAB,
    }


def config_bytes(name):
    return (json.dumps(config(name), indent=2) + "\n").encode()


def shapes(name):
    """(tensor name, shape) in the order of the file."""
    m = MODELS[name]
    c = m["n_embd"]
    out = [("wte.weight", (VOCAB, c)), ("wpe.weight", (m["n_positions"], c))]
    for n in range(m["n_layer"]):
        out += [
            (f"h.{n}.ln_1.weight", (c,)), (f"h.{n}.ln_1.bias", (c,)),
            (f"h.{n}.attn.c_attn.weight", (c, 3 * c)), (f"h.{n}.attn.c_attn.bias", (3 * c,)),
            (f"h.{n}.attn.c_proj.weight", (c, c)), (f"h.{n}.attn.c_proj.bias", (c,)),
            (f"h.{n}.ln_2.weight", (c,)), (f"h.{n}.ln_2.bias", (c,)),
            (f"h.{n}.mlp.c_fc.weight", (c, 4 * c)), (f"h.{n}.mlp.c_fc.bias", (4 * c,)),
            (f"h.{n}.mlp.c_proj.weight", (4 * c, c)), (f"h.{n}.mlp.c_proj.bias", (c,)),
        ]
    return out + [("ln_f.weight", (c,)), ("ln_f.bias", (c,))]


def fnv1a(text):
    h = 0xCBF29CE484222325
    for b in text.encode():
        h = ((h ^ b) * 0x100000001B3) & MASK64
    return h


def hashes(key, first, count):
    """splitmix64's finaliser of key + (i+1)*GOLDEN for i = first .. first+count-1, as uint64."""
    z = np.arange(first + 1, first + count + 1, dtype=np.uint64)
    z *= np.uint64(GOLDEN)
    z += np.uint64(key)
    z ^= z >> np.uint64(30)
    z *= np.uint64(0xBF58476D1CE4E5B9)
    z ^= z >> np.uint64(27)
    z *= np.uint64(0x94D049BB133111EB)
    z ^= z >> np.uint64(31)
    return z


def tensor(name, tensor_name, shape):
    """One tensor of the model, float32."""
    m = MODELS[name]
    kind = tensor_name.split(".", 2)[2] if tensor_name.startswith("h.") else tensor_name
    scale, shift = (np.float32(v) for v in m["table"][kind])
    key = fnv1a(tensor_name) ^ m["seed"]
    size = int(np.prod(shape))
    out = np.empty(size, np.float32)
    chunk = 1 << 20
    for first in range(0, size, chunk):
        h = hashes(key, first, min(chunk, size - first))
        f = (h >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-23) - np.float32(1)
        v = f * scale + shift
        if kind == "ln_f.weight":
            v = np.where(h & np.uint64(1), -v, v)
        if kind == "wte.weight":
            column = (np.arange(first, first + len(v)) % m["n_embd"]) == m["spike"]
            s, t = (np.float32(x) for x in m["wte_spike"])
            v[column] = f[column] * s + t
        out[first:first + len(v)] = v
    if kind in ("ln_1.weight", "ln_2.weight"):
        out[m["spike"]] *= np.float32(m["ln_spike"])
    if kind == "ln_f.weight":
        out[m["spike"]] = np.float32(m["ln_f_spike"])
    if tensor_name == "h.0.mlp.c_proj.bias":
        out[m["spike"]] += np.float32(m["resid_spike"])
    return out.reshape(shape)


def tensors(name):
    """Yields (tensor name, float32 array) in the order of the file."""
    for tensor_name, shape in shapes(name):
        yield tensor_name, tensor(name, tensor_name, shape)


def header_bytes(name):
    header, offset = {}, 0
    for tensor_name, shape in shapes(name):
        end = offset + 4 * int(np.prod(shape))
        header[tensor_name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def write(name, out):
    """Writes config.json and model.safetensors into the folder; returns the SHA-256 of the latter.

    SystemExit when the bytes are not the pinned ones; then the folder is as it was.
    """
    os.makedirs(out, exist_ok=True)
    path = os.path.join(out, "model.safetensors")
    temp = f"{path}.{os.getpid()}.tmp"
    digest = hashlib.sha256()
    try:
        with open(temp, "wb") as f:
            header = header_bytes(name)
            digest.update(header)
            f.write(header)
            for _, array in tensors(name):
                data = array.astype("<f4", copy=False).data
                digest.update(data)
                f.write(data)
        sha = digest.hexdigest()
        if sha != PINNED[name]:
            raise SystemExit(f"{name}: SHA-256 is {sha}, want {PINNED[name]}: the formula does not give its bytes here")
        with open(os.path.join(out, "config.json"), "wb") as f:
            f.write(config_bytes(name))
        os.replace(temp, path)
    finally:
        if os.path.exists(temp):
            os.remove(temp)
    return sha


def main():
    parser = argparse.ArgumentParser(description="Writes a synthetic model as config.json and model.safetensors.")
    parser.add_argument("name", choices=sorted(MODELS))
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to write into, made if missing")
    args = parser.parse_args()
    print(write(args.name, args.out), " ", os.path.join(args.out, "model.safetensors"))


if __name__ == "__main__":
    sys.exit(main())
