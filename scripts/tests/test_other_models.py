"""`compare --model` passes correct engines on models that have no goldens.

Weights as training begins with them, wider ones, and ones with heavy tails, whose logits reach into the tens and whose
softmax is nearly all in one place; in shapes of their own.
"""

import json
import subprocess

import numpy as np
import pytest

import contract
from conftest import CONFIG, command, parsed, write_model

PROMPT = "499,13,464,74,586,257,640"


def drawn(config, draw, seed):
    """name -> weight: matrices as draw gives them, gains around 1, biases of their own."""
    rng = np.random.default_rng(seed)
    weights = {}
    for name, shape in contract.weight_shapes(parsed(config)).items():
        if name.startswith("lm_head."):
            continue
        if ".ln_" in "." + name:
            a = 0.2 * rng.standard_normal(shape) + name.endswith("weight")
        elif name.endswith("bias"):
            a = 0.1 * rng.standard_normal(shape)
        else:
            a = draw(rng, shape)
        weights[name] = a.astype(np.float32)
    return weights


MODELS = {
    "initialised": ({"n_embd": 80, "n_head": 5, "n_layer": 3}, lambda rng, shape: 0.02 * rng.standard_normal(shape)),
    "wide": ({"n_embd": 96, "n_head": 3, "n_layer": 4, "n_inner": 200}, lambda rng, shape: 0.08 * rng.standard_normal(shape)),
    "heavy tails": ({"n_embd": 96, "n_head": 3, "n_layer": 4}, lambda rng, shape: 0.04 * rng.standard_t(3, shape)),
}


@pytest.fixture(scope="module", params=MODELS)
def other(request, tmp_path_factory):
    """A model's folder and the float64 engine's dump of it."""
    folder = tmp_path_factory.mktemp("other")
    shape, draw = MODELS[request.param]
    config = {**CONFIG, "n_positions": 32, "n_ctx": 32, "vocab_size": 997, **shape}
    write_model(folder / "model", config, drawn(config, draw, seed=11))
    dump("float64", folder / "model", folder / "golden")
    return folder


def dump(engine, model, out, *more):
    subprocess.run([*command(engine), "--model", model, "--name", "other", "--tokens", PROMPT, "--new", "6", *more, "--out", out],
                   check=True, capture_output=True)


@pytest.mark.parametrize("engine", ["tinygrad", "candle"])
def test_no_alarm(checkpoint12, other, tmp_path, engine):
    fed = np.load(other / "golden/tokens.npy")[0, 7:-1]
    dump(engine, other / "model", tmp_path / "mine", "--feed", ",".join(map(str, fed)))
    done = subprocess.run([checkpoint12, "compare", "--golden", other / "golden", "--candidate", tmp_path / "mine",
                           "--model", other / "model", "--require-all", "--json", tmp_path / "report.json"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["verdict"] == "pass" and report["introduced"] == report["missing"] == report["violations"] == []
    assert report["compared"] >= 6 * (3 * 17 + 9) and {s["status"] for s in report["stages"]} == {"pass"}
