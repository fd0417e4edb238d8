"""Exports a dump of GPT-2 computed by gpt2.py, plain numpy in float64, rounded to float32 in the files.

    python3 reference/float64/export.py --model DIR --name synthetic-tiny --tokens 15496,13 --new 10 --out DUMP
"""

import os
import sys

import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [os.path.dirname(HERE), HERE]

import dump  # noqa: E402
import gpt2  # noqa: E402

ENGINE = {"name": "float64", "version": np.__version__, "dtype": "float64"}
SOURCES = ["reference/contract.py", "reference/dump.py", "reference/float64/export.py", "reference/float64/gpt2.py",
           "reference/float64/requirements.txt"]


def open_model(job):
    model = gpt2.load(job.model)
    cache = model.new_cache(len(job.tokens))

    def step(tokens, writer):
        def tap(stage, array):
            if writer.wants(stage):
                writer.put(stage, array if array.dtype == np.int64 else array.astype(np.float32))

        return model.step(tokens, cache, tap, job.temperatures)

    return step


if __name__ == "__main__":
    sys.exit(dump.main(__doc__.splitlines()[0], ENGINE, SOURCES, open_model))
