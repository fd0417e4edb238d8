"""GPT-2 in numpy that dumps its stages as it goes: an engine to try checkpoint12 with, and to copy `save` from.

  python3 scripts/engines/engine_numpy.py MODEL TOKENS.npy OUT [NEW [MASK.npy]]
"""

import json
import pathlib
import sys

import numpy as np


def save(out, step, stage, array):
    folder = pathlib.Path(out, f"step_{step:02d}")
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / f"{stage}.npy", np.ascontiguousarray(array, dtype="<f4"))


model, tokens, out = pathlib.Path(sys.argv[1]), np.load(sys.argv[2]), sys.argv[3]
new = int(sys.argv[4]) if len(sys.argv) > 4 else 10        # tokens to choose, the last of which is never fed
mask = np.load(sys.argv[5]) if len(sys.argv) > 5 else np.ones_like(tokens)  # [B, N]: 0 where the token is padding
position = np.maximum(mask.cumsum(1) - 1, 0)               # padding has none of its own
B = len(tokens)
config = json.loads((model / "config.json").read_text())
C, H, L, eps = (config[key] for key in ("n_embd", "n_head", "n_layer", "layer_norm_epsilon"))
D = C // H

raw = memoryview((model / "model.safetensors").read_bytes())
begin = 8 + int.from_bytes(raw[:8], "little")
W = {name: np.frombuffer(raw[begin:][slice(*t["data_offsets"])], "<f4").reshape(t["shape"])
     for name, t in json.loads(bytes(raw[8:begin])).items()}


def norm(x, name):
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * W[name + ".weight"] + W[name + ".bias"]


def linear(x, name):
    return x @ W[name + ".weight"] + W[name + ".bias"]


def gelu(x):
    return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


cache = {}


def forward(step, ids):
    P = cache[0][0].shape[2] if cache else 0               # columns that are in the cache
    T = ids.shape[1]                                       # new ones
    S = P + T
    keys, queries = np.arange(S), np.arange(P, S)[:, None]
    seen = (keys <= queries) & (mask[:, None, None, :S] > 0) | (keys == queries)  # [B, 1, T, S]
    x = W["wte.weight"][ids] + W["wpe.weight"][position[:, P:S]]      # [B, T, C]
    save(out, step, "embed", x)
    for i in range(L):
        h = f"h.{i}."
        a = norm(x, h + "ln_1")
        save(out, step, h + "ln_1", a)
        qkv = linear(a, h + "attn.c_attn")
        save(out, step, h + "attn.c_attn", qkv)
        q, k, v = qkv.reshape(B, T, 3, H, D).transpose(2, 0, 3, 1, 4)  # [B, H, T, D] each
        if i in cache:
            k, v = (np.concatenate(pair, axis=2) for pair in zip(cache[i], (k, v)))
        cache[i] = k, v                                    # [B, H, S, D]
        scores = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(D))
        scores = np.where(seen, scores, np.float32(-np.inf))
        save(out, step, h + "attn.scores", scores)         # [B, H, T, S]
        a = linear((softmax(scores) @ v).transpose(0, 2, 1, 3).reshape(B, T, C), h + "attn.c_proj")
        save(out, step, h + "attn.c_proj", a)
        x = x + a
        m = gelu(linear(norm(x, h + "ln_2"), h + "mlp.c_fc"))
        save(out, step, h + "mlp.act", m)
        x = x + linear(m, h + "mlp.c_proj")
        save(out, step, h + "resid_post", x)
    x = norm(x, "ln_f")
    save(out, step, "ln_f", x)
    last = T - 1 - mask[:, P:S][:, ::-1].argmax(1)         # of each row, its last token
    save(out, step, "logits_last", x[np.arange(B), last] @ W["wte.weight"].T)  # [B, V]


prompt = tokens.shape[1] - new
for step in range(new):
    forward(step, tokens[:, :prompt] if step == 0 else tokens[:, prompt + step - 1:prompt + step])
np.save(pathlib.Path(out, "tokens.npy"), tokens)
if not mask.all():
    np.save(pathlib.Path(out, "attention_mask.npy"), mask)
