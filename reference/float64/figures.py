"""Writes figures of a model, single values that need no golden, computed by gpt2.py in float64.

    python3 reference/float64/figures.py synthetic-tiny --out goldens/synthetic-tiny/figures.json
    python3 reference/float64/figures.py synthetic-tiny --check goldens/synthetic-tiny/figures.json
    python3 reference/float64/figures.py gpt2 --model DIR --out goldens/gpt2/figures.json

The form is that of harness/verify/figures/figures.json, which has what others have published of the released models, so
that the checks of those are proven on a model that needs no download. Values have 8 digits, as published ones do.
"""

import argparse
import base64
import hashlib
import json
import os
import sys
import tempfile

import numpy as np

import gpt2
import synthetic
from contract import Refused

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
VOCABULARY = os.path.join(ROOT, "model", "vocab", "r50k_base.tiktoken")
SOURCE = "reference/float64/figures.py, numpy in float64"

# Checkpoint 8's bound, for single values of ln_f and logits.
VALUES = {"abs": 1e-3, "rel": 4e-6, "reason": "checkpoint 8's bound of ln_f and logits"}
LOGPROB = {"abs": 1e-3, "rel": 0, "reason": "a logit less the log-sum-exp: checkpoint 8's bound without its relative part, "
           "since what shifts all logits alike drops out"}
EXACT_DIGITS = {"abs": 0, "rel": 1e-7, "reason": "sums in float64, given with 8 digits: rounded by 5e-8 at most"}

# Texts and their tokens, which the decoder below confirms; a prompt that is also a case of scripts/cases.json needs no
# run of its own.
STUDY = ("We study empirical scaling laws for language model performance on the cross-entropy loss.",
         [1135, 2050, 21594, 20796, 3657, 329, 3303, 2746, 2854, 319, 262, 3272, 12, 298, 28338, 2994, 13])
HELLO_WORLD = ("Hello world", [15496, 995])
COUNTING = ("One two three four", [3198, 734, 1115, 1440])
GREEDY = [("hello", "Hello.", [15496, 13], 10), ("once-upon", "Once upon a time", [7454, 2402, 257, 640], 10),
          ("once-upon-begin", "Once upon a time", [7454, 2402, 257, 640], 4), ("the-dog", None, [464, 3290], 18)]
END_OF_TEXT = 50256


def decoder():
    """A function from ids to text."""
    with open(VOCABULARY, "rb") as f:
        table = {int(rank): base64.b64decode(token) for token, rank in (line.split() for line in f.read().splitlines())}
    return lambda ids: b"".join(table[i] for i in ids).decode()


def draw(name, shape, below):
    """Ids from the synthetic models' hash, which no version of numpy draws otherwise."""
    h = synthetic.hashes(synthetic.fnv1a(name), 0, int(np.prod(shape))) >> np.uint64(24)
    return (h % np.uint64(below)).astype(np.int64).reshape(shape)


def digits(x):
    """Numbers, in lists as deep as x, with 8 digits."""
    return [digits(v) for v in x] if np.ndim(x) else float(f"{float(x):.8g}")


def run(model, tokens, want):
    """One of the stages of a step on tokens [B,T]."""
    kept = {}

    def tap(stage, array):
        if stage == want:
            kept[stage] = array

    model.step(tokens, model.new_cache(len(tokens)), tap, ())
    return kept[want]


def logsumexp(x):
    top = x.max(-1, keepdims=True)
    return (top + np.log(np.exp(x - top).sum(-1, keepdims=True)))[..., 0]


def weights(model, folder):
    path = os.path.join(folder, "model.safetensors")
    with open(path, "rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    tensors = []
    for name, shape in model.weights.items():
        a = np.asarray(model.weights[name], np.float64)
        tensors.append({"name": name, "shape": list(a.shape), "sum": digits(a.sum()), "sumsq": digits(np.square(a).sum()),
                        "min": digits(a.min()), "max": digits(a.max())})
    return {"source": SOURCE, "file": "model.safetensors", "bytes": os.path.getsize(path), "sha256": digest,
            "tolerance": EXACT_DIGITS, "tensors": tensors}


def ln_f(model):
    tokens = draw("ln_f", (2, 10), model.config.vocab)
    x = run(model, tokens, "ln_f")
    channel = np.abs(x).argmax(-1)
    peak = np.take_along_axis(x, channel[..., None], -1)[..., 0]
    return {"source": SOURCE, "tolerance": VALUES, "tokens": tokens.tolist(), "first4": digits(x[..., :4]),
            "absmax": [[[int(c), digits(v)] for c, v in zip(*row)] for row in zip(channel, peak)],
            "l2": digits(np.linalg.norm(x, axis=-1))}


def logits(model):
    tokens, labels = draw("logits", (2, 10), model.config.vocab), draw("labels", (2, 10), 100)
    x = run(model, tokens, "logits")
    top, total = np.argsort(-x, -1, "stable")[..., :3], logsumexp(x)
    nll = total[:, :-1] - np.take_along_axis(x[:, :-1], labels[:, 1:, None], -1)[..., 0]
    return {"source": SOURCE, "tolerance": VALUES, "tokens": tokens.tolist(), "top3_ids": top.tolist(),
            "top3": digits(np.take_along_axis(x, top, -1)), "first4": digits(x[..., :4]), "last": digits(x[..., -1]),
            "logsumexp": digits(total), "labels": labels.tolist(), "mean_nll_of_labels_shifted_by_one": digits(nll.mean()),
            "mean_nll_tolerance": {"abs": 1e-4, "rel": 0, "reason": "as of published ones: a mean, in which roundings cancel"}}


def greedy(model, decode):
    out = []
    for name, prompt, tokens, new in GREEDY:
        every = gpt2.greedy(model, [tokens], new, temperatures=())[0].tolist()
        if prompt is None:
            out.append({"name": name, "source": SOURCE, "tokens": tokens, "new": new, "all_tokens": every})
        else:
            out.append({"name": name, "source": SOURCE, "prompt": prompt, "new": new, "text": decode(every)})
    return out


def token_logprobs(model):
    text, tokens = STUDY
    x = run(model, [[END_OF_TEXT, *tokens[:-1]]], "logits")[0]
    return {"source": SOURCE, "tolerance": LOGPROB,
            "sum_tolerance": {"abs": 0, "rel": 1e-3, "reason": "as of published ones"},
            "text": text, "prefix_tokens": [END_OF_TEXT],
            "logprobs": digits(x[np.arange(len(tokens)), tokens] - logsumexp(x))}


def first_hidden(model):
    text, tokens = HELLO_WORLD
    position = 1
    return {"source": SOURCE, "tolerance": {"abs": 1e-4, "rel": 0, "reason": "as of published ones"},
            "text": text, "position": position, "first10": digits(run(model, [tokens], "ln_f")[0, position, :10])}


def next_logit(model):
    text, tokens = COUNTING
    last = run(model, [tokens], "logits_last")[0]
    return {"source": SOURCE, "tolerance": {"abs": 1e-4, "rel": 0, "reason": "as of published ones"},
            "text": text, "argmax": int(last.argmax()), "logit": digits(last.max())}


def figures(name, folder):
    """The file's content for the model in a folder."""
    model, decode = gpt2.load(folder), decoder()
    for text, tokens in [STUDY, HELLO_WORLD, COUNTING, *((g[1], g[2]) for g in GREEDY if g[1])]:
        if decode(tokens) != text:
            raise ValueError(f"{tokens} decode to {decode(tokens)!r}, want {text!r}")
    return {"schema": 1, "about": f"Figures of {name}, by {SOURCE}. Made by: python3 reference/float64/figures.py {name}",
            "models": {name: {"weights": weights(model, folder), "ln_f": ln_f(model), "logits": logits(model),
                              "greedy": greedy(model, decode), "token_logprobs": token_logprobs(model),
                              "ln_f_hello_world": first_hidden(model), "next_logit": next_logit(model)}}}


def layout(value, indent=0, taken=0, width=140):
    """JSON in which what fits on a line has one; taken is how much of the first line is not left for it."""
    line = json.dumps(value, ensure_ascii=False)
    if not isinstance(value, (dict, list)) or indent > 2 and indent + taken + len(line) <= width:
        return line
    inner = indent + 1
    if isinstance(value, dict):
        ends, parts = "{}", [f"{json.dumps(k)}: " + layout(v, inner, len(k) + 4, width) for k, v in value.items()]
    else:
        ends, parts = "[]", [layout(v, inner, 0, width) for v in value]
        if max(map(len, parts)) < 24:  # numbers, and pairs of them, fill the lines
            filled = [""]
            for part in parts:
                if inner + len(filled[-1]) + len(part) + 3 > width:
                    filled.append("")
                filled[-1] += (", " if filled[-1] else "") + part
            parts = filled
    return ends[0] + "\n" + ",\n".join(" " * inner + part for part in parts) + "\n" + " " * indent + ends[1]


def differences(got, want, path=""):
    """Places at which two contents differ: numbers by more than the rounding to 8 digits, everything else at all."""
    if isinstance(want, dict) and isinstance(got, dict):
        keys = [k for k in {**want, **got} if k not in got or k not in want]
        return [f"{path}.{k}: in one alone" for k in keys] + [
            line for k in want if k in got for line in differences(got[k], want[k], f"{path}.{k}")]
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        return [line for i, pair in enumerate(zip(got, want)) for line in differences(*pair, f"{path}[{i}]")]
    if isinstance(want, float) and isinstance(got, (int, float)) and not isinstance(got, bool):
        return [] if abs(got - want) <= 1e-7 * abs(want) else [f"{path}: {got} now, {want} there"]
    return [] if type(got) is type(want) and got == want else [f"{path}: {got!r} now, {want!r} there"]


def make(name, folder):
    """The content, of the model in a folder or of a synthetic one."""
    if folder:
        return figures(name, folder)
    if name not in synthetic.MODELS:
        raise ValueError(f"{name}: no synthetic model: name its folder with --model")
    with tempfile.TemporaryDirectory() as scratch:
        synthetic.write(name, scratch)
        return figures(name, scratch)


def write(path, content):
    temp = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temp, "w", encoding="utf-8") as f:
            f.write(layout(content) + "\n")
        os.replace(temp, path)
    finally:
        if os.path.exists(temp):
            os.remove(temp)


def main(argv=None):
    parser = argparse.ArgumentParser(description="Writes figures of a model, computed in float64.")
    parser.add_argument("name", help="name of the model")
    parser.add_argument("--model", metavar="DIR", help="its folder; a synthetic model is made if not given")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", metavar="FILE", help="file to write; its folder must be there")
    what.add_argument("--check", metavar="FILE", help="file to compare with; exit status 1 when it does not follow")
    args = parser.parse_args(argv)
    try:
        content = make(args.name, args.model)
        if args.out:
            write(args.out, content)
            return 0
        with open(args.check, encoding="utf-8") as f:
            found = differences(content, json.load(f))
    except (Refused, OSError, ValueError, KeyError, IndexError) as e:
        print(f"figures.py: {e}", file=sys.stderr)
        return 2
    for line in found[:20]:
        print(f"{args.check}: {line}")
    print(f"{args.check}: {len(found)} differences" if found else f"{args.check}: follows from reference/float64")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
