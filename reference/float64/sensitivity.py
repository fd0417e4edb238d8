"""Measures whether the committed cases can see every known fault, and what float32 alone moves.

    python3 reference/float64/sensitivity.py DIR [DIR ...]     # folders that synthetic.py wrote

For every fault of faults.py, at every stage it can sit in: the largest move of that stage, from right inputs, as a
multiple of the stage's tolerance, and where. Then the distance between float32 and float64 at every stage, and the
greedy tokens with their margins. Exits with 1 when a fault stays below what is required of it, a margin is too small
for float32 to keep the choice, or a continuation falls into one token.
"""

import argparse
import collections
import json
import math
import os
import re
import sys
import time

import numpy as np

import faults
import gpt2
from inputs import Inputs

REQUIRED = {"fault": 20, "gelu": 4, "precision": 5}

# fault (and stage, * any) -> why it moves nothing that a bound can see
IDENTITY = {
    ("tie_rule", "next_token"): "no two logits are equal, so every rule chooses alike",
    ("temperature_inverted", "probs_t1"): "t and 1/t are the same at t = 1",
    ("temperature_ignored", "probs_t1"): "nothing to ignore at t = 1",
    **{(eps, stage): "below float32: the variance is far above epsilon there; see h.0.ln_1, whose input is small"
       for eps in ("ln_eps_1e-6", "ln_eps_1e-12") for stage in ("ln_2", "ln_f")},
}

# kind of stage -> (absolute, relative to max|want|): the contract's bounds and a relative part for tensors of another
# scale, from the rounding table this prints: float32 takes at most a quarter of each bound (h.18.ln_1 of medium, summed
# one after the other; its error is 2.1e-6 of the maximum), so an engine has room for four times that.
# mlp.act has no relative part, or erf GELU would pass in a model with large activations; probabilities are at most 1.
TOLERANCE = {
    "wte": (0, 0), "wpe": (0, 0), "embed": (1e-6, 0), "ln_1": (1e-5, 4e-6), "ln_2": (1e-4, 4e-6),
    "resid_mid": (1e-3, 4e-6), "resid_post": (1e-3, 4e-6), "ln_f": (1e-3, 4e-6),
    "attn.probs": (1e-4, 0), "mlp.act": (1e-4, 0), "logits": (1e-3, 4e-6), "logits_last": (1e-3, 4e-6),
    "next_token": (0, 0), "probs_t0.5": (1e-6, 0), "probs_t1": (1e-6, 0), "probs_t2": (1e-6, 0),
}
FIRST_BLOCK = {"h.0.resid_mid": (1e-4, 4e-6), "h.0.resid_post": (1e-4, 4e-6)}
OTHERS = (1e-4, 4e-6)

# tokens and new of the committed cases, used where scripts/cases.json is not there
CASES = {
    "synthetic-tiny": {
        "hello": ([[15496, 13]], 10),
        "quick-brown": ([[464, 2068, 7586]], 10),
        "once-upon": ([[7454, 2402, 257, 640]], 10),
        "answer": ([[2061, 318, 262, 3280, 284, 1204, 11, 262, 6881, 11, 290, 2279, 30]], 10),
        "one-token": ([[50256]], 10),
        "batch-of-two": ([[15496, 11, 995], [464, 3290, 318]], 10),
        "full-context": ([[44484, 373, 3726, 284, 651, 845, 10032, 286, 5586, 416, 607, 6621, 319, 262, 3331, 11, 290,
                          286, 1719, 2147, 284, 466, 25, 1752, 393, 5403, 673, 550, 613, 538, 276, 656, 262, 1492,
                          607, 6621, 373, 3555, 11, 475, 340, 550, 645, 5986, 393, 10275, 287, 340]], 1),
    },
    "synthetic-medium": {"hello": ([[15496, 13]], 10)},
}


def kind(stage):
    return re.sub(r"^h\.\d+\.", "", stage)


def tolerance(stage, want):
    absolute, relative = FIRST_BLOCK.get(stage) or TOLERANCE.get(kind(stage), OTHERS)
    finite = np.abs(want[np.isfinite(want)])
    return absolute + (relative * float(finite.max()) if relative and finite.size else 0)


def distance(got, want):
    """max |got-want|; infinite where one is infinite or NaN and the other is not the same."""
    if got.shape != want.shape:
        return math.inf
    same = got == want
    d = np.abs(np.where(same, 0, got) - np.where(same, 0, want))
    return math.inf if not np.isfinite(d).all() else float(d.max())


def sequential(a, b):
    """Matrix product that adds one term after the other, without blocks."""
    out = np.zeros((*a.shape[:-1], b.shape[-1]), a.dtype)
    for k in range(a.shape[-1]):
        out += a[..., k, None] * b[..., k, None, :]
    return out


class Case:
    """A right run of one case; steps() yields (k, Inputs) and keeps no step's stages but the caches."""

    def __init__(self, model, tokens, new):
        self.model, self.tokens, self.new = model, np.asarray(tokens), new

    def steps(self):
        cache, fed, before = self.model.new_cache(len(self.tokens)), self.tokens, {}
        for k in range(self.new):
            past, stages = cache.length, {}
            chosen = self.model.step(fed, cache, stages.__setitem__)
            yield k, Inputs(self.model, fed, past, stages, before)
            fed, before = chosen[:, None], {s: a for s, a in stages.items() if ".cache_" in s}


def measure_faults(case, name, table, steps_of_head):
    for k, inputs in case.steps():
        for stage, want in inputs.stages.items():
            if stage == "logits" and k >= steps_of_head:
                continue
            bound = tolerance(stage, want)
            for f in faults.CATALOGUE:
                if not f.at(stage):
                    continue
                with np.errstate(all="ignore"):
                    got = f.run(inputs, stage)
                if got is None:
                    continue
                move = distance(got, want)
                multiple = move / bound if bound else (math.inf if move else 0)
                key = (f.id, kind(stage), f.kind)
                if multiple > table.get(key, (-1,))[0]:
                    table[key] = (multiple, move, f"{name} step {k} {stage}")


def measure_rounding(case, name, matmul, table):
    """The distance of a float32 run, fed the same tokens: kind of stage -> [max error, of max|want|, max|want|,
    relative part that three times the error needs beside the absolute bound, share of the whole bound, where]."""
    m = case.model
    single = gpt2.GPT2(m.config, m.weights, np.float32, matmul)
    cache = single.new_cache(len(case.tokens))
    for k, inputs in case.steps():
        got = {}
        single.step(inputs.tokens, cache, got.__setitem__)
        for stage, want in inputs.stages.items():
            if stage.startswith("probs_t"):  # checkpoint 11 is about softmax, not about logits: judged on its own
                want = gpt2.softmax(got["logits_last"].astype(np.float64) / float(stage.removeprefix("probs_t")))
            d, top = distance(got[stage], want), float(np.abs(want[np.isfinite(want)]).max())
            bound = tolerance(stage, want)
            share = d / bound if bound else (math.inf if d else 0)
            need = max(0.0, (3 * d - tolerance(stage, np.zeros(1))) / top)
            entry = table.setdefault(kind(stage), [0.0, 0.0, 0.0, 0.0, -1.0, ""])
            if share > entry[4]:
                entry[5] = f"{name} step {k} {stage}"
            entry[:5] = [max(pair) for pair in zip(entry[:5], (d, d / top, top, need, share))]


def measure_tokens(case):
    """(new tokens [B,N], margins, (lowest, mean, highest, deviation in a row) of logits_last, max|ln_f|, rms ln_f)"""
    tokens, margins, rows, norms = [], [], [], []
    for _, inputs in case.steps():
        x = inputs.stages["logits_last"]
        top = np.sort(x, -1)[:, -2:]
        margins += list(top[:, 1] - top[:, 0])
        tokens.append(x.argmax(-1))
        rows += [(r.min(), r.mean(), r.max(), r.std()) for r in x]
        wide = inputs.stages["ln_f"].reshape(-1, case.model.config["n_embd"])
        norms += [(np.abs(r).max(), np.sqrt((r * r).mean())) for r in wide]
    return np.stack(tokens, 1), margins, np.array(rows), np.array(norms)


def check_weights(name, weights):
    """What the contract asks of the formula: no bias is zero, no two LayerNorm gains are alike."""
    bad = [f"{name}: {w} has a zero" for w, a in weights.items() if w.endswith(".bias") and not np.all(a)]
    gains = [np.asarray(a).tobytes() for w, a in weights.items() if re.search(r"ln_\w+\.weight$", w)]
    return bad + ([f"{name}: two LayerNorm gains are alike"] if len(set(gains)) < len(gains) else [])


def cases_of(name):
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../scripts/cases.json")
    if os.path.exists(path):
        with open(path) as f:
            listed = json.load(f)
        listed = listed["models"] if "models" in listed else listed
        if name in listed:
            cases = listed[name]["cases"] if "cases" in listed[name] else listed[name]
            cases = cases.items() if isinstance(cases, dict) else ((c["case"], c) for c in cases)
            return {case: (entry["tokens"], entry["new"]) for case, entry in cases}
    return CASES[name]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("models", nargs="+", metavar="DIR",
                        help="folder of a synthetic model, its base name the model's")
    parser.add_argument("--steps-of-head", type=int, default=99, metavar="N",
                        help="run logits' faults at the first N steps only")
    parser.add_argument("--no-faults", action="store_true", help="rounding and tokens only")
    args = parser.parse_args()
    moves, bad = {}, []
    for folder in args.models:
        name = os.path.basename(os.path.normpath(folder))
        config, weights = gpt2.load(folder)
        model = gpt2.GPT2(config, weights)
        bad += check_weights(name, weights)
        cases = {c: Case(model, t, n) for c, (t, n) in cases_of(name).items()}
        for matmul in (sequential, np.matmul):
            table = {}
            for case_name, case in cases.items():
                measure_rounding(case, case_name, matmul, table)
            print(f"\n{name}: float32 ({matmul.__name__}) against float64")
            print(f"{'stage':14} {'max error':>10} {'/max|want|':>10} {'max|want|':>10} {'rel needed':>10} "
                  f"{'of bound':>9}  worst at")
            for stage, (d, rel, top, need, share, where) in table.items():
                print(f"{stage:14} {d:10.2e} {rel:10.2e} {top:10.3g} {need:10.1e} {share:9.1%}  {where}")
                if share > 0.5:
                    bad.append(f"{name}: float32 alone takes {share:.0%} of the bound at {where}")
            error = table["logits_last"][0]
            lowest = math.inf
            for case_name, case in cases.items() if matmul is np.matmul else ():
                tokens, margins, rows, norms = measure_tokens(case)
                lowest = min(lowest, *margins)
                print(f"{case_name:13} {tokens.tolist()} margins {min(margins):.3g}..{max(margins):.3g} logits "
                      f"{rows[:, 0].min():.3g}..{rows[:, 2].max():.3g} row std "
                      f"{rows[:, 3].min():.2f}..{rows[:, 3].max():.2f} ln_f max {norms[:, 0].max():.0f} "
                      f"rms {norms[:, 1].mean():.1f}")
                for row in tokens.tolist():
                    if max(collections.Counter(row).values()) > max(2, len(row) // 4):
                        bad.append(f"{name} {case_name}: repeats itself: {row}")
            if lowest < 50 * error:
                bad.append(f"{name}: margin {lowest:.2g} is below 50 times float32's error of the logits, {error:.2g}")
        if not args.no_faults:
            started = time.time()
            for case_name, case in cases.items():
                measure_faults(case, f"{name} {case_name}", moves, args.steps_of_head)
                print(f"{name} {case_name}: {time.time() - started:.0f} s", file=sys.stderr)
    print(f"\n{'fault':22} {'stage':14} {'multiple':>9} {'needed':>6} {'move':>9}  where")
    for (fault, stage, what), (multiple, move, where) in sorted(moves.items()):
        reason = IDENTITY.get((fault, stage))
        ok = multiple >= REQUIRED[what]
        print(f"{fault:22} {stage:14} {multiple:9.3g} {REQUIRED[what]:6} {move:9.2e}  {where}"
              + (f"  identity: {reason}" if reason else "" if ok else "  TOO SMALL"))
        if not ok and not reason:
            bad.append(f"{fault} at {stage} moves {multiple:.3g} tolerances, want {REQUIRED[what]}")
    if not args.no_faults:
        bad += [f"{f.id} was never run" for f in faults.CATALOGUE if f.id not in {key[0] for key in moves}]
    print("\n" + ("\n".join(bad) or "all met"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
