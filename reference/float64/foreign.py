"""Writes a dump as somebody's own engine would: plain .npy files, no manifest, numpy in float32, and faults if asked for.

It is for trying `compare` on an engine: a correct one, one with a fault or several, one that
shows only some of its stages or shows them in another layout. FAULT is an id of faults.py, STAGE a pattern.

    python3 reference/float64/foreign.py --model DIR --tokens 15496,13 --new 10 --out MINE --fault gelu_erf@h.1.mlp.act
    go run . compare --golden goldens/synthetic-tiny/hello/float64 --candidate MINE --model DIR
"""

import argparse
import fnmatch
import os
import re
import shutil
import sys

import numpy as np

sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.abspath(__file__))), os.path.dirname(os.path.abspath(__file__))]

import faults  # noqa: E402
import gpt2  # noqa: E402
from dump import ids, is_dump  # noqa: E402
from inputs import Inputs  # noqa: E402

# The stages that a forward hook on every module sees.
MODULES = ["wte", "wpe", "h.*.ln_1", "h.*.attn.c_attn", "h.*.attn.c_proj", "h.*.ln_2", "h.*.mlp.c_fc", "h.*.mlp.act",
           "h.*.mlp.c_proj", "h.*.resid_post", "ln_f", "logits"]

HEADED = ["h.*.attn.q", "h.*.attn.k", "h.*.attn.v", "h.*.attn.cache_k", "h.*.attn.cache_v"]


def heads_last(stage, a):
    """[B,H,T,D] -> [B,T,H,D]"""
    return a.transpose(0, 2, 1, 3) if matches(HEADED, stage) else a


def merged(stage, a):
    """[B,H,T,D] -> [B,T,C]"""
    return gpt2.merge_heads(a) if matches(HEADED, stage) else a


def no_batch(stage, a):
    """A batch of one without its axis; wpe never has one."""
    return a if stage == "wpe" or a.shape[0] > 1 else a[0]


LAYOUTS = {"heads-last": heads_last, "merged": merged, "no-batch": no_batch}  # in the order they are applied in


def matches(patterns, stage):
    return any(fnmatch.fnmatchcase(stage, pattern) for pattern in patterns)


class Engine:
    """A run of GPT-2 that keeps its stages, with faults at some of them."""

    def __init__(self, model, wrong, write):
        self.model, self.wrong, self.write = model, wrong, write
        self.stages, self.before = {}, {}

    def run(self, tokens, new):
        tokens, cache, fed = np.asarray(tokens), self.model.new_cache(len(tokens)), np.asarray(tokens)
        for step in range(new):
            self.before, self.stages = self.stages, {}
            self.step, self.fed, self.past = step, fed, cache.length
            fed = self.model.step(fed, cache, self.tap)[:, None]
            tokens = np.concatenate([tokens, fed], 1)
        return tokens

    def tap(self, stage, array):
        """Writes a fault over the array, which the stages that follow read."""
        self.stages[stage] = array.copy()
        for fault, pattern, steps in self.wrong:
            if fault.at(stage) and self.step in steps and fnmatch.fnmatchcase(stage, pattern):
                out = fault.run(Inputs(self.model, self.fed, self.past, self.stages, self.before), stage)
                if out is not None:
                    array[...] = out
        self.stages[stage] = array.copy()
        self.write(self.step, stage, self.stages[stage])


def fault_at(text):
    """FAULT@STAGE or FAULT@STAGE#STEPS -> (Fault, pattern, steps); STEPS is 2, 1- or 1-3."""
    id, at, rest = text.partition("@")
    pattern, some, steps = rest.partition("#")
    found = [fault for fault in faults.CATALOGUE if fault.id == id]
    numbers = re.fullmatch(r"(\d+)(-(\d*))?", steps if some else "0-")
    if not found or not at or not pattern or not numbers:
        raise argparse.ArgumentTypeError(f"{text!r}: want FAULT@STAGE or FAULT@STAGE#STEPS (2, 1- or 1-3), "
                                         f"FAULT one of {', '.join(f.id for f in faults.CATALOGUE)}")
    first, several, last = numbers.groups()
    return found[0], pattern, range(int(first), int(last) + 1 if last else sys.maxsize if several else int(first) + 1)


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    p.add_argument("--model", required=True, metavar="DIR", help="folder with config.json and model.safetensors")
    p.add_argument("--tokens", required=True, action="append", type=ids, metavar="IDS", help="prompt; repeat it for a batch")
    p.add_argument("--new", required=True, type=int, metavar="N", help="new tokens, and so steps")
    p.add_argument("--fault", action="append", default=[], type=fault_at, metavar="FAULT@STAGE[#STEPS]", help="a fault, where, and at which steps (2, 1- or 1-3; all); repeat it")
    p.add_argument("--modules", action="store_true", help="only stages that hooks on modules see")
    p.add_argument("--leave-out", action="append", default=[], metavar="STAGES", help="a pattern of stages not to write; repeat it")
    p.add_argument("--layout", action="append", default=[], choices=sorted(LAYOUTS), help="how q, k, v and the cache lie; repeat it")
    p.add_argument("--masked", type=float, default=-np.inf, metavar="NUMBER", help="the value at masked scores: --masked=-1e10")
    p.add_argument("--out", required=True, metavar="DIR", help="the dump's folder; a dump there is replaced")
    a = p.parse_args(argv)
    if {"heads-last", "merged"} <= set(a.layout):
        p.error("--layout: heads-last and merged exclude each other")
    if os.path.lexists(a.out) and not is_dump(a.out):
        p.error(f"--out {a.out}: there already and not a dump")
    used, mine = set(), a.out + ".part"  # a run that fails leaves the dump that was there
    shutil.rmtree(mine, ignore_errors=True)

    def write(step, stage, array):
        used.update(pattern for fault, pattern, steps in a.fault if fault.at(stage) and fnmatch.fnmatchcase(stage, pattern))
        if a.modules and not matches(MODULES, stage) or matches(a.leave_out, stage):
            return
        if stage.endswith(".scores"):
            array = np.where(np.isneginf(array), np.float32(a.masked), array)
        for layout in (layout for layout in LAYOUTS if layout in a.layout):
            array = LAYOUTS[layout](stage, array)
        folder = os.path.join(mine, f"step_{step:02d}")
        os.makedirs(folder, exist_ok=True)
        np.save(os.path.join(folder, stage + ".npy"), np.ascontiguousarray(array))

    with np.errstate(all="ignore"):  # a fault may well overflow
        tokens = Engine(gpt2.load(a.model, dtype=np.float32), a.fault, write).run(a.tokens, a.new)
    for fault, pattern, _ in a.fault:
        if pattern not in used:
            shutil.rmtree(mine, ignore_errors=True)
            p.error(f"--fault {fault.id}@{pattern}: there is no such stage for it")
    os.makedirs(mine, exist_ok=True)
    np.save(os.path.join(mine, "tokens.npy"), tokens)
    if os.path.exists(a.out):
        shutil.rmtree(a.out)
    os.rename(mine, a.out)


if __name__ == "__main__":
    main()
