#!/usr/bin/env python3
"""Times the Go GPT-2 beside other engines on the same weights, by turns, and prints a table.

  python3 scripts/bench.py
  python3 scripts/bench.py --model small --threads 1,2 --rounds 7 --json my-bench.json

In a round the engines, each in a process of its own, take turns at a prompt of 2 tokens, then of 8, of 128 and of 512, and
then at a token at a time after one of 2 (decode). All is float32. A peer is timed where Python finds its packages, or cargo:
llama.cpp, ONNX Runtime, PyTorch and Candle. One whose logits are not ours is an error, not a number.

Numbers are medians over the rounds: tokens a second, and ours as a part of another's in the same round. "limit" is what
the processor's multiply-adds and its reads of the same weights allow, measured beside ours in each round.
"""

import argparse
import array
import contextlib
import datetime
import importlib.util
import json
import math
import os
import platform
import re
import shlex
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.append(os.path.join(ROOT, "reference"))

import npyfile  # noqa: E402
from contract import Refused, read_config, weight_shapes  # noqa: E402
from engines import CACHE, run  # noqa: E402

OURS, LIMIT = "checkpoint12", "limit"
PIP = f"{sys.executable} -m pip install "
PEERS = {  # name: module in peers, its packages or programs, what installs them
    "llama.cpp": ("llamacpp", ("llama_cpp", "gguf"), PIP + "llama-cpp-python gguf numpy"),
    "ONNX Runtime": ("onnxrt", ("onnxruntime", "onnx"), PIP + "onnxruntime onnx numpy"),
    "PyTorch": ("pytorch", ("torch",), PIP + "torch numpy"),
    "Candle": ("candle", ("cargo", "numpy"), "https://rustup.rs, " + PIP + "numpy"),
}
PROMPTS = (2, 8, 128, 512)
COLUMNS = [f"prompt {n}" for n in PROMPTS] + ["decode"]
CHECKED = [7919 * i % 50 for i in range(1, 9)]  # the prompt whose last logits every peer must have as we have them
AGREE = 1e-3  # as a part of our largest
SMALL = {"model_type": "gpt2", "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05, "n_embd": 768, "n_head": 12,
         "n_layer": 12, "n_positions": 1024, "vocab_size": 50257}


def say(text):
    print(text, file=sys.stderr, flush=True)


def missing(name):
    """The packages and programs of a peer that are not there."""
    return [part for part in PEERS[name][1] if not shutil.which(part) and importlib.util.find_spec(part) is None]


def model_folder(model, scratch):
    """The folder of a model, made when it is not there."""
    if model not in ("medium", "small"):
        if read_config(model).positions < max(PROMPTS):
            raise Refused(f"{model}: has fewer than {max(PROMPTS)} positions")
        return os.path.abspath(model)
    folder = os.path.join(scratch, model, "model")
    if not all(os.path.exists(os.path.join(folder, name)) for name in ("config.json", "model.safetensors")):
        say(f"making {folder}")
        if model == "medium":
            run(["go", "run", ".", "synth", "synthetic-medium", "--out", folder], "go run . synth", cwd=ROOT)
        else:
            write_random(folder + ".part", SMALL)
            os.rename(folder + ".part", folder)
    return folder


def write_random(folder, raw, seed=1):
    """A model of random weights, gains around 1."""
    import numpy as np

    rng = np.random.default_rng(seed)
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(raw, f)
    shapes = {name: shape for name, shape in weight_shapes(read_config(folder)).items() if not name.startswith("lm_head.")}
    header, offset = {}, 0
    for name, shape in shapes.items():
        end = offset + 4 * math.prod(shape)
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [offset, end]}
        offset = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for name, shape in shapes.items():
            x = rng.standard_normal(shape, np.float32)
            x *= 0.2 if len(shape) == 1 or name.startswith("w") else shape[0] ** -0.5
            f.write((x + np.float32(name.endswith("weight") and len(shape) == 1)).astype("<f4").tobytes())


class Ours:
    """The Go GPT-2, by BenchmarkStep."""

    def __init__(self, folder, scratch, seconds):
        self.folder, self.seconds, self.binary = folder, seconds, os.path.join(scratch, "model.test")
        run(["go", "test", "-c", "-o", self.binary, "./model"], "go test -c ./model", cwd=ROOT)

    def logits(self):
        with tempfile.TemporaryDirectory() as scratch:
            out = os.path.join(scratch, "dump")
            run(["go", "run", ".", "dump", "--model", self.folder, "--tokens", ",".join(map(str, CHECKED)), "--new", "1",
                 "--stages", "logits_last", "--out", out], "go run . dump", cwd=ROOT)
            return npyfile.read(os.path.join(out, "step_00", "logits_last.npy"))[2]

    @contextlib.contextmanager
    def running(self, threads):
        """A function that times a column, and returns what parse reads."""
        def measure(column):
            command = [self.binary, "-test.run", "^$", "-test.cpu", str(threads), "-test.benchtime", f"{self.seconds}s", "-test.bench",
                       f"^BenchmarkStep$/^given$/^{column.replace(' ', '_')}$/^untapped$"]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=os.path.join(ROOT, "model"),
                                  env=os.environ | {"CHECKPOINT12_BENCH": self.folder}, stdin=subprocess.DEVNULL)
            if done.returncode:
                raise Refused(f"{OURS}: {' '.join(done.stdout.split())[:300]}")
            return done.stdout

        yield measure


class Peer:
    def __init__(self, name, folder, scratch, seconds, want):
        self.name, self.want, self.arguments = name, want, [PEERS[name][0], folder, scratch, str(seconds)]

    @contextlib.contextmanager
    def running(self, threads):
        """A function that times a column, of a worker that has our logits."""
        with tempfile.TemporaryDirectory() as scratch:
            logits, log = os.path.join(scratch, "logits"), os.path.join(scratch, "log")
            with open(log, "w", encoding="utf-8") as err, subprocess.Popen(
                    [sys.executable, "-m", "peers.worker", *self.arguments, str(threads), logits], text=True, stderr=err,
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=os.path.join(ROOT, "scripts")) as worker:
                def answer(line=""):
                    with contextlib.suppress(BrokenPipeError):
                        print(line, file=worker.stdin, flush=True)
                    if answered := worker.stdout.readline():
                        return answered
                    status = worker.wait()
                    with open(log, encoding="utf-8", errors="replace") as f:
                        lines = (f.read().strip() or f"exit status {status}").splitlines()
                    raise Refused(f"{self.name}: {lines[-1]}")

                try:
                    answer()
                    found = array.array("f")
                    with open(logits, "rb") as f:
                        found.frombytes(f.read())
                    agree(self.name, found, self.want)
                    yield lambda column: float(answer(column))
                finally:
                    worker.kill()


def agree(name, found, want):
    """Refused unless a peer's logits are ours within AGREE of our largest."""
    if len(found) != len(want):
        raise Refused(f"{name}: {len(found)} logits, {OURS} has {len(want)}")
    apart = max(abs(a - b) if math.isfinite(a) else math.inf for a, b in zip(found, want))
    largest = max(map(abs, want))
    if not apart <= AGREE * largest:
        raise Refused(f"{name}: its logits differ from {OURS}'s by {apart / largest:.1e} of their largest, more than {AGREE:g}: "
                      "it computes something else, so its speed is not told")


def parse(text):
    """column -> tokens a second of a benchmark's output, and the same of LIMIT, as {"limit": {...}}."""
    rates, shares = {}, {}
    for line in text.splitlines():
        if match := re.match(r"BenchmarkStep/given/(decode|prompt_\d+)/untapped(?:-\d+)?\s+\d+\s+(.*)", line):
            column, values = match[1].replace("_", " "), match[2].split()
            by_unit = {unit: float(value) for value, unit in zip(values[::2], values[1::2])}
            rates[column], shares[column] = by_unit["tokens/s"], by_unit
    if absent := [column for column in COLUMNS if column not in rates]:
        raise Refused(f"{OURS}: the benchmark gave no {absent[0]}: {' '.join(text.split())[-200:]}")
    read = 100 * rates["decode"] / shares["decode"]["%ofRead"]
    limit = {"decode": read}
    for n in PROMPTS:  # all weights are read once
        column = f"prompt {n}"
        limit[column] = min(100 * rates[column] / shares[column]["%ofFMA"], n * read)
    return rates | ({LIMIT: limit} if all(map(math.isfinite, limit.values())) else {})


def table(records, threads):
    """Lines of at most 80 characters: the medians of the rounds with so many threads."""
    found = {}  # engine -> a dict by column of each round
    for record in records:
        if record["threads"] == threads:
            for engine, rates in record["engines"].items():
                found.setdefault(engine, []).append(rates)
                if LIMIT in rates:
                    found.setdefault(LIMIT, []).append(rates[LIMIT])
    names = [OURS] + [name for name in PEERS if name in found] + [LIMIT] * (LIMIT in found)

    def row(name, cells):
        return f"| {name:<19} |" + "|".join(f" {cell:>{len(column)}} " for cell, column in zip(cells, COLUMNS)) + "|"

    lines = [row(f"tokens/s, {threads} thread{'s' * (threads > 1)}", COLUMNS), "|---|" + "---:|" * len(COLUMNS)]
    for name in names:
        lines.append(row(name, [f"{statistics.median(rates[c] for rates in found[name]):.1f}" for c in COLUMNS]))
    for name in names[1:]:
        lines.append(row(f"ours / {name}", [f"{statistics.median(ratios):.2f}" for ratios in (
            [ours[c] / other[c] for ours, other in zip(found[OURS], found[name])] for c in COLUMNS)]))
    return lines


def processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as f:
            if match := re.search(r"^model name\s*:\s*(.*)", f.read(), re.M):
                return match[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def chosen(given):
    """The names of the peers to time; Refused if one that is asked for is not there."""
    names = [name.strip() for name in given.split(",")] if given else list(PEERS)
    for name in names:
        if name not in PEERS and name != OURS:
            raise Refused(f"--engines: {name!r}: want some of {', '.join(PEERS)}, with commas between")
    there = []
    for name in names:
        if name != OURS and (packages := missing(name)):
            line = f"{name} is not timed, {' and '.join(packages)} missing: {PEERS[name][2]}"
            if given:
                raise Refused(line)
            say(line)
        elif name != OURS:
            there.append(name)
    return there


def numbers(text):
    found = [int(part) for part in text.split(",")]
    if min(found) < 1:
        raise ValueError
    return found


def measure(args, names):
    folder = model_folder(args.model, args.scratch)
    scratch = os.path.join(args.scratch, os.path.basename(os.path.dirname(folder)) if args.model in ("medium", "small")
                           else os.path.basename(folder))
    os.makedirs(scratch, exist_ok=True)
    ours = Ours(folder, scratch, args.seconds)
    want = ours.logits() if names else None
    engines = {OURS: ours} | {name: Peer(name, folder, scratch, args.seconds, want) for name in names}
    records = []
    for n in range(args.rounds):
        for threads in args.threads:
            record = {"round": n, "threads": threads}
            begin = time.monotonic()
            with contextlib.ExitStack() as stack:
                measures = {name: stack.enter_context(engine.running(threads)) for name, engine in engines.items()}
                found = {name: {} for name in engines}
                for column in COLUMNS:
                    for name, measure in measures.items():
                        found[name][column] = measure(column)
            record["engines"] = found | {OURS: parse("".join(found[OURS].values()))}
            say(f"round {n + 1}, threads {threads}: {time.monotonic() - begin:.0f} s")
            records.append(record)
            if args.pause and len(records) < args.rounds * len(args.threads):
                time.sleep(args.pause)
    return records


def main(argv=None):
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    p.add_argument("--model", default="medium", help="medium, small (GPT-2's 124M shape), or a folder (default: medium)")
    p.add_argument("--threads", type=numbers, default=[2], metavar="N,...", help="threads of each engine (default: 2)")
    p.add_argument("--rounds", type=int, default=5, metavar="N", help="default: 5")
    p.add_argument("--engines", metavar="NAME,...", help=f"peers: some of {', '.join(PEERS)}; or {OURS}, alone")
    p.add_argument("--seconds", type=float, default=1, help="that each column takes at least (default: 1)")
    p.add_argument("--pause", type=float, default=0, metavar="SECONDS", help="wait between rounds")
    p.add_argument("--scratch", default=os.path.join(CACHE, "bench"), metavar="DIR", help="for models and their conversions")
    p.add_argument("--json", metavar="FILE", help="write every round's numbers as JSON")
    args = p.parse_args(argv)
    try:
        if args.rounds < 1 or args.seconds <= 0:
            raise Refused("--rounds and --seconds: want more than 0")
        if args.json and not os.path.isdir(os.path.dirname(os.path.abspath(args.json))):
            raise Refused(f"--json {args.json}: its folder is not there")
        args.scratch = os.path.abspath(args.scratch)
        records = measure(args, chosen(args.engines))
    except Refused as e:
        print(f"bench: {e}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    about = {"command": shlex.join(["python3", "scripts/bench.py", *(sys.argv[1:] if argv is None else argv)]),
             "date": datetime.date.today().isoformat(), "processor": processor(), "rounds": args.rounds}
    print("`{command}`, {date}, {processor}, medians of {rounds}:".format(**about))
    for threads in args.threads:
        print("\n" + "\n".join(table(records, threads)))
    if args.json:
        with open(args.json, "w", encoding="utf-8") as f:
            json.dump(about | {"records": records}, f, indent=1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
