"""The exporters agree on a micro model, in every form of weights; an engine that is not here is skipped out loud."""

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import contract
import gpt2
from conftest import CONFIG, ROOT, command, parsed, random_weights, write_model, write_safetensors

def export(engine, model, out, *more, status=0):
    done = subprocess.run([*command(engine), "--model", str(model), "--name", "micro", "--temperatures", "0.5,2", "--out", str(out),
                           *more], capture_output=True, text=True)
    assert done.returncode == status, done.stderr
    return done.stderr


def values(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    return {entry["path"]: np.load(folder / entry["path"]) for entry in manifest["files"]}


ENGINES = ["float64", "tinygrad", "candle", "transformers"]


def widened(a, dtype):
    """Float32 weights after they were stored as dtype."""
    if dtype == "F16":
        return a.astype(np.float16).astype(np.float32)
    return ((a.view(np.uint32) >> 16) << 16).view(np.float32) if dtype == "BF16" else a


def real_layout(folder, weights, dtype):
    """As files of real models are: two shards, the transformer. prefix, mask buffers, a header that ends anywhere."""
    named = {("" if name.startswith("lm_head") else "transformer.") + name: a for name, a in weights.items()}
    for n in range(2):
        named[f"transformer.h.{n}.attn.bias"] = np.tril(np.ones((1, 1, 12, 12), np.uint8))
        named[f"transformer.h.{n}.attn.masked_bias"] = np.float32(-1e4).reshape(())
    folder.mkdir()
    files = {"model-00001-of-00002.safetensors": list(named)[:9], "model-00002-of-00002.safetensors": list(named)[9:]}
    for file, names in files.items():
        write_safetensors(folder / file, {name: named[name] for name in names}, dtype, pad=3)
    (folder / "model.safetensors.index.json").write_text(json.dumps(
        {"weight_map": {name: file for file, names in files.items() for name in names}}))


@pytest.mark.parametrize("engine, dtype", [("float64", "F32"), ("float64", "F16"), ("float64", "BF16"), ("candle", "F32"),
                                           ("candle", "F16"), ("candle", "BF16"), ("tinygrad", "BF16"),
                                           ("transformers", "BF16")])
def test_engines_agree_whatever_the_weights_are_stored_as(tmp_path, engine, dtype):
    """A batch, tokens fed, stages left out, an untied head and an MLP of its own width, against gpt2.py in memory."""
    config = {**CONFIG, "n_inner": 20}
    weights = random_weights(config, lm_head=True)
    real_layout(tmp_path / "real", weights, dtype)
    (tmp_path / "real/config.json").write_text(json.dumps(config))
    rules = [{"stages": "logits", "steps": "1-", "reason": "size"}, {"stages": "h.1.attn.scores", "steps": "0", "reason": "size"}]
    (tmp_path / "rules.json").write_text(json.dumps([*rules, {"stages": "x", "steps": "all", "reason": "matches nothing"}]))
    export(engine, tmp_path / "real", tmp_path / "out", "--tokens", "3,14,15", "--tokens", "92,65,35", "--new", "3",
           "--feed", "8,9", "--feed", "79,3", "--case", "pair", "--rules", str(tmp_path / "rules.json"))

    model, want = gpt2.GPT2(parsed(config), {name: widened(a, dtype) for name, a in weights.items()}), {}
    tokens = gpt2.greedy(model, [[3, 14, 15], [92, 65, 35]], 3, lambda k, stage, a: want.setdefault((k, stage), a), (0.5, 2),
                         feed=[[8, 9], [79, 3]])
    for left_out in ((1, "logits"), (2, "logits"), (0, "h.1.attn.scores")):
        del want[left_out]
    got = values(tmp_path / "out")
    assert got.pop("tokens.npy").tolist() == tokens.tolist()
    assert set(got) == {f"step_{k:02d}/{stage}.npy" for k, stage in want}
    for (k, stage), a in want.items():
        b, finite = got[f"step_{k:02d}/{stage}.npy"], np.isfinite(a)
        np.testing.assert_array_equal(b[~finite], a[~finite], stage)
        bound = 0 if a.dtype == np.int64 else 1e-5 * np.abs(a[finite]).max()
        np.testing.assert_allclose(b[finite], a[finite], rtol=0, atol=bound, err_msg=f"{k} {stage}")

    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert manifest["model"] == {"name": "micro", "config": config, "weights_sha256": contract.weights_sha256(
        contract.weight_files(str(tmp_path / "real")))}
    assert (manifest["tokens"], manifest["new"], manifest["temperatures"]) == ([[3, 14, 15], [92, 65, 35]], 3, [0.5, 2])
    assert manifest["left_out"] == rules and manifest["case"] == "pair" and "prompt" not in manifest
    assert manifest["engine"]["name"] == engine
    assert manifest["engine"]["dtype"] == ("float64" if engine == "float64" else "float32")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_lowest_id_wins_a_tie(tmp_path, engine):
    weights = random_weights()
    weights["wte.weight"][:] = weights["wte.weight"][3]  # so all logits are equal
    export(engine, write_model(tmp_path / "ties", weights=weights), tmp_path / "out", "--tokens", "3,14", "--new", "1")
    got = values(tmp_path / "out")
    assert np.ptp(got["step_00/logits_last.npy"]) == 0 and got["step_00/next_token.npy"].tolist() == [0]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("change, names", [
    (lambda w: w.pop("h.1.ln_2.bias"), "h.1.ln_2.bias"),
    (lambda w: w.update({"h.7.ln_1.bias": np.zeros(8, np.float32)}), "h.7.ln_1.bias"),
    (lambda w: w.update({"ln_f.bias": np.zeros(9, np.float32)}), "ln_f.bias"),
    (lambda w: w.update({"transformer.ln_f.bias": np.zeros(8, np.float32)}), "ln_f.bias"),
    (lambda w: w.update({"ln_f.bias": np.full(8, np.nan, np.float32)}), "finite"),
], ids=["missing", "surplus", "misshapen", "twice", "nan"])
def test_bad_weights_are_one_line_and_status_2(tmp_path, engine, change, names):
    weights = random_weights()
    change(weights)
    model = write_model(tmp_path / "bad", weights=weights)
    err = export(engine, model, tmp_path / "out", "--tokens", "3,14", "--new", "2", status=2)
    assert names in err and len(err.strip().splitlines()) == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("engine", ["tinygrad", "float64", "transformers"])
def test_every_module_that_an_exporter_loads_is_in_its_manifest(micro, tmp_path, engine):
    sources = f"""
import sys, runpy
sys.argv = ["export.py", "--help"]
try:
    runpy.run_path({os.path.join(ROOT, 'reference', engine, 'export.py')!r}, run_name="__main__")
except SystemExit:
    pass
for module in list(sys.modules.values()):
    print(getattr(module, "__file__", None))
"""
    done = subprocess.run([command(engine)[0], "-c", sources], capture_output=True, text=True, check=True)
    home = os.path.join(ROOT, "reference") + os.sep
    loaded = {os.path.relpath(line, ROOT).replace(os.sep, "/") for line in done.stdout.splitlines() if line.startswith(home)}
    import engines
    assert {"reference/dump.py", "reference/contract.py"} <= loaded <= set(engines.ENGINES[engine].source_files())
    export(engine, micro, tmp_path / "out", "--tokens", "3", "--new", "1")
    manifest = json.loads((tmp_path / "out/manifest.json").read_text())
    assert [entry["path"] for entry in manifest["exporter"]] == engines.ENGINES[engine].source_files()


def test_tinygrad_names_the_missing_compiler(micro, tmp_path):
    command("tinygrad")
    done = subprocess.run([*command("tinygrad"), "--model", str(micro), "--name", "micro", "--tokens", "3", "--new", "1",
                           "--out", str(tmp_path / "out")], capture_output=True, text=True, env={**os.environ, "CC": "no-such-clang"})
    assert done.returncode == 2
    assert "no-such-clang is not installed" in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("engine", ["candle", "mistralrs"])
def test_a_rust_exporter_names_the_sources_that_engines_py_lists(engine):
    import engines
    folder = os.path.join(ROOT, "reference", engine)
    with open(os.path.join(folder, "src", "sources.rs"), encoding="utf-8") as f:
        assert re.findall(r'^    "(.*)"$', f.read(), re.M) == engines.ENGINES[engine].source_files()
    with open(os.path.join(folder, "src", "lib.rs"), encoding="utf-8") as f:
        shared = re.findall(r'#\[path = "../../candle/src/(\w+).rs"\]', f.read())
    assert shared == (engines.OF_CANDLE if engine == "mistralrs" else [])
