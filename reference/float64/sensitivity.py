"""Measures whether the committed cases can see every known fault, and how far float32 alone moves a stage.

    python3 reference/float64/sensitivity.py DIR [DIR ...]     # folders that synthetic.py wrote

For every fault of faults.py, at every stage it can sit in: the largest move of that stage, from correct inputs, as a
multiple of the stage's tolerance, and where. Then the distance between float32 and float64 at every stage, and the
greedy tokens with their margins. Exits with 1 when a fault stays below its required multiple, a margin is too small
for float32 to keep the choice, or a continuation falls into one token.
"""

import argparse
import collections
import fnmatch
import json
import math
import os
import re
import sys
import time

import numpy as np

import faults
import gpt2
from contract import checkpoint, kind
from inputs import Inputs

REQUIRED = {"fault": 20, "gelu": 4, "precision": 5}

# The contract's tolerance between engines by checkpoint, 1e-4 for the others, and a part relative to max|want|, from the
# rounding table this prints: float32 takes at most a quarter of each (h.18.ln_1 of medium, summed one after the other; its
# error is 2.1e-6 of the maximum), so an engine has room for four times that.
ABSOLUTE = {1: 1e-5, 8: 1e-3, 9: 1e-3, 10: 0, 11: 1e-6}
EMBEDDINGS = {"wte": 0, "wpe": 0, "embed": 1e-6}  # copied from a table, and one addition
RELATIVE = 4e-6
# mlp.act has no relative part, or erf GELU would pass in a model with large activations; probabilities are at most 1.
NO_RELATIVE = {*EMBEDDINGS, "h.*.attn.probs", "h.*.mlp.act", "next_token"}

CASES = os.path.join(faults.ROOT, "scripts", "cases.json")


def tolerance(stage, want):
    absolute = EMBEDDINGS.get(stage, ABSOLUTE.get(checkpoint(stage), 1e-4))
    if kind(stage) in NO_RELATIVE or stage.startswith("probs_t"):
        return absolute
    finite = np.abs(want[np.isfinite(want)])
    return absolute + (RELATIVE * float(finite.max()) if finite.size else 0)


def identity(fault, stage):
    """Why the fault moves nothing that a tolerance can see in the stage; None where it must be seen."""
    return next((entry["reason"] for entry in faults.IDENTITIES
                 if fnmatch.fnmatchcase(fault, entry["faults"]) and fnmatch.fnmatchcase(stage, entry["stages"])), None)


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
    """A correct run of one case; steps() yields (k, Inputs) and keeps no step's stages but the caches."""

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
                    table[key] = (multiple, move, f"{name} step {k} {stage}", identity(f.id, stage))


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
        wide = inputs.stages["ln_f"].reshape(-1, case.model.config.embd)
        norms += [(np.abs(r).max(), np.sqrt((r * r).mean())) for r in wide]
    return np.stack(tokens, 1), margins, np.array(rows), np.array(norms)


def check_weights(name, weights):
    """Breaches of the contract's rules for the formula: no bias is zero, no two LayerNorm gains are alike."""
    bad = [f"{name}: {w} has a zero" for w, a in weights.items() if w.endswith(".bias") and not np.all(a)]
    gains = [np.asarray(a).tobytes() for w, a in weights.items() if re.search(r"ln_\w+\.weight$", w)]
    return bad + ([f"{name}: two LayerNorm gains are alike"] if len(set(gains)) < len(gains) else [])


def cases_of(name):
    """case -> (tokens, new) of the model's committed cases."""
    with open(CASES, encoding="utf-8") as f:
        return {case: (entry["tokens"], entry["new"]) for case, entry in json.load(f)["models"][name].items()}


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
        model = gpt2.load(folder)
        bad += check_weights(name, model.weights)
        cases = {c: Case(model, t, n) for c, (t, n) in cases_of(name).items()}
        for matmul in (sequential, np.matmul):
            table = {}
            for case_name, case in cases.items():
                measure_rounding(case, case_name, matmul, table)
            print(f"\n{name}: float32 ({matmul.__name__}) against float64")
            print(f"{'stage':18} {'max error':>10} {'/max|want|':>10} {'max|want|':>10} {'rel needed':>10} "
                  f"{'of bound':>9}  worst at")
            for stage, (d, rel, top, need, share, where) in table.items():
                print(f"{stage:18} {d:10.2e} {rel:10.2e} {top:10.3g} {need:10.1e} {share:9.1%}  {where}")
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
    print(f"\n{'fault':22} {'stage':18} {'multiple':>9} {'needed':>6} {'move':>9}  where")
    for (fault, stage, what), (multiple, move, where, reason) in sorted(moves.items()):
        ok = multiple >= REQUIRED[what]
        print(f"{fault:22} {stage:18} {multiple:9.3g} {REQUIRED[what]:6} {move:9.2e}  {where}"
              + (f"  identity: {reason}" if reason else "" if ok else "  TOO SMALL"))
        if not ok and not reason:
            bad.append(f"{fault} at {stage} moves {multiple:.3g} tolerances, want {REQUIRED[what]}")
    if not args.no_faults:
        bad += [f"{f.id} was never run" for f in faults.CATALOGUE if f.id not in {key[0] for key in moves}]
    print("\n" + ("\n".join(bad) or "all met"))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
