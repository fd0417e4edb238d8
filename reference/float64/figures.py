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

# Checkpoint 8's tolerance, for single values of ln_f and logits.
VALUES = {"abs": 1e-3, "rel": 4e-6, "reason": "checkpoint 8's tolerance of ln_f and logits"}
LOGPROB = {"abs": 1e-3, "rel": 0, "reason": "a logit less the log-sum-exp: checkpoint 8's tolerance without its relative "
           "part, since what shifts all logits alike drops out"}
MEAN = {"abs": 1e-4, "rel": 0, "reason": "as of published ones: a mean, in which roundings cancel"}
SUM = {"abs": 0, "rel": 1e-3, "reason": "as of published ones"}
PUBLISHED = {"abs": 1e-4, "rel": 0, "reason": "as of published ones"}
PROBS = {"abs": 1e-6, "rel": 0, "reason": "checkpoint 11's tolerance, besides what the differences of the logit and of "
         "the log-sum-exp account for"}
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


def figure(name, stage, reduce, want, tolerance=None, **more):
    """A line of the file; more has the run that it is of, and the index."""
    of = {"stage": stage} if stage else {}
    return {"name": name, **of, "reduce": reduce, "source": SOURCE, **more, "want": want, **(tolerance or {})}


def weights(model, folder):
    path = os.path.join(folder, "model.safetensors")
    with open(path, "rb") as f:
        digest = hashlib.file_digest(f, "sha256").hexdigest()
    out = [figure("weights.sha256", "model.safetensors", "sha256", digest),
           figure("weights.bytes", "model.safetensors", "bytes", os.path.getsize(path))]
    for name, shape in model.weights.items():
        a = np.asarray(model.weights[name], np.float64)
        out.append(figure(f"weights.{name}", name, "moments", digits([a.sum(), np.square(a).sum(), a.min(), a.max()]),
                          EXACT_DIGITS, shape=list(a.shape)))
    return out


def ln_f(model):
    tokens = draw("ln_f", (2, 10), model.config.vocab)
    x = run(model, tokens, "ln_f")
    channel = np.abs(x).argmax(-1)
    peak = np.take_along_axis(x, channel[..., None], -1)[..., 0]
    tolerance, batch = {"scale": digits(np.abs(peak).max()), **VALUES}, {"tokens": tokens.tolist()}
    return [figure("ln_f.first4", "ln_f", "value", digits(x[..., :4]), tolerance, **batch, index=[0, 1, 2, 3]),
            figure("ln_f.absmax", "ln_f", "value", digits(peak), tolerance, **batch, index=channel.tolist()),
            figure("ln_f.absmax_channel", "ln_f", "absmax", channel.tolist(), tolerance, **batch),
            figure("ln_f.l2", "ln_f", "l2", digits(np.linalg.norm(x, axis=-1)), tolerance, **batch)]


def logits(model):
    tokens, labels = draw("logits", (2, 10), model.config.vocab), draw("labels", (2, 10), 100)
    x = run(model, tokens, "logits")
    top, total = np.argsort(-x, -1, "stable")[..., :3], logsumexp(x)
    best, batch = np.take_along_axis(x, top, -1), {"tokens": tokens.tolist()}
    known = np.concatenate([best, x[..., :4], x[..., -1:]], -1)
    tolerance = {"scale": digits(np.abs(known).max()), **VALUES}
    nll = total[:, :-1] - np.take_along_axis(x[:, :-1], labels[:, 1:, None], -1)[..., 0]
    out = []
    for stage, rows in (("logits", slice(None)), ("logits_last", -1)):
        out += [figure("logits.top3", stage, "value", digits(best[:, rows]), tolerance, **batch, index=top[:, rows].tolist()),
                figure("logits.first4", stage, "value", digits(x[:, rows, :4]), tolerance, **batch, index=[0, 1, 2, 3]),
                figure("logits.last", stage, "value", digits(x[:, rows, -1:]), tolerance, **batch, index=[-1])]
    return out + [
        figure("logits.top3_ids", "logits", "top", top.tolist(), tolerance, **batch),
        figure("logits.top1_id", "next_token", "value", top[:, -1, 0].tolist(), **batch),
        figure("logits.logsumexp", "logits", "logsumexp", digits(total), tolerance, **batch),
        figure("logits.top3_probs", "probs_t1", "value", digits(np.exp(best[:, -1] - total[:, -1:])), PROBS, **batch,
               index=top[:, -1].tolist()),
        figure("logits.mean_nll", "logits", "nll", digits(nll.mean()), MEAN, **batch, index=labels[:, 1:].tolist())]


def greedy(model, decode):
    out = []
    for name, prompt, tokens, new in GREEDY:
        every = gpt2.greedy(model, [tokens], new, temperatures=())[0].tolist()
        if prompt is None:
            out.append(figure(f"greedy.{name}", None, "tokens", every, tokens=[tokens], new=new))
        else:
            out.append(figure(f"greedy.{name}", None, "text", decode(every), text=prompt, new=new))
    return out


def token_logprobs(model):
    text, tokens = STUDY
    x = run(model, [[END_OF_TEXT, *tokens[:-1]]], "logits")[0]
    each, fed = x[np.arange(len(tokens)), tokens] - logsumexp(x), {"prefix": [END_OF_TEXT], "text": text}
    return [figure("token_logprobs.logprobs", "probs_t1", "log", digits(each), LOGPROB, **fed),
            figure("token_logprobs.sum", "probs_t1", "logsum", digits(each.sum()), SUM, **fed)]


def first_hidden(model):
    text, tokens = HELLO_WORLD
    row = 1
    return [figure("ln_f_hello_world.first10", "ln_f", "value", digits(run(model, [tokens], "ln_f")[0, row, :10]), PUBLISHED,
                   text=text, row=row, index=list(range(10)))]


def next_logit(model):
    text, tokens = COUNTING
    last = run(model, [tokens], "logits_last")[0]
    best = int(last.argmax())
    return [figure("next_logit.logit", "logits_last", "value", [digits(last[best])], PUBLISHED, text=text, index=[best]),
            figure("next_logit.argmax", "next_token", "value", [best], text=text)]


def figures(name, folder):
    """The file's content for the model in a folder."""
    model, decode = gpt2.load(folder), decoder()
    for text, tokens in [STUDY, HELLO_WORLD, COUNTING, *((g[1], g[2]) for g in GREEDY if g[1])]:
        if decode(tokens) != text:
            raise ValueError(f"{tokens} decode to {decode(tokens)!r}, want {text!r}")
    lines = (weights(model, folder) + ln_f(model) + logits(model) + greedy(model, decode) + token_logprobs(model)
             + first_hidden(model) + next_logit(model))
    return {"schema": 2, "about": f"Figures of {name}, by {SOURCE}. Made by: python3 reference/float64/figures.py {name}",
            "models": {name: lines}}


def layout(content):
    """JSON with a line for each figure."""
    models = ",\n".join(
        f"  {json.dumps(name)}: [\n" + ",\n".join("   " + json.dumps(line, ensure_ascii=False) for line in lines) + "\n  ]"
        for name, lines in content["models"].items())
    head = "".join(f" {json.dumps(k)}: {json.dumps(v, ensure_ascii=False)},\n" for k, v in content.items() if k != "models")
    return "{\n" + head + ' "models": {\n' + models + "\n }\n}\n"


def differences(got, want, path=""):
    """Places at which two contents differ: numbers by more than the rounding to 8 digits, everything else at all."""
    if isinstance(want, dict) and isinstance(got, dict):
        keys = [k for k in {**want, **got} if k not in got or k not in want]
        return [f"{path}.{k}: in one alone" for k in keys] + [
            line for k in want if k in got for line in differences(got[k], want[k], f"{path}.{k}")]
    if isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        names = [v["name"] if isinstance(v, dict) and "name" in v else i for i, v in enumerate(want)]
        return [line for name, *pair in zip(names, got, want) for line in differences(*pair, f"{path}[{name}]")]
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
            f.write(layout(content))
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
