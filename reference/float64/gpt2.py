"""A plain GPT-2 forward pass in numpy, float64 unless told otherwise: the yardstick.

Every stage is handed to tap(stage, array) in execution order. Dimensions: B batch, T new positions,
P positions already in the cache, S = P+T, C n_embd, H n_head, D = C/H, F n_inner, V vocab_size.

    config, weights = load("DIR")
    model = GPT2(config, weights)
    cache = model.new_cache(batch=1)
    next_ids = model.step([[15496, 13]], cache, tap=lambda stage, array: print(stage, array.shape))
"""

import json
import math
import os
import re
import struct

import numpy as np

DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2", "F64": "<f8"}
MASK_BUFFER = re.compile(r"h\.\d+\.attn\.(bias|masked_bias)$")  # causal masks, not weights


def read_safetensors(path):
    """name -> float32 (float64 if stored so) array of one file; float32 arrays are mapped, not read."""
    size = os.path.getsize(path)
    with open(path, "rb") as f:
        head = f.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if length > size - 8:
            raise ValueError(f"{path}: not a safetensors file: its header would be {length} bytes long")
        header = json.loads(f.read(length))
    out = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        key = name.removeprefix("transformer.")
        if MASK_BUFFER.match(key):
            continue
        if entry["dtype"] not in DTYPES:
            raise ValueError(f"{path}: {name}: dtype {entry['dtype']}, want one of {', '.join(DTYPES)}")
        if key in out:
            raise ValueError(f"{path}: {key}: there twice, with and without the transformer. prefix")
        first, end = entry["data_offsets"]
        dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"])
        if end - first != dtype.itemsize * math.prod(shape) or 8 + length + end > size:
            raise ValueError(f"{path}: {name}: shape {shape} does not fit its {end - first} bytes")
        a = np.memmap(path, dtype, "r", 8 + length + first, shape)
        if entry["dtype"] == "BF16":
            a = (a.astype("<u4") << 16).view("<f4")
        elif entry["dtype"] == "F16":
            a = a.astype("<f4")
        out[key] = a
    return out


def load(folder):
    """(config dict, weights dict) of a folder in Hugging Face layout, names without `transformer.`."""
    with open(os.path.join(folder, "config.json")) as f:
        config = json.load(f)
    index = os.path.join(folder, "model.safetensors.index.json")
    files = ["model.safetensors"]
    if not os.path.exists(os.path.join(folder, files[0])) and os.path.exists(index):
        with open(index) as f:
            files = sorted(set(json.load(f)["weight_map"].values()))
    weights = {}
    for file in files:
        weights.update(read_safetensors(os.path.join(folder, file)))
    check(config, weights, folder)
    return config, weights


def check(config, weights, where):
    """Raises ValueError when a weight is missing or has another shape than the configuration says."""
    c, v = config["n_embd"], config["vocab_size"]
    f = config.get("n_inner") or 4 * c
    want = {"wte.weight": (v, c), "wpe.weight": (config["n_positions"], c), "ln_f.weight": (c,), "ln_f.bias": (c,)}
    for n in range(config["n_layer"]):
        for name, shape in {"ln_1.weight": (c,), "ln_1.bias": (c,), "ln_2.weight": (c,), "ln_2.bias": (c,),
                            "attn.c_attn.weight": (c, 3 * c), "attn.c_attn.bias": (3 * c,),
                            "attn.c_proj.weight": (c, c), "attn.c_proj.bias": (c,),
                            "mlp.c_fc.weight": (c, f), "mlp.c_fc.bias": (f,),
                            "mlp.c_proj.weight": (f, c), "mlp.c_proj.bias": (c,)}.items():
            want[f"h.{n}.{name}"] = shape
    for name, shape in want.items():
        if name not in weights:
            raise ValueError(f"{where}: weight {name} is missing")
        if weights[name].shape != shape:
            raise ValueError(f"{where}: weight {name} has shape {weights[name].shape}, want {shape}")
    if config.get("activation_function", "gelu_new") != "gelu_new":
        raise ValueError(f"{where}: activation_function {config['activation_function']!r}, want 'gelu_new'")


def layer_norm(x, weight, bias, eps):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis, biased variance."""
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + x.dtype.type(eps)) * weight + bias


def gelu(x):
    """gelu_new, the tanh form that GPT-2 was trained with."""
    t = x.dtype.type
    return t(0.5) * x * (t(1) + np.tanh(t(math.sqrt(2 / math.pi)) * (x + t(0.044715) * (x * x * x))))


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def split_heads(x, heads):
    """[B,T,C] -> [B,H,T,D]"""
    b, t, c = x.shape
    return x.reshape(b, t, heads, c // heads).transpose(0, 2, 1, 3)


def merge_heads(x):
    """[B,H,T,D] -> [B,T,C]"""
    b, h, t, d = x.shape
    return x.transpose(0, 2, 1, 3).reshape(b, t, h * d)


def causal(t, s):
    """[T,S], true where query i (at position S-T+i) may see key j: j <= S-T+i."""
    return np.arange(s)[None, :] <= np.arange(s - t, s)[:, None]


class Cache:
    """Keys and values of all positions so far: k[n], v[n] of layer n are [B,H,P,D]."""

    def __init__(self, layers, batch, heads, width, dtype):
        self.k = [np.zeros((batch, heads, 0, width), dtype) for _ in range(layers)]
        self.v = [np.zeros((batch, heads, 0, width), dtype) for _ in range(layers)]

    @property
    def length(self):
        return self.k[0].shape[2]


class GPT2:
    """GPT-2 on weights as load() gives them. matmul(a, b) may be replaced, for another order of summation."""

    def __init__(self, config, weights, dtype=np.float64, matmul=np.matmul):
        self.config, self.weights, self.dtype, self.matmul = config, weights, np.dtype(dtype), matmul
        self.layers, self.heads = config["n_layer"], config["n_head"]
        self.width = config["n_embd"] // self.heads
        self.eps = config.get("layer_norm_epsilon", 1e-5)

    def weight(self, name):
        """A weight in the model's dtype, converted when asked for: Medium in float64 need not fit in memory twice."""
        return np.asarray(self.weights[name]).astype(self.dtype, copy=False)

    def new_cache(self, batch=1):
        return Cache(self.layers, batch, self.heads, self.width, self.dtype)

    def linear(self, name, x):
        return self.matmul(x, self.weight(name + ".weight")) + self.weight(name + ".bias")

    def norm(self, name, x):
        return layer_norm(x, self.weight(name + ".weight"), self.weight(name + ".bias"), self.eps)

    def head(self):
        """[C,V]"""
        return self.weight("lm_head.weight" if "lm_head.weight" in self.weights else "wte.weight").T

    def step(self, tokens, cache, tap=None, temperatures=(0.5, 1, 2), all_logits=True):
        """Feeds tokens [B,T] at the positions after the cache, which grows; returns the next ids, int64 [B].

        all_logits=False leaves stage `logits` out and computes the last position's alone.
        """
        tap = tap or (lambda stage, array: None)
        tokens = np.asarray(tokens, np.int64)
        if tokens.ndim != 2 or tokens.size == 0:
            raise ValueError(f"tokens have shape {tokens.shape}, want [batch, positions], not empty")
        past, t = cache.length, tokens.shape[1]
        if past + t > self.config["n_positions"]:
            raise ValueError(f"{past} + {t} positions, n_positions is {self.config['n_positions']}")
        if tokens.min() < 0 or tokens.max() >= self.config["vocab_size"]:
            raise ValueError(f"a token id is outside 0..{self.config['vocab_size'] - 1}")

        def put(stage, array):
            tap(stage, array)
            return array

        wte = put("wte", np.asarray(self.weights["wte.weight"][tokens]).astype(self.dtype))  # B,T,C
        wpe = put("wpe", np.asarray(self.weights["wpe.weight"][past:past + t]).astype(self.dtype))  # T,C
        x = put("embed", wte + wpe)  # B,T,C
        for n in range(self.layers):
            x = self.block(n, x, cache, put)  # B,T,C
        x = put("ln_f", self.norm("ln_f", x))  # B,T,C
        if all_logits:
            logits = put("logits", self.matmul(x, self.head()))  # B,T,V
        else:
            logits = self.matmul(x[:, -1:], self.head())  # B,1,V
        last = put("logits_last", logits[:, -1])  # B,V
        chosen = put("next_token", last.argmax(-1).astype(np.int64))  # B; numpy's argmax is the lowest index
        for temperature in temperatures:
            put(f"probs_t{temperature:g}", softmax(last / self.dtype.type(temperature)))  # B,V
        return chosen

    def block(self, n, x, cache, put):
        a = f"h.{n}.attn."
        normed = put(f"h.{n}.ln_1", self.norm(f"h.{n}.ln_1", x))  # B,T,C
        qkv = put(a + "c_attn", self.linear(a + "c_attn", normed))  # B,T,3C
        q, k, v = (put(a + s, split_heads(part, self.heads)) for s, part in zip("qkv", np.split(qkv, 3, -1)))  # B,H,T,D
        keys = cache.k[n] = put(a + "cache_k", np.concatenate([cache.k[n], k], 2))  # B,H,S,D
        values = cache.v[n] = put(a + "cache_v", np.concatenate([cache.v[n], v], 2))  # B,H,S,D
        scores = self.matmul(q, keys.swapaxes(2, 3)) / self.dtype.type(math.sqrt(self.width))
        scores = np.where(causal(q.shape[2], keys.shape[2]), scores, self.dtype.type(-np.inf))
        put(a + "scores", scores)  # B,H,T,S
        probs = put(a + "probs", softmax(scores))  # B,H,T,S
        context = put(a + "context", merge_heads(self.matmul(probs, values)))  # B,T,C
        x = put(f"h.{n}.resid_mid", x + put(a + "c_proj", self.linear(a + "c_proj", context)))  # B,T,C
        normed = put(f"h.{n}.ln_2", self.norm(f"h.{n}.ln_2", x))  # B,T,C
        up = put(f"h.{n}.mlp.c_fc", self.linear(f"h.{n}.mlp.c_fc", normed))  # B,T,F
        act = put(f"h.{n}.mlp.act", gelu(up))  # B,T,F
        return put(f"h.{n}.resid_post", x + put(f"h.{n}.mlp.c_proj", self.linear(f"h.{n}.mlp.c_proj", act)))  # B,T,C


def greedy(model, prompt, new, tap=None, temperatures=(0.5, 1, 2), feed=None):
    """Runs prompt [B,L] and `new` steps; tap(step, stage, array). Returns tokens [B, L+new].

    feed, [B, new-1], replaces the model's own choices in what the decode steps are fed and in the result.
    """
    tokens = np.asarray(prompt, np.int64)
    cache, fed = model.new_cache(tokens.shape[0]), tokens
    for k in range(new):
        chosen = model.step(fed, cache, tap and (lambda stage, array, k=k: tap(k, stage, array)), temperatures)
        if feed is not None and k < new - 1:
            chosen = np.asarray(feed, np.int64)[:, k]
        fed = chosen[:, None]
        tokens = np.concatenate([tokens, fed], 1)
    return tokens
