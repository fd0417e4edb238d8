"""The parts that the Python exporters share: command line, feeding of steps, the dump and its manifest.

An exporter is a program of its own on an engine's public API. It hands `main` a function that opens a
model and returns a step function; `main` reads the command line, feeds prompt and decode steps, and
writes the dump, whole or not at all. Nothing here computes a stage.
"""

import argparse
import json
import math
import os
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass

from contract import Config, Refused, Rule, read_config, read_json, sha256_file, shape_of, stages, weight_files, weights_sha256

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FLOAT32, INT64 = "float32", "int64"


@dataclass(frozen=True)
class Job:
    """The run that the command line asks for."""

    model: str
    name: str
    config: Config
    tokens: list  # B rows of equal length
    new: int
    feed: list | None  # B rows of new-1 ids
    case: str | None
    prompt: str | None
    temperatures: list
    rules: list  # of Rule
    out: str

    def wants(self, step, stage):
        return not any(rule.matches(step, stage) for rule in self.rules)

    def positions(self, step):
        """(T, P) of a step."""
        length = len(self.tokens[0])
        return (length, 0) if step == 0 else (1, length + step - 1)


def ids(text):
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: want ids with commas between, such as 15496,13") from None


def temperature_list(text):
    try:
        values = [float(part) for part in text.split(",")] if text else []
    except ValueError:
        values = [math.nan]
    # Six digits, so that every language spells the number in the stage's name alike.
    if not all(0 < t < math.inf and float(f"{t:g}") == t for t in values) or len(set(values)) != len(values):
        raise argparse.ArgumentTypeError(f"{text!r}: want different positive numbers of up to six digits, commas between")
    return [int(t) if t == int(t) else t for t in values]


def parse_args(description, argv=None):
    """The exporters' common command line, checked against the model's config: a Job."""
    p = argparse.ArgumentParser(description=description, allow_abbrev=False)
    p.add_argument("--model", required=True, metavar="DIR", help="folder with config.json and model.safetensors")
    p.add_argument("--name", required=True, help="the model's name in the manifest, such as gpt2-medium")
    p.add_argument("--tokens", required=True, action="append", type=ids, metavar="IDS",
                   help="prompt, such as 15496,13; repeat it for a batch, rows of equal length")
    p.add_argument("--new", required=True, type=int, metavar="N", help="new tokens, and so steps; at least 1")
    p.add_argument("--feed", action="append", type=ids, metavar="IDS",
                   help="N-1 ids that the decode steps are fed instead of the engine's own choice; a row each")
    p.add_argument("--case", help="name of the case, for the manifest")
    p.add_argument("--prompt", help="text of the prompt, for the manifest")
    p.add_argument("--temperatures", type=temperature_list, default=[0.5, 1, 2], metavar="LIST", help="of probs_t*")
    p.add_argument("--rules", metavar="FILE", help="JSON list of stages to leave out: stages, steps, reason")
    p.add_argument("--out", required=True, metavar="DIR", help="the dump's folder; a dump there is replaced")
    a = p.parse_args(argv)
    config = read_config(a.model)
    length = len(a.tokens[0])
    if any(len(row) != length for row in a.tokens):
        raise Refused("--tokens: the rows of a batch have different lengths")
    if a.new < 1:
        raise Refused(f"--new {a.new}: want at least 1")
    if length + a.new - 1 > config.positions:
        raise Refused(f"{length} prompt tokens and {a.new} new ones need {length + a.new - 1} positions; "
                      f"{a.model} has {config.positions}")
    if a.feed and (len(a.feed) != len(a.tokens) or any(len(row) != a.new - 1 for row in a.feed)):
        raise Refused(f"--feed: want {len(a.tokens)} times {a.new - 1} ids, one fewer than --new in each row")
    for token in (t for row in a.tokens + (a.feed or []) for t in row):
        if not 0 <= token < config.vocab:
            raise Refused(f"token id {token} is outside the vocabulary, 0 to {config.vocab - 1}")
    return Job(a.model, a.name, config, a.tokens, a.new, a.feed, a.case, a.prompt, a.temperatures,
               read_rules(a.rules), a.out)


def read_rules(path):
    if path is None:
        return []
    return [Rule.parse(entry, path) for entry in read_json(path, list, "a JSON list of rules")]


class Writer:
    """Writes one dump into a sibling of its folder and renames it when complete.

    Strict: every stage of every step is put once, in execution order, with its shape and dtype, or left out
    by a rule; NaN is refused, and infinity anywhere but in masked scores.
    """

    def __init__(self, job, engine, sources):
        self.job, self.engine, self.sources = job, engine, sources
        self.stages = stages(job.config, job.temperatures)
        self.step, self.next, self.files = 0, 0, []
        self.used = set()  # indices of the rules that matched something
        self.out = os.path.abspath(job.out)
        if os.path.lexists(self.out) and not is_dump(self.out):
            raise Refused(f"{job.out}: there already and not a dump; remove it or choose another --out")
        os.makedirs(os.path.dirname(self.out), exist_ok=True)
        self.temp = tempfile.mkdtemp(prefix=f".{os.path.basename(self.out)}.", dir=os.path.dirname(self.out))
        os.chmod(self.temp, 0o755)

    def __enter__(self):
        os.mkdir(os.path.join(self.temp, "step_00"))
        return self

    def __exit__(self, kind, error, trace):
        shutil.rmtree(self.temp, ignore_errors=True)

    def wants(self, stage):
        """Reports whether the stage is written in this step; an exporter asks before it copies."""
        return self.job.wants(self.step, stage)

    def put(self, stage, array):
        """Writes a stage of this step: a numpy float32 array, int64 for next_token. One left out is passed over."""
        if stage not in self.stages[self.next:]:
            raise RuntimeError(f"step {self.step}: {stage} is no stage, was put before, or is out of order")
        index = self.stages.index(stage)
        self.leave_out(self.stages[self.next:index])
        self.next = index
        if not self.wants(stage):
            return
        self.next += 1
        t, p = self.job.positions(self.step)
        self.save(f"step_{self.step:02d}/{stage}.npy", array, shape_of(stage, self.job.config, len(self.job.tokens), t, p),
                  {"step": self.step, "stage": stage})

    def leave_out(self, passed):
        for stage in passed:
            rules = [i for i, rule in enumerate(self.job.rules) if rule.matches(self.step, stage)]
            if not rules:
                raise RuntimeError(f"step {self.step}: {stage} was neither exported nor left out by a rule")
            self.used.update(rules)

    def end_step(self):
        self.leave_out(self.stages[self.next:])
        self.step, self.next = self.step + 1, 0
        if self.step < self.job.new:
            os.mkdir(os.path.join(self.temp, f"step_{self.step:02d}"))

    def save(self, path, array, shape, labels):
        import numpy as np
        dtype = INT64 if path.endswith(("next_token.npy", "tokens.npy")) else FLOAT32
        if array.dtype != dtype or array.shape != shape:
            raise RuntimeError(f"{path}: {array.dtype} {array.shape}, want {dtype} {shape}")
        if dtype == FLOAT32:
            bad = np.isnan(array) | (np.isposinf(array) if path.endswith(".scores.npy") else np.isinf(array))
            if bad.any():
                raise Refused(f"{path}: {int(bad.sum())} of {array.size} values are not finite; are the weights?")
        array = np.ascontiguousarray(array, "<f4" if dtype == FLOAT32 else "<i8")
        full = os.path.join(self.temp, path)
        with open(full, "xb") as f:
            np.lib.format.write_array(f, array, version=(1, 0), allow_pickle=False)
        self.files.append({"path": path, **labels, "shape": list(shape), "dtype": dtype, "sha256": sha256_file(full)})

    def commit(self, tokens):
        """Writes tokens.npy [B, prompt + new] and the manifest, and puts the dump in its place."""
        job = self.job
        if self.step != job.new:
            raise RuntimeError(f"{self.step} steps of {job.new} were written")
        self.save("tokens.npy", tokens, (len(job.tokens), len(job.tokens[0]) + job.new), {})
        manifest = {
            "schema": 1,
            "model": {"name": job.name, "config": job.config.raw, "weights_sha256": weights_sha256(weight_files(job.model))},
            **({"case": job.case} if job.case is not None else {}),
            **({"prompt": job.prompt} if job.prompt is not None else {}),
            "tokens": job.tokens, "new": job.new, "temperatures": job.temperatures,
            "engine": self.engine,
            "exporter": [{"path": path, "sha256": sha256_file(os.path.join(ROOT, path))} for path in sorted(self.sources)],
            "files": self.files,
            "left_out": [vars(rule) for i, rule in enumerate(job.rules) if i in self.used],
        }
        with open(os.path.join(self.temp, "manifest.json"), "x", encoding="utf-8", newline="\n") as f:
            f.write(manifest_text(manifest))
        replace_folder(self.temp, self.out)


def manifest_text(manifest):
    """JSON with one line for each key, and for each entry of the long lists, so that a diff can be read."""
    lines = []
    for key, value in manifest.items():
        if key in ("exporter", "files", "left_out") and value:
            text = "[\n" + ",\n".join("  " + json.dumps(entry) for entry in value) + "\n]"
        else:
            text = json.dumps(value)
        lines.append(f"{json.dumps(key)}: {text}")
    return "{" + ",\n".join(lines) + "}\n"


def is_dump(folder):
    """Reports whether a folder is a dump or empty, and so may be replaced by a new dump."""
    if os.path.islink(folder) or not os.path.isdir(folder):
        return False
    names = os.listdir(folder)
    return not names or ("tokens.npy" in names and "step_00" in names)


def replace_folder(new, old):
    """Renames folder new to old; an older one there is kept until new is in its place, and put back if that fails."""
    aside = None
    if os.path.lexists(old):
        aside = tempfile.mkdtemp(prefix=f".{os.path.basename(old)}.", dir=os.path.dirname(old))
        os.rename(old, os.path.join(aside, "old"))
    try:
        os.rename(new, old)
    except BaseException:
        if aside:
            os.rename(os.path.join(aside, "old"), old)
            os.rmdir(aside)
        raise
    if aside:
        shutil.rmtree(aside, ignore_errors=True)


def export(job, engine, sources, step):
    """Feeds prompt and decode steps to step(tokens [B][T], writer) -> next ids [B], and writes the dump."""
    import numpy as np
    tokens, fed = [list(row) for row in job.tokens], job.tokens
    with Writer(job, engine, sources) as writer:
        for k in range(job.new):
            chosen = [int(token) for token in step(fed, writer)]
            writer.end_step()
            if job.feed and k < job.new - 1:
                chosen = [row[k] for row in job.feed]
            fed = [[token] for token in chosen]
            tokens = [row + new for row, new in zip(tokens, fed, strict=True)]
            if sys.stderr.isatty():
                print(f"\rstep {k + 1}/{job.new}", end="\n" if k == job.new - 1 else "", file=sys.stderr, flush=True)
        writer.commit(np.asarray(tokens, np.int64))


def main(description, engine, sources, open_model, argv=None):
    """Runs an exporter and returns its exit status.

    engine is the manifest's entry, sources are repo-relative paths of all that the exporter is made of, and
    open_model(job) returns the step function that `export` feeds.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that a half-written dump is removed
    try:
        job = parse_args(description, argv)
        export(job, engine, sources, open_model(job))
    except Refused as e:
        print(f"{engine['name']}: {e}", file=sys.stderr)
        return 2
    except OSError as e:
        print(f"{engine['name']}: {e.filename or 'writing the dump'}: {e.strerror}", file=sys.stderr)
        return 2
    return 0
