"""A quantised engine passes on its weights, which are named; on the model's it is wrong."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT, random_weights, write_model

import quantised

TOKENS = "3,1,4,1,5"


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    """A model wide enough for groups of 32."""
    config = {"model_type": "gpt2", "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05, "n_ctx": 12, "n_embd": 64,
              "n_head": 2, "n_inner": None, "n_layer": 2, "n_positions": 12, "vocab_size": 97}
    return write_model(tmp_path_factory.mktemp("wide") / "wide", config, random_weights(config))


def export(program, model, out, *arguments):
    command = [sys.executable, os.path.join(ROOT, "reference/float64", program), "--model", str(model), "--name", "wide",
               "--tokens", TOKENS, "--new", "3", "--out", str(out), *arguments]
    subprocess.run(command, check=True)
    return out


@pytest.mark.parametrize(("scheme", "named", "bits"), [
    ("int8", "int8 by column, steps ", 8),
    ("q4_0", "int4 by groups of 32 down the columns, steps ", 4),
])
def test_a_quantised_engine_passes_on_its_weights(checkpoint12, wide, tmp_path, scheme, named, bits):
    golden = export("export.py", wide, tmp_path / "golden")
    mine = export("quantised.py", wide, tmp_path / "mine", "--scheme", scheme)

    def compare():
        report = tmp_path / "r.json"
        done = subprocess.run([checkpoint12, "compare", "--golden", golden, "--candidate", mine, "--model", wide, "--json", report],
                              capture_output=True, text=True)
        return done, json.loads(report.read_text())

    done, report = compare()
    assert done.returncode == 0, done.stdout + done.stderr
    assert report["verdict"] == "pass" and report["first_divergence"] is None
    by_name = {w["stage"]: w for w in report["weights"]}
    assert len(by_name) == 9 and all(w["status"] == "pass" and w["quantised"]["bits"] == bits for w in by_name.values())
    assert by_name["h.1.mlp.c_fc.weight"]["difference"].startswith(named)
    assert report["weights_cost"]["max_abs"] > 0 and report["weights_cost"]["tokens"] == 3

    os.remove(mine / "weights.safetensors")
    done, report = compare()
    assert done.returncode == 1 and report["introduced"], done.stdout


def test_levels_are_those_of_llama_cpp():
    w = np.linspace(-1, 0.9, 32, dtype=np.float32)[:, None]
    levels = quantised.q4_0(w)[:, 0] * 8
    assert levels.min() == -8 and levels.max() == 7 and np.all(levels == np.rint(levels))
