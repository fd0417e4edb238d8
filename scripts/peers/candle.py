"""Candle, by a program that answers a line of tokens with the logits of the last."""

import os
import shutil
import subprocess

import numpy as np

CONVERTED = "candle-peer"
HERE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "candle")
TARGET = os.path.join(HERE, "..", "..", "..", "reference", "candle", "target")  # has some of its crates


def convert(config, weights, path):
    """Builds the program, which takes any model."""
    target = os.path.abspath(os.environ.get("CARGO_TARGET_DIR", TARGET))
    subprocess.run(["cargo", "build", "--release", "--locked", "--quiet", "--target-dir", target], cwd=HERE, check=True)
    shutil.copy(os.path.join(target, "release", "candle-peer"), path)


class Engine:
    def __init__(self, path, config, weights, threads):
        self.size = 4 * config.vocab
        files = sorted({os.fspath(x.filename) for x in weights.values()})
        config = os.path.join(os.path.dirname(files[0]), "config.json")
        self.program = subprocess.Popen([path, config, *files], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        env=os.environ | {"RAYON_NUM_THREADS": str(threads)})

    def start(self, tokens):
        return self.feed("start", tokens)

    def step(self, token):
        return self.feed("step", [token])

    def feed(self, word, tokens):
        self.program.stdin.write(" ".join([word, *map(str, tokens)]).encode() + b"\n")
        self.program.stdin.flush()
        logits = self.program.stdout.read(self.size)
        if len(logits) < self.size:
            raise RuntimeError(f"candle-peer: exit status {self.program.wait()}")
        return np.frombuffer(logits, "<f4")
