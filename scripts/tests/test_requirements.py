"""Every requirement is locked: by version, and by the hashes of what may be installed.

In the folder of each requirements.txt: uv pip compile --universal --generate-hashes --no-header --no-annotate
--python-version 3.11 -o requirements.lock requirements.txt
For transformers --no-emit-package each of triton cuda-bindings cuda-pathfinder nvidia-cusolver nvidia-nvtx nvidia-cuda-cccl
too, which torch does not load on a CPU.
"""

import os
import re

import pytest

import engines

FILES = ("reference/float64", "reference/tinygrad", "reference/transformers", "scripts", ".ci", ".ci/browser")


def pins(path):
    """The requirements that a file pins, those of files that it includes too."""
    with open(path) as f:
        for line in f:
            if line.startswith("-r "):
                yield from pins(os.path.join(os.path.dirname(path), line[3:].strip()))
            else:
                yield line.strip()


@pytest.mark.parametrize("folder", FILES)
def test_lock(folder):
    with open(os.path.join(engines.ROOT, folder, "requirements.lock")) as f:
        locked = re.sub(r"\\\n", "", f.read()).splitlines()
    for line in locked:
        assert re.fullmatch(r"[a-z0-9-]+==[^ ]+( ; [^-]+)?( +--hash=sha256:[0-9a-f]{64})+", line), line
    names = [line.split(" ")[0] for line in locked]
    for pin in pins(os.path.join(engines.ROOT, folder, "requirements.txt")):
        assert pin.replace("_", "-") in names, f"{folder}/requirements.lock does not follow from requirements.txt: {__doc__}"
