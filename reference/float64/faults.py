"""The catalogue of known faults: each is a variant of one stage, computed from the right inputs of that stage.

    for fault in CATALOGUE:
        if fault.at(stage):
            wrong = fault.run(inputs, stage)      # an array, or None where the fault says nothing (no past, T = 1 ...)

`inputs` is an inputs.Inputs: what the stage reads, from a right run. Dimensions as in gpt2.py.
"""

import fnmatch
import math
from dataclasses import dataclass
from typing import Callable

import numpy as np

from gpt2 import causal, gelu, layer_norm, merge_heads, softmax, split_heads
from rounding import Rounded, bfloat16, float16, tf32

LINEAR = ["h.*.attn.c_attn", "h.*.attn.c_proj", "h.*.mlp.c_fc", "h.*.mlp.c_proj"]
NORM = ["h.*.ln_1", "h.*.ln_2", "ln_f"]
RESIDUAL = ["h.*.resid_mid", "h.*.resid_post"]
CACHE = ["h.*.attn.cache_k", "h.*.attn.cache_v"]
PROBS_T = ["probs_t*"]


@dataclass
class Fault:
    """id, the stages it can sit in (* is any characters), its kind (fault, gelu or precision), words, variant."""

    id: str
    stages: list
    kind: str
    text: str
    run: Callable

    def at(self, stage):
        return any(fnmatch.fnmatchcase(stage, pattern) for pattern in self.stages)


CATALOGUE = []


def fault(id, stages, text, kind="fault"):
    def register(run):
        CATALOGUE.append(Fault(id, stages, kind, text, run))
        return run
    return register


# LayerNorm


def norm(inputs, stage, weights=None, x=None, eps=None):
    m, name = inputs.model, weights or stage
    x = inputs.norm_input(stage) if x is None else x
    return layer_norm(x, m.weight(name + ".weight"), m.weight(name + ".bias"), m.eps if eps is None else eps)


@fault("ln_unbiased", NORM, "the variance is divided by C-1; GPT-2 divides by C")
def ln_unbiased(inputs, stage):
    x, m = inputs.norm_input(stage), inputs.model
    unbiased = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, ddof=1, keepdims=True) + m.eps)
    return unbiased * m.weight(stage + ".weight") + m.weight(stage + ".bias")


fault("ln_eps_1e-6", NORM, "epsilon is 1e-6; config.json says 1e-5")(lambda i, s: norm(i, s, eps=1e-6))
fault("ln_eps_1e-12", NORM, "epsilon is 1e-12; config.json says 1e-5")(lambda i, s: norm(i, s, eps=1e-12))


@fault("ln_mean_kept", NORM, "the mean is not removed before dividing by the deviation")
def ln_mean_kept(inputs, stage):
    x, m = inputs.norm_input(stage), inputs.model
    return x / np.sqrt(x.var(-1, keepdims=True) + m.eps) * m.weight(stage + ".weight") + m.weight(stage + ".bias")


@fault("ln_gain_dropped", NORM, "the result is not multiplied by the weight")
def ln_gain_dropped(inputs, stage):
    m = inputs.model
    return layer_norm(inputs.norm_input(stage), 1.0, m.weight(stage + ".bias"), m.eps)


@fault("ln_bias_dropped", NORM, "the bias is not added")
def ln_bias_dropped(inputs, stage):
    m = inputs.model
    return layer_norm(inputs.norm_input(stage), m.weight(stage + ".weight"), 0.0, m.eps)


@fault("ln2_with_ln1_weights", ["h.*.ln_2"], "ln_2 uses ln_1's weight and bias")
def ln2_with_ln1_weights(inputs, stage):
    return norm(inputs, stage, weights=stage.replace("ln_2", "ln_1"))


@fault("ln2_of_block_input", ["h.*.ln_2"], "ln_2 reads the block's input; it reads resid_mid")
def ln2_of_block_input(inputs, stage):
    return norm(inputs, stage, x=inputs.block_input(stage))


@fault("final_norm_missing", ["ln_f"], "the last block's output is handed on without the final LayerNorm")
def final_norm_missing(inputs, stage):
    return inputs.norm_input(stage)


# positions


def positions(inputs, at):
    table = inputs.model.weight("wpe.weight")
    return table[np.clip(at, 0, len(table) - 1)]


@fault("pos_off_by_one", ["wpe"], "positions begin at P+1; the first is P")
def pos_off_by_one(inputs, stage):
    return positions(inputs, inputs.past + 1 + np.arange(inputs.tokens.shape[1]))


@fault("pos_restarted", ["wpe"], "positions begin at 0 again; they go on from the cache's length")
def pos_restarted(inputs, stage):
    return positions(inputs, np.arange(inputs.tokens.shape[1])) if inputs.past else None


@fault("pos_not_added", ["embed"], "the position embedding is not added")
def pos_not_added(inputs, stage):
    return inputs.stages["wte"]


# projections


@fault("conv1d_transposed", LINEAR, "the weight is read as [out, in]; GPT-2's Conv1D stores [in, out]")
def conv1d_transposed(inputs, stage):
    w = inputs.model.weight(stage + ".weight")
    return inputs.linear_input(stage) @ w.reshape(w.shape[::-1]).T + inputs.model.weight(stage + ".bias")


@fault("bias_dropped", LINEAR, "the bias is not added")
def bias_dropped(inputs, stage):
    return inputs.linear_input(stage) @ inputs.model.weight(stage + ".weight")


QKV = ["h.*.attn.q", "h.*.attn.k", "h.*.attn.v"]


def qkv(inputs, stage, order):
    part = np.split(inputs.of(stage, "attn.c_attn"), 3, -1)[order.index(stage[-1])]
    return split_heads(part, inputs.model.heads)


fault("qkv_order_kqv", QKV, "c_attn is split as k, q, v; the order is q, k, v")(
    lambda i, s: None if s[-1] == "v" else qkv(i, s, "kqv"))
fault("qkv_order_vkq", QKV, "c_attn is split as v, k, q; the order is q, k, v")(
    lambda i, s: None if s[-1] == "k" else qkv(i, s, "vkq"))


@fault("qkv_per_head", QKV, "c_attn is read as [H, 3, D], q, k and v side by side in each head; it is [3, H, D]")
def qkv_per_head(inputs, stage):
    x = inputs.of(stage, "attn.c_attn")
    x = x.reshape(*x.shape[:2], inputs.model.heads, 3, inputs.model.width)
    return x[:, :, :, "qkv".index(stage[-1])].transpose(0, 2, 1, 3)


@fault("heads_interleaved", QKV, "channels are split as [D, H], head fastest; they are [H, D]")
def heads_interleaved(inputs, stage):
    part = np.split(inputs.of(stage, "attn.c_attn"), 3, -1)["qkv".index(stage[-1])]
    b, t, _ = part.shape
    return part.reshape(b, t, inputs.model.width, inputs.model.heads).transpose(0, 3, 1, 2)


# cache


def cache_parts(inputs, stage):
    """(rows before this step [B,H,P,D], this step's rows [B,H,T,D])"""
    new = inputs.of(stage, "attn." + stage[-1])
    return inputs.before.get(stage, new[:, :, :0]), new


@fault("cache_overwritten", CACHE, "new rows are written from position 0; they go after the P rows that are there")
def cache_overwritten(inputs, stage):
    old, new = cache_parts(inputs, stage)
    out = np.concatenate([old, np.zeros_like(new)], 2)
    out[:, :, :new.shape[2]] = new
    return out if inputs.past else None


@fault("cache_stale", CACHE, "this step's rows are not written")
def cache_stale(inputs, stage):
    old, new = cache_parts(inputs, stage)
    return np.concatenate([old, np.zeros_like(new)], 2)


@fault("cache_k_for_v", CACHE, "keys are stored as values, or values as keys")
def cache_k_for_v(inputs, stage):
    return np.concatenate(cache_parts(inputs, stage[:-1] + {"k": "v", "v": "k"}[stage[-1]]), 2)


@fault("cache_shifted", CACHE, "new rows are written one position too early, over the last old one")
def cache_shifted(inputs, stage):
    old, new = cache_parts(inputs, stage)
    return np.concatenate([old[:, :, :-1], new, np.zeros_like(new[:, :, :1])], 2) if inputs.past else None


@fault("cache_rolled", CACHE, "all rows are one position too late")
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


SCORES = ["h.*.attn.scores"]
fault("scale_missing", SCORES, "q.k is not scaled; divide by sqrt(D)")(lambda i, s: scores(i, s, scale=1))
fault("scale_d", SCORES, "q.k is divided by D; divide by sqrt(D)")(lambda i, s: scores(i, s, scale=1 / i.model.width))
fault("scale_c", SCORES, "q.k is divided by sqrt(C); divide by sqrt(D)")(
    lambda i, s: scores(i, s, scale=1 / math.sqrt(i.model.width * i.model.heads)))
fault("mask_missing", SCORES, "no causal mask: query i sees every key; use j <= i")(
    lambda i, s: scores(i, s, mask=True) if i.tokens.shape[1] > 1 else None)
fault("mask_diagonal_hidden", SCORES, "the mask hides the diagonal: use j <= i, not j < i")(
    lambda i, s: scores(i, s, mask=shifted_mask(i, -1)))
fault("mask_one_ahead", SCORES, "the mask lets a query see the next key: use j <= i, not j <= i+1")(
    lambda i, s: scores(i, s, mask=shifted_mask(i, 1)) if i.tokens.shape[1] > 1 else None)
fault("mask_without_past", SCORES, "the mask ignores the P cached keys: use j <= P+i, not j <= i")(
    lambda i, s: scores(i, s, mask=shifted_mask(i, -i.past)) if i.past else None)


@fault("mask_leaking", SCORES, "masked places hold a small negative number; they must be -inf")
def mask_leaking(inputs, stage):
    right = inputs.stages[stage]
    return np.where(np.isinf(right), -10.0, right) if inputs.tokens.shape[1] > 1 else None


PROBS = ["h.*.attn.probs"]


@fault("softmax_axis", PROBS, "softmax runs over the queries; it runs over the keys, the last axis")
def softmax_axis(inputs, stage):
    x = inputs.of(stage, "attn.scores")
    return np.nan_to_num(softmax(x, 2))  # the last column of a T by T block is never wholly masked


@fault("softmax_axis_heads", PROBS, "softmax runs over the heads; it runs over the keys, the last axis")
def softmax_axis_heads(inputs, stage):
    x = inputs.of(stage, "attn.scores")
    return np.where(np.isinf(x), 0, softmax(np.where(np.isinf(x), 0, x), 1))


@fault("heads_not_merged", ["h.*.attn.context"],
       "[B,H,T,D] is reshaped to [B,T,C] without moving heads behind positions")
def heads_not_merged(inputs, stage):
    x = inputs.of(stage, "attn.probs") @ inputs.of(stage, "attn.cache_v")
    return x.reshape(x.shape[0], x.shape[2], -1) if x.shape[2] > 1 else None


# residual and feed-forward


@fault("resid_missing", RESIDUAL, "the stream is not added to the branch")
def resid_missing(inputs, stage):
    return inputs.residual_inputs(stage)[1]


@fault("resid_from_normed", RESIDUAL,
       "the branch is added to the LayerNorm's output; add it to the stream before the norm")
def resid_from_normed(inputs, stage):
    return inputs.of(stage, "ln_1" if stage.endswith("resid_mid") else "ln_2") + inputs.residual_inputs(stage)[1]


@fault("resid_of_block_input", ["h.*.resid_post"], "mlp.c_proj is added to the block's input; add it to resid_mid")
def resid_of_block_input(inputs, stage):
    return inputs.block_input(stage) + inputs.of(stage, "mlp.c_proj")


ACT = ["h.*.mlp.act"]


@fault("gelu_erf", ACT, "GELU in its erf form; GPT-2 uses the tanh form, gelu_new", kind="gelu")
def gelu_erf(inputs, stage):
    x = inputs.of(stage, "mlp.c_fc")
    return x * 0.5 * (1 + np.vectorize(math.erf, otypes=[x.dtype])(x / math.sqrt(2)))


fault("gelu_relu", ACT, "ReLU for GELU")(lambda i, s: np.maximum(i.of(s, "mlp.c_fc"), 0))
fault("gelu_sigmoid", ACT, "GELU as x * sigmoid(1.702 x); GPT-2 uses the tanh form, gelu_new")(
    lambda i, s: i.of(s, "mlp.c_fc") / (1 + np.exp(-1.702 * i.of(s, "mlp.c_fc"))))


# head and choice

fault("head_untied", ["logits"], "the head is a matrix of its own left at zero; it is wte, transposed")(
    lambda i, s: np.zeros_like(i.stages["logits"]))
fault("head_shifted", ["logits"], "logits are one id too late")(lambda i, s: np.roll(i.stages["logits"], 1, -1))


@fault("head_transposed", ["logits"], "wte's numbers are read as [C, V]; they are [V, C]")
def head_transposed(inputs, stage):
    w = inputs.model.head().T
    return inputs.stages["ln_f"] @ w.reshape(w.shape[::-1])


fault("position_before_last", ["logits_last"], "the last but one position is selected")(
    lambda i, s: i.stages["logits"][:, -2] if i.tokens.shape[1] > 1 else None)
fault("position_first", ["logits_last"], "the first position is selected")(
    lambda i, s: i.stages["logits"][:, 0] if i.tokens.shape[1] > 1 else None)
fault("argmin", ["next_token"], "the lowest logit is chosen")(lambda i, s: i.stages["logits_last"].argmin(-1))


@fault("tie_rule", ["next_token"], "the highest id wins a tie; the lowest does")
def tie_rule(inputs, stage):
    x = inputs.stages["logits_last"]
    return x.shape[-1] - 1 - x[:, ::-1].argmax(-1)


fault("temperature_inverted", PROBS_T, "logits are multiplied by the temperature; divide")(
    lambda i, s: softmax(i.stages["logits_last"] * float(s.removeprefix("probs_t"))))
fault("temperature_ignored", PROBS_T, "logits are not divided by the temperature")(
    lambda i, s: softmax(i.stages["logits_last"]))


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


WEIGHTED = ["wte", "wpe", *NORM, *LINEAR, "logits"]
MATMUL = [*LINEAR, "h.*.attn.scores", "h.*.attn.context", "logits"]
EVERY = [*WEIGHTED, "embed", *QKV, *CACHE, *SCORES, *PROBS, "h.*.attn.context", *RESIDUAL, *ACT, "logits_last",
         *PROBS_T]

for _name, _round in (("float16", float16), ("bfloat16", bfloat16)):
    fault(f"{_name}_weights", WEIGHTED, f"the weights went through {_name}", kind="precision")(
        lambda i, s, r=_round: right(i, s, model=Rounded(i.model, r)))
    fault(f"{_name}_activations", EVERY, f"the stage reads and writes {_name}", kind="precision")(
        lambda i, s, r=_round: r(right(i, s, round=r)))
fault("tf32", MATMUL, "the matrix product reads its operands with 10 bits of mantissa (TF32)", kind="precision")(
    lambda i, s: right(i, s, model=Rounded(i.model, tf32) if "c_" in s or s == "logits" else None, round=tf32))
