"""A plain GPT-2 forward pass in numpy, float64 unless told otherwise: the engine that is nearest to the truth.

Every stage is handed to tap(stage, array) in execution order. Dimensions: B batch, T new positions,
P positions already in the cache, S = P+T, C n_embd, H n_head, D = C/H, F n_inner, V vocab_size.

    model = load("DIR")
    cache = model.new_cache(batch=1)
    next_ids = model.step([[15496, 13]], cache, tap=lambda stage, array: print(stage, array.shape))
"""

import math
import os
import sys

import numpy as np

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import contract  # noqa: E402

DTYPES = {"F32": "<f4", "F16": "<f2", "BF16": "<u2"}


def load(folder, **options):
    """The GPT2 of a folder in Hugging Face layout; Refused if it is none. Options are GPT2's."""
    config = contract.read_config(folder)
    weights = {name: read(weight) for name, weight in contract.find_weights(folder, config).items()}
    return GPT2(config, weights, **options)


def read(weight):
    """A float32 array; mapped, not read, where the file has float32."""
    a = np.memmap(weight.path, DTYPES[weight.dtype], "r", weight.offset, weight.shape)
    if weight.dtype == "BF16":
        return (a.astype("<u4") << 16).view("<f4")
    return a.astype("<f4") if weight.dtype == "F16" else a


def layer_norm(x, weight, bias, eps):
    """(x - mean) / sqrt(var + eps) * weight + bias over the last axis, biased variance."""
    centred = x - x.mean(-1, keepdims=True)
    variance = (centred * centred).mean(-1, keepdims=True)
    return centred / np.sqrt(variance + x.dtype.type(eps)) * weight + bias


def gelu(x):
    """gelu_new, the tanh form that GPT-2 was trained with."""
    t = x.dtype.type
    return t(0.5) * x * (t(1) + np.tanh(t(math.sqrt(2 / math.pi)) * (x + t(0.044715) * (x * x * x))))


def erfc(x):
    return np.vectorize(math.erfc, otypes=[x.dtype])(x)


def gelu_erf(x):
    return x / 2 * erfc(x / -math.sqrt(2))


def softplus(x):
    """log(1 + exp(x))"""
    return np.logaddexp(x, x.dtype.type(0))


def sigmoid(x):
    """1 / (1 + exp(-x))"""
    return np.exp(-softplus(-x))


# By contract.ACTIVATIONS' names; laplace has as many digits as Hugging Face has.
ACTIVATIONS = {
    "gelu_new": gelu,
    "gelu": gelu_erf,
    "gelu_10": lambda x: np.minimum(gelu_erf(x), 10),
    "quick_gelu": lambda x: x * sigmoid(1.702 * x),
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * np.tanh(softplus(x)),
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "relu2": lambda x: np.maximum(x, 0) ** 2,
    "leaky_relu": lambda x: np.maximum(x, 0.01 * x),
    "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    "tanh": np.tanh,
    "sigmoid": sigmoid,
    "laplace": lambda x: erfc((0.707107 - x) / (0.282095 * math.sqrt(2))) / 2,
    "sqrtsoftplus": lambda x: np.sqrt(softplus(x)),
    "linear": lambda x: x,
}


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
    """GPT-2 with the sizes of a contract.Config, on weights by name, without transformer.

    matmul(a, b) may be replaced, for another order of summation."""

    def __init__(self, config, weights, dtype=np.float64, matmul=np.matmul):
        self.config, self.weights, self.dtype, self.matmul = config, weights, np.dtype(dtype), matmul
        self.layers, self.heads, self.width, self.eps = config.layers, config.heads, config.head_dim, config.eps

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

    def unembed(self, x):
        """[B,T,C] -> [B,T,V]; GPT-2 as released has no bias there."""
        logits = self.matmul(x, self.head())
        return logits + self.weight("lm_head.bias") if "lm_head.bias" in self.weights else logits

    def step(self, tokens, cache, tap=None, temperatures=(0.5, 1, 2), all_logits=True):
        """Feeds tokens [B,T] at the positions after the cache, which grows; returns the next ids, int64 [B].

        all_logits=False leaves stage `logits` out and computes the last position's alone.
        """
        tap = tap or (lambda stage, array: None)
        tokens = np.asarray(tokens, np.int64)
        if tokens.ndim != 2 or tokens.size == 0:
            raise ValueError(f"tokens have shape {tokens.shape}, want [batch, positions], not empty")
        past, t = cache.length, tokens.shape[1]
        if past + t > self.config.positions:
            raise ValueError(f"{past} + {t} positions, n_positions is {self.config.positions}")
        if tokens.min() < 0 or tokens.max() >= self.config.vocab:
            raise ValueError(f"a token id is outside 0..{self.config.vocab - 1}")

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
            logits = put("logits", self.unembed(x))  # B,T,V
        else:
            logits = self.unembed(x[:, -1:])  # B,1,V
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
        scores = self.matmul(q, keys.swapaxes(2, 3)) / self.dtype.type(self.config.divisor(n))
        scores = np.where(causal(q.shape[2], keys.shape[2]), scores, self.dtype.type(-np.inf))
        put(a + "scores", scores)  # B,H,T,S
        probs = put(a + "probs", softmax(scores))  # B,H,T,S
        context = put(a + "context", merge_heads(self.matmul(probs, values)))  # B,T,C
        x = put(f"h.{n}.resid_mid", x + put(a + "c_proj", self.linear(a + "c_proj", context)))  # B,T,C
        normed = put(f"h.{n}.ln_2", self.norm(f"h.{n}.ln_2", x))  # B,T,C
        up = put(f"h.{n}.mlp.c_fc", self.linear(f"h.{n}.mlp.c_fc", normed))  # B,T,F
        act = put(f"h.{n}.mlp.act", ACTIVATIONS[self.config.activation](up))  # B,T,F
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
