import hashlib
import json
import os

import numpy as np
import pytest
from conftest import CONFIG

import contract
import dump


def arguments(micro, out, *more):
    return ["--model", str(micro), "--name", "micro", "--tokens", "3,14", "--new", "3", "--out", str(out), *more]


def zeros(fail_at=None, change=lambda step, stage, array: array):
    """An engine that computes nothing: every stage is zeros, the next token is 5."""
    def open_model(job):
        def step(tokens, writer):
            t, p = job.positions(writer.step)
            for stage in dump.stages(job.config, job.temperatures):
                if (writer.step, stage) == fail_at:
                    raise RuntimeError("engine failed")
                shape = contract.shape_of(stage, job.config, len(tokens), t, p)
                array = np.full(shape, 5, np.int64) if stage == "next_token" else np.zeros(shape, np.float32)
                writer.put(stage, change(writer.step, stage, array))
            return [5] * len(tokens)
        return step
    return open_model


def run(arguments, open_model=zeros()):
    return dump.main("test", {"name": "zeros", "version": "1", "dtype": "float32"}, ["reference/dump.py"], open_model, arguments)


def tree(folder):
    return {os.path.relpath(os.path.join(parent, name), folder): open(os.path.join(parent, name), "rb").read()
            for parent, _, names in os.walk(folder) for name in names}


def test_manifest_is_the_contracts(micro, tmp_path):
    rules = tmp_path / "rules.json"
    rules.write_text(json.dumps([{"stages": "h.*.attn.scores", "steps": "all", "reason": "never formed"},
                                 {"stages": "no.such", "steps": "all", "reason": "matches nothing"}]))
    out = tmp_path / "dumps" / "zeros"
    assert run(arguments(micro, out, "--case", "short", "--prompt", "ab", "--temperatures", "0.5,2", "--rules", str(rules))) == 0
    manifest = json.loads((out / "manifest.json").read_text())
    files = manifest.pop("files")
    assert manifest == {
        "schema": 1,
        "model": {"name": "micro", "config": CONFIG,
                  "weights_sha256": hashlib.sha256((micro / "model.safetensors").read_bytes()).hexdigest()},
        "case": "short", "prompt": "ab", "tokens": [[3, 14]], "new": 3, "temperatures": [0.5, 2],
        "engine": {"name": "zeros", "version": "1", "dtype": "float32"},
        "exporter": [{"path": "reference/dump.py", "sha256": hashlib.sha256(open(dump.__file__, "rb").read()).hexdigest()}],
        "left_out": [{"stages": "h.*.attn.scores", "steps": "all", "reason": "never formed"}]}
    assert {"path": "step_00/wte.npy", "step": 0, "stage": "wte", "shape": [1, 2, 8], "dtype": "float32",
            "sha256": hashlib.sha256((out / "step_00/wte.npy").read_bytes()).hexdigest()} in files
    assert files[-1] == {"path": "tokens.npy", "shape": [1, 5], "dtype": "int64",
                         "sha256": hashlib.sha256((out / "tokens.npy").read_bytes()).hexdigest()}
    assert {"manifest.json"} | {entry["path"] for entry in files} == set(tree(out))
    assert not any("scores" in entry["path"] for entry in files)
    assert len(files) == 3 * (len(contract.stages(contract.read_config(micro), [0.5, 2])) - 2) + 1
    np.testing.assert_array_equal(np.load(out / "tokens.npy"), [[3, 14, 5, 5, 5]])


def test_case_and_prompt_may_be_absent(micro, tmp_path):
    assert run(arguments(micro, tmp_path / "out")) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert "case" not in manifest and "prompt" not in manifest and manifest["left_out"] == []


def test_npy_bytes_are_little_endian_c_order_and_aligned(micro, tmp_path):
    def transposed(step, stage, array):
        return np.arange(array.size, dtype=">f4").reshape(array.shape[::-1]).T if stage == "wte" else array
    # A foreign byte order is what a careless exporter would hand over: refused, not converted.
    with pytest.raises(RuntimeError, match="wte"):
        run(arguments(micro, tmp_path / "out"), zeros(change=lambda s, n, a: a.astype(">f4") if n == "wte" else a))
    assert run(arguments(micro, tmp_path / "out"),
               zeros(change=lambda s, n, a: transposed(s, n, a).astype("<f4") if n == "wte" else a)) == 0
    data = (tmp_path / "out/step_00/wte.npy").read_bytes()
    start = 10 + int.from_bytes(data[8:10], "little")
    assert data[:8] == b"\x93NUMPY\x01\x00" and start % 64 == 0
    assert data[10:start].decode().strip() == "{'descr': '<f4', 'fortran_order': False, 'shape': (1, 2, 8), }"
    want = np.arange(16).reshape(8, 2, 1).T
    assert data[start:] == np.ascontiguousarray(want, "<f4").tobytes()


def test_feed_replaces_the_engines_choice_in_what_is_fed_alone(micro, tmp_path):
    assert run(arguments(micro, tmp_path / "out", "--feed", "7,8")) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "out/tokens.npy"), [[3, 14, 7, 8, 5]])
    np.testing.assert_array_equal(np.load(tmp_path / "out/step_01/next_token.npy"), [5])


@pytest.mark.parametrize("fail_at", [(0, "wte"), (1, "h.1.resid_post"), (2, "probs_t2")])
def test_an_engine_that_fails_leaves_what_stood_there(micro, tmp_path, fail_at):
    with pytest.raises(RuntimeError, match="engine failed"):
        run(arguments(micro, tmp_path / "d" / "new"), zeros(fail_at))
    assert os.listdir(tmp_path / "d") == []
    assert run(arguments(micro, tmp_path / "d" / "old")) == 0
    before = tree(tmp_path / "d")
    with pytest.raises(RuntimeError, match="engine failed"):
        run(arguments(micro, tmp_path / "d" / "old", "--feed", "7,8"), zeros(fail_at))
    assert tree(tmp_path / "d") == before and os.listdir(tmp_path / "d") == ["old"]


def test_a_dump_is_replaced_whole(micro, tmp_path):
    assert run(arguments(micro, tmp_path / "d" / "old")) == 0
    new = [argument if argument != "3" else "1" for argument in arguments(micro, tmp_path / "d" / "old")]
    assert run(new) == 0
    assert not (tmp_path / "d/old/step_01").exists() and os.listdir(tmp_path / "d") == ["old"]


@pytest.mark.parametrize("content", ["file", "folder"])
def test_what_is_no_dump_is_never_replaced(micro, tmp_path, capsys, content):
    out = tmp_path / "precious"
    if content == "file":
        out.write_text("x")
    else:
        out.mkdir()
        (out / "thesis.tex").write_text("x")
    assert run(arguments(micro, out)) == 2
    assert "not a dump" in capsys.readouterr().err
    assert out.read_text() == "x" if content == "file" else os.listdir(out) == ["thesis.tex"]


@pytest.mark.parametrize("change, message", [
    (lambda k, s, a: a.astype(np.float64) if s == "ln_f" else a, "float64"),
    (lambda k, s, a: a[..., :-1] if s == "h.0.attn.q" else a, "h.0.attn.q"),
    (lambda k, s, a: a.astype(np.float32) if s == "next_token" else a, "next_token"),
])
def test_a_wrong_dtype_or_shape_is_a_fault_of_the_exporter(micro, tmp_path, change, message):
    with pytest.raises(RuntimeError, match=message):
        run(arguments(micro, tmp_path / "out"), zeros(change=change))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("stage, value, ok", [
    ("ln_f", np.nan, False), ("ln_f", -np.inf, False), ("h.0.attn.scores", -np.inf, True),
    ("h.0.attn.scores", np.inf, False), ("h.0.attn.scores", np.nan, False)])
def test_nan_and_infinity_are_refused_but_in_masked_scores(micro, tmp_path, stage, value, ok):
    def change(k, s, a):
        if s == stage:
            a[..., -1] = value
        return a
    assert run(arguments(micro, tmp_path / "out"), zeros(change=change)) == (0 if ok else 2)
    assert (tmp_path / "out").exists() is ok


def test_a_stage_not_exported_and_not_left_out_is_a_fault_of_the_exporter(micro, tmp_path):
    def without(forgotten):
        def open_model(job):
            inner = zeros()(job)

            class Forgetful:
                def __init__(self, writer):
                    self.writer, self.step = writer, writer.step

                def put(self, stage, array):
                    if stage != forgotten:
                        self.writer.put(stage, array)
            return lambda tokens, writer: inner(tokens, Forgetful(writer))
        return open_model
    for stage in ("wte", "h.1.mlp.act", "probs_t2"):
        with pytest.raises(RuntimeError, match=stage):
            run(arguments(micro, tmp_path / "out"), without(stage))


@pytest.mark.parametrize("change, message", [
    (["--new", "0"], "--new"), (["--new", "12"], "13 positions"), (["--tokens", "1,2,3"], "different lengths"),
    (["--tokens", "1,97"], "97"), (["--feed", "1"], "--feed"), (["--feed", "1,-2"], "-2"),
    (["--rules", "no-such.json"], "no-such.json"), (["--model", "no-such-folder"], "no-such-folder")])
def test_bad_input_is_one_line_and_status_2(micro, tmp_path, capsys, change, message):
    assert run(arguments(micro, tmp_path / "out", *change)) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("change", [["--temperatures", "0"], ["--temperatures", "1,1"], ["--temperatures", "x"],
                                    ["--temperatures", "0.12345678"], ["--tokens", "1,,2"], ["--nonsense"]])
def test_bad_usage_is_status_2(micro, tmp_path, change):
    with pytest.raises(SystemExit) as e:
        run(arguments(micro, tmp_path / "out", *change))
    assert e.value.code == 2
