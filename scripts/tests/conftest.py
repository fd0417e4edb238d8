"""A micro GPT-2 with random weights, and engines that need nothing installed."""

import functools
import json
import os
import shutil
import struct
import subprocess
import sys

import numpy as np
import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, "scripts"), os.path.join(ROOT, "reference"), os.path.join(ROOT, "reference", "float64")]

import contract  # noqa: E402
import engines  # noqa: E402

CANDLE = os.path.join(ROOT, "reference", "candle", "target", "release", "candle-export")
CONFIG = {"model_type": "gpt2", "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05, "n_ctx": 12, "n_embd": 8,
          "n_head": 2, "n_inner": None, "n_layer": 2, "n_positions": 12, "vocab_size": 97}


def random_weights(config=CONFIG, seed=7, lm_head=False):
    rng = np.random.default_rng(seed)
    shapes = contract.weight_shapes(parsed(config))
    return {name: (rng.standard_normal(shape) * 0.5 + (name.endswith("weight") and ".ln_" in name)).astype(np.float32)
            for name, shape in shapes.items() if lm_head or not name.startswith("lm_head.")}


def parsed(config):
    return contract.Config(config["n_layer"], config["n_head"], config["n_embd"], config["n_inner"] or 4 * config["n_embd"],
                           config["vocab_size"], config["n_positions"], config["layer_norm_epsilon"], config)


def write_safetensors(path, weights, dtype="F32", pad=0):
    """pad more spaces than a multiple of 8, as in the 124M model's own file."""
    def data(a):
        if a.dtype == np.uint8:
            return a.tobytes()
        if dtype == "BF16":
            return (a.view("<u4") >> 16).astype("<u2").tobytes()
        return a.astype({"F32": "<f4", "F16": "<f2"}[dtype]).tobytes()

    header, blobs, offset = {"__metadata__": {"format": "pt"}}, [], 0
    for name, a in weights.items():
        blobs.append(data(a))
        header[name] = {"dtype": "U8" if a.dtype == np.uint8 else dtype, "shape": list(a.shape),
                        "data_offsets": [offset, offset + len(blobs[-1])]}
        offset += len(blobs[-1])
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8 + pad)
    path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(blobs))


def write_model(folder, config=CONFIG, weights=None, **options):
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    write_safetensors(folder / "model.safetensors", weights or random_weights(config), **options)
    return folder


def command(engine):
    """The engine's command, or a skip that names the missing tool."""
    if engine == "candle":
        if not os.access(CANDLE, os.X_OK):
            pytest.skip("candle-export is not built: cargo build --release --locked in reference/candle")
        return [CANDLE]
    if engine == "tinygrad":
        if subprocess.run([sys.executable, "-c", "from tinygrad import Tensor"], capture_output=True).returncode:
            pytest.skip("tinygrad is not installed: pip install -r reference/tinygrad/requirements.txt")
        if shutil.which(os.environ.get("CC", "clang")) is None:
            pytest.skip("clang is not installed: apt-get install clang")
    if engine == "transformers":
        return [torch_python(), os.path.join(ROOT, "reference", engine, "export.py")]
    return [sys.executable, os.path.join(ROOT, "reference", engine, "export.py")]


@functools.cache
def torch_python():
    """The Python that has torch and transformers, or a skip that says how it is had."""
    python = os.environ.get("CHECKPOINT12_TORCH", sys.executable)
    done = subprocess.run([python, "-c", "import torch, transformers"], capture_output=True, text=True)
    if done.returncode:
        assert not os.environ.get("CI"), f"{python}: {done.stderr}"
        pytest.skip("torch and transformers are not installed: pip install -r reference/transformers/requirements.txt, "
                    "and $CHECKPOINT12_TORCH to the python that has them")
    return python


@pytest.fixture(scope="session")
def checkpoint12(tmp_path_factory):
    """The program, built."""
    if shutil.which("go") is None:
        pytest.skip("go is not installed: see https://go.dev/dl")
    path = str(tmp_path_factory.mktemp("bin") / "checkpoint12")
    subprocess.run(["go", "build", "-o", path, "."], cwd=ROOT, check=True)
    return path


@pytest.fixture
def micro(tmp_path):
    return write_model(tmp_path / "micro")


@pytest.fixture
def float64_engine():
    """The float64 engine, run by this Python."""
    return engines.Engine("float64", engines.ENGINES["float64"].sources,
                          lambda say: [sys.executable, os.path.join(ROOT, "reference/float64/export.py")])


@pytest.fixture
def cases_file(tmp_path):
    path = tmp_path / "cases.json"
    path.write_text(json.dumps({"temperatures": [0.5, 2], "models": {"*": {
        "short": {"prompt": "ab", "tokens": [[3, 14]], "new": 3, "left_out": [
            {"stages": "logits", "steps": "1-", "reason": "one position"}]},
        "pair": {"tokens": [[1, 2, 3], [4, 5, 6]], "new": 2, "left_out": []}}}}))
    return str(path)
