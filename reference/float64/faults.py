"""The known faults: each is a variant of one stage, computed from the correct inputs of that stage.

    for fault in CATALOGUE:
        if fault.at(stage):
            wrong = fault.run(inputs, stage)      # an array, or None where the fault changes nothing (no past, T = 1 ...)

`inputs` is an inputs.Inputs: the stages of a correct run. Dimensions as in gpt2.py. The faults themselves, with
the stages that each can sit in, are in harness/gpt2/faults/catalogue.json; Go has variants of its own.
"""

import fnmatch
import json
import math
import os
from dataclasses import dataclass
from typing import Callable

import numpy as np

from gpt2 import causal, gelu, layer_norm, merge_heads, softmax, split_heads
from rounding import Rounded, bfloat16, float16, tf32

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VARIANTS = {}  # id -> function of inputs and stage


@dataclass
class Fault:
    """An entry of catalogue.json, its stages as patterns (* is any characters), with its variant."""

    id: str
    kind: str  # fault, gelu or precision
    stages: list
    text: str
    run: Callable

    def at(self, stage):
        return any(fnmatch.fnmatchcase(stage, pattern) for pattern in self.stages)


def variant(run):
    """Registers a function as the variant of the fault of its name."""
    VARIANTS[run.__name__] = run
    return run


# LayerNorm


def norm(inputs, stage, weights=None, x=None, eps=None):
    m, name = inputs.model, weights or stage
    x = inputs.norm_input(stage) if x is None else x
    return layer_norm(x, m.weight(name + ".weight"), m.weight(name + ".bias"), m.eps if eps is None else eps)


@variant
def ln_unbiased(inputs, stage):
    x, m = inputs.norm_input(stage), inputs.model
    unbiased = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, ddof=1, keepdims=True) + m.eps)
    return unbiased * m.weight(stage + ".weight") + m.weight(stage + ".bias")


VARIANTS["ln_eps_1e-6"] = lambda i, s: norm(i, s, eps=1e-6)
VARIANTS["ln_eps_1e-12"] = lambda i, s: norm(i, s, eps=1e-12)


@variant
def ln_mean_kept(inputs, stage):
    x, m = inputs.norm_input(stage), inputs.model
    return x / np.sqrt(x.var(-1, keepdims=True) + m.eps) * m.weight(stage + ".weight") + m.weight(stage + ".bias")


@variant
def ln_gain_dropped(inputs, stage):
    m = inputs.model
    return layer_norm(inputs.norm_input(stage), 1.0, m.weight(stage + ".bias"), m.eps)


@variant
def ln_bias_dropped(inputs, stage):
    m = inputs.model
    return layer_norm(inputs.norm_input(stage), m.weight(stage + ".weight"), 0.0, m.eps)


@variant
def ln2_with_ln1_weights(inputs, stage):
    return norm(inputs, stage, weights=stage.replace("ln_2", "ln_1"))


@variant
def ln2_of_block_input(inputs, stage):
    return norm(inputs, stage, x=inputs.block_input(stage))


@variant
def final_norm_missing(inputs, stage):
    return inputs.norm_input(stage)


# positions


def positions(inputs, at):
    table = inputs.model.weight("wpe.weight")
    return table[np.clip(at, 0, len(table) - 1)]


@variant
def pos_off_by_one(inputs, stage):
    return positions(inputs, inputs.past + 1 + np.arange(inputs.tokens.shape[1]))


@variant
def pos_restarted(inputs, stage):
    return positions(inputs, np.arange(inputs.tokens.shape[1])) if inputs.past else None


@variant
def pos_not_added(inputs, stage):
    return inputs.stages["wte"]


# projections


@variant
def conv1d_transposed(inputs, stage):
    w = inputs.model.weight(stage + ".weight")
    return inputs.linear_input(stage) @ w.reshape(w.shape[::-1]).T + inputs.model.weight(stage + ".bias")


@variant
def bias_dropped(inputs, stage):
    return inputs.linear_input(stage) @ inputs.model.weight(stage + ".weight")


def qkv(inputs, stage, order):
    part = np.split(inputs.of(stage, "attn.c_attn"), 3, -1)[order.index(stage[-1])]
    return split_heads(part, inputs.model.heads)


VARIANTS["qkv_order_kqv"] = lambda i, s: None if s[-1] == "v" else qkv(i, s, "kqv")
VARIANTS["qkv_order_vkq"] = lambda i, s: None if s[-1] == "k" else qkv(i, s, "vkq")


@variant
def qkv_per_head(inputs, stage):
    x = inputs.of(stage, "attn.c_attn")
    x = x.reshape(*x.shape[:2], inputs.model.heads, 3, inputs.model.width)
    return x[:, :, :, "qkv".index(stage[-1])].transpose(0, 2, 1, 3)


@variant
def heads_interleaved(inputs, stage):
    part = np.split(inputs.of(stage, "attn.c_attn"), 3, -1)["qkv".index(stage[-1])]
    b, t, _ = part.shape
    return part.reshape(b, t, inputs.model.width, inputs.model.heads).transpose(0, 3, 1, 2)


# cache


def cache_parts(inputs, stage):
    """(rows before this step [B,H,P,D], this step's rows [B,H,T,D])"""
    new = inputs.of(stage, "attn." + stage[-1])
    return inputs.before.get(stage, new[:, :, :0]), new


@variant
def cache_overwritten(inputs, stage):
    old, new = cache_parts(inputs, stage)
    out = np.concatenate([old, np.zeros_like(new)], 2)
    out[:, :, :new.shape[2]] = new
    return out if inputs.past else None


@variant
def cache_stale(inputs, stage):
    old, new = cache_parts(inputs, stage)
    return np.concatenate([old, np.zeros_like(new)], 2)


@variant
def cache_k_for_v(inputs, stage):
    return np.concatenate(cache_parts(inputs, stage[:-1] + {"k": "v", "v": "k"}[stage[-1]]), 2)


@variant
def cache_shifted(inputs, stage):
    old, new = cache_parts(inputs, stage)
    return np.concatenate([old[:, :, :-1], new, np.zeros_like(new[:, :, :1])], 2) if inputs.past else None


@variant
def cache_rolled(inputs, stage):
    out = np.roll(inputs.stages[stage], 1, 2)
    return out if out.shape[2] > 1 else None


# attention


def scores(inputs, stage, scale=None, mask=None):
    q, k = inputs.of(stage, "attn.q"), inputs.of(stage, "attn.cache_k")
    scale = 1 / math.sqrt(inputs.model.width) if scale is None else scale
    mask = causal(q.shape[2], k.shape[2]) if mask is None else mask
    return np.where(mask, q @ k.swapaxes(2, 3) * scale, -np.inf)


def shifted_mask(inputs, by):
    t, s = inputs.tokens.shape[1], inputs.past + inputs.tokens.shape[1]
    return np.arange(s)[None, :] <= np.arange(s - t, s)[:, None] + by


VARIANTS |= {
    "scale_missing": lambda i, s: scores(i, s, scale=1),
    "scale_d": lambda i, s: scores(i, s, scale=1 / i.model.width),
    "scale_c": lambda i, s: scores(i, s, scale=1 / math.sqrt(i.model.width * i.model.heads)),
    "mask_missing": lambda i, s: scores(i, s, mask=True) if i.tokens.shape[1] > 1 else None,
    "mask_diagonal_hidden": lambda i, s: scores(i, s, mask=shifted_mask(i, -1)),
    "mask_one_ahead": lambda i, s: scores(i, s, mask=shifted_mask(i, 1)) if i.tokens.shape[1] > 1 else None,
    "mask_without_past": lambda i, s: scores(i, s, mask=shifted_mask(i, -i.past)) if i.past else None,
}


@variant
def mask_leaking(inputs, stage):
    right = inputs.stages[stage]
    return np.where(np.isinf(right), -10.0, right) if inputs.tokens.shape[1] > 1 else None


@variant
def softmax_axis(inputs, stage):
    x = inputs.of(stage, "attn.scores")
    return np.nan_to_num(softmax(x, 2))  # the last column of a T by T block is never wholly masked


@variant
def softmax_axis_heads(inputs, stage):
    x = inputs.of(stage, "attn.scores")
    return np.where(np.isinf(x), 0, softmax(np.where(np.isinf(x), 0, x), 1))


@variant
def heads_not_merged(inputs, stage):
    x = inputs.of(stage, "attn.probs") @ inputs.of(stage, "attn.cache_v")
    return x.reshape(x.shape[0], x.shape[2], -1) if x.shape[2] > 1 else None


# residual and feed-forward


@variant
def resid_missing(inputs, stage):
    return inputs.residual_inputs(stage)[1]


@variant
def resid_from_normed(inputs, stage):
    return inputs.of(stage, "ln_1" if stage.endswith("resid_mid") else "ln_2") + inputs.residual_inputs(stage)[1]


@variant
def resid_of_block_input(inputs, stage):
    return inputs.block_input(stage) + inputs.of(stage, "mlp.c_proj")


@variant
def gelu_erf(inputs, stage):
    x = inputs.of(stage, "mlp.c_fc")
    return x * 0.5 * (1 + np.vectorize(math.erf, otypes=[x.dtype])(x / math.sqrt(2)))


VARIANTS["gelu_relu"] = lambda i, s: np.maximum(i.of(s, "mlp.c_fc"), 0)
VARIANTS["gelu_sigmoid"] = lambda i, s: i.of(s, "mlp.c_fc") / (1 + np.exp(-1.702 * i.of(s, "mlp.c_fc")))


# head and choice


VARIANTS["head_untied"] = lambda i, s: np.zeros_like(i.stages["logits"])
VARIANTS["head_shifted"] = lambda i, s: np.roll(i.stages["logits"], 1, -1)


@variant
def head_transposed(inputs, stage):
    w = inputs.model.head().T
    return inputs.stages["ln_f"] @ w.reshape(w.shape[::-1])


VARIANTS |= {
    "position_before_last": lambda i, s: i.stages["logits"][:, -2] if i.tokens.shape[1] > 1 else None,
    "position_first": lambda i, s: i.stages["logits"][:, 0] if i.tokens.shape[1] > 1 else None,
    "argmin": lambda i, s: i.stages["logits_last"].argmin(-1),
}


@variant
def tie_rule(inputs, stage):
    x = inputs.stages["logits_last"]
    return x.shape[-1] - 1 - x[:, ::-1].argmax(-1)


VARIANTS["temperature_inverted"] = lambda i, s: softmax(i.stages["logits_last"] * float(s.removeprefix("probs_t")))
VARIANTS["temperature_ignored"] = lambda i, s: softmax(i.stages["logits_last"])


# precision: tensors that went through fewer bits on the way


def right(inputs, stage, model=None, round=lambda x: x):
    """The stage's own function on inputs that went through `round`, with the weights of `model`."""
    m, word = model or inputs.model, stage.split(".")[-1]
    if stage == "wte":
        return m.weight("wte.weight")[inputs.tokens]
    if stage == "wpe":
        return m.weight("wpe.weight")[inputs.past:inputs.past + inputs.tokens.shape[1]]
    if stage == "embed":
        return round(inputs.stages["wte"]) + round(inputs.stages["wpe"])
    if word.startswith("ln_"):
        x = round(inputs.norm_input(stage))
        return layer_norm(x, m.weight(stage + ".weight"), m.weight(stage + ".bias"), m.eps)
    if word in ("c_attn", "c_fc", "c_proj"):
        return round(inputs.linear_input(stage)) @ m.weight(stage + ".weight") + m.weight(stage + ".bias")
    if word in ("q", "k", "v"):
        return qkv(inputs, stage, "qkv")
    if word.startswith("cache_"):
        return np.concatenate(cache_parts(inputs, stage), 2)
    if word == "scores":
        q, k = round(inputs.of(stage, "attn.q")), round(inputs.of(stage, "attn.cache_k"))
        return np.where(causal(q.shape[2], k.shape[2]), q @ k.swapaxes(2, 3) / math.sqrt(m.width), -np.inf)
    if word == "probs":
        return softmax(round(inputs.of(stage, "attn.scores")))
    if word == "context":
        return merge_heads(round(inputs.of(stage, "attn.probs")) @ round(inputs.of(stage, "attn.cache_v")))
    if word.startswith("resid_"):
        return sum(round(x) for x in inputs.residual_inputs(stage))
    if word == "act":
        return gelu(round(inputs.of(stage, "mlp.c_fc")))
    if stage == "logits":
        return round(inputs.stages["ln_f"]) @ m.head()
    if stage == "logits_last":
        return inputs.stages["logits"][:, -1]
    if stage.startswith("probs_t"):
        return softmax(round(inputs.stages["logits_last"]) / float(stage.removeprefix("probs_t")))
    raise KeyError(stage)


for _name, _round in (("float16", float16), ("bfloat16", bfloat16)):
    VARIANTS[f"{_name}_weights"] = lambda i, s, r=_round: right(i, s, model=Rounded(i.model, r))
    VARIANTS[f"{_name}_activations"] = lambda i, s, r=_round: r(right(i, s, round=r))
VARIANTS["tf32"] = lambda i, s: right(i, s, model=Rounded(i.model, tf32) if "c_" in s or s == "logits" else None, round=tf32)

with open(os.path.join(ROOT, "harness", "gpt2", "faults", "catalogue.json"), encoding="utf-8") as _f:
    _listed = json.load(_f)
IDENTITIES = _listed["identities"]  # patterns of faults and stages where a fault moves nothing that a bound can see, and why
CATALOGUE = [Fault(**entry, run=VARIANTS[entry["id"]]) for entry in _listed["faults"]]
