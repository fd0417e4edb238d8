"""Times one peer in a process of its own.

  cd scripts && python3 -m peers.worker MODULE FOLDER SCRATCH SECONDS THREADS LOGITS

A line is answered by a line: the name of a column by tokens a second, of as many calls as take SECONDS, at least one, after
one that is not counted; the first line, an empty one, once LOGITS has those of the last token of bench.CHECKED, in float32.
"""

import importlib
import os
import sys
import time

import numpy as np

from bench import CHECKED
from contract import find_weights, read_config

LONGEST = 128  # positions at which decoding starts again


def read_model(folder):
    """(config, name -> array) of a model in float32, mapped into memory."""
    config = read_config(folder)
    return config, {name: np.memmap(weight.path, "<f4", "r", weight.offset, weight.shape)
                    for name, weight in find_weights(folder, config).items()}


def converted(module, config, weights, scratch):
    """The path of a model converted for a peer, made if it is not there; None for one that takes the weights."""
    if not module.CONVERTED:
        return None
    path = os.path.join(scratch, module.CONVERTED)
    if not os.path.exists(path):
        module.convert(config, weights, path + ".part")
        os.rename(path + ".part", path)
    return path


def timed(seconds, call):
    """Calls a second, of as many as take so many seconds in all."""
    spent = calls = 0
    while not calls or spent < seconds:
        begin = time.perf_counter()
        call()
        spent += time.perf_counter() - begin
        calls += 1
    return calls / spent


def measure(engine, vocab, column, seconds):
    """Tokens a second of one of bench.COLUMNS."""
    if column != "decode":
        n = int(column.removeprefix("prompt "))
        tokens = [7919 * i % vocab for i in range(n)]
        engine.start(tokens)
        return n * timed(seconds, lambda: engine.start(tokens))
    spent = fed = 0
    while not fed or spent < seconds:
        engine.start([7, 11])
        engine.step(13)
        begin = time.perf_counter()
        for _ in range(LONGEST - 3):
            engine.step(13)
            fed += 1
            if time.perf_counter() - begin + spent >= seconds:
                break
        spent += time.perf_counter() - begin
    return fed / spent


def main(module, folder, scratch, seconds, threads, logits):
    module = importlib.import_module("peers." + module)
    config, weights = read_model(folder)
    engine = module.Engine(converted(module, config, weights, scratch), config, weights, int(threads))
    engine.start(CHECKED).astype("<f4").tofile(logits)
    for line in sys.stdin:
        print(measure(engine, config.vocab, line.strip(), float(seconds)) if line.strip() else "ready", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
