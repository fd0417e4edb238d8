"""Making, swapping in and checking goldens, on a micro model with the float64 engine of this Python."""

import dataclasses
import json
import os
import shutil
import sys
import textwrap

import numpy as np
import pytest

import check
import contract
import engines
import npyfile
import regenerate_goldens
from conftest import CONFIG, ROOT, random_weights, write_model
from test_dump import tree


@pytest.fixture
def call(micro, tmp_path, float64_engine, cases_file):
    """Runs the script on the micro model; goldens are in tmp_path/goldens."""
    def run(*arguments, engine=float64_engine, cases=cases_file):
        return regenerate_goldens.main(["--model", str(micro), "--out", str(tmp_path / "goldens"), *arguments],
                                       {engine.name: engine}, cases)
    return run


@pytest.fixture
def goldens(call, tmp_path):
    assert call() == 0
    return tmp_path / "goldens" / "micro"


def edit(path, change):
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def rewrite(golden, name, array):
    """Changes a file and its hash in the manifest, as a careless hand would."""
    np.save(golden / name, array)
    edit(golden / "manifest.json", lambda m: next(e for e in m["files"] if e["path"] == name).update(
        sha256=contract.sha256_file(golden / name)))


def test_goldens_are_dumps_that_follow_from_reference(call, goldens, capsys):
    assert sorted(os.listdir(goldens)) == ["pair", "short"] and os.listdir(goldens / "short") == ["float64"]
    manifest = json.loads((goldens / "short/float64/manifest.json").read_text())
    assert [entry["path"] for entry in manifest["exporter"]] == engines.ENGINES["float64"].source_files()
    assert manifest["model"]["name"] == "micro" and manifest["case"] == "short"
    assert call("--check") == 0 and call("--check-hashes") == 0
    assert "2 goldens checked, all follow from reference/" in capsys.readouterr().out


def test_an_engine_that_takes_long_is_made_only_when_named(call, float64_engine, tmp_path, capsys):
    slow = dataclasses.replace(float64_engine, only_named="takes long")
    assert call(engine=slow) == 2
    assert "only with --engine float64" in capsys.readouterr().err
    assert call("--engine", "float64", engine=slow) == 0
    assert sorted(os.listdir(tmp_path / "goldens/micro")) == ["pair", "short"]
    assert call("--engine", "float64", "--check", engine=slow) == 0
    slow = dataclasses.replace(slow, prepare=lambda say: pytest.fail("made ready without being named"))
    assert call("--check", engine=slow) == 0 and call("--check-hashes", engine=slow) == 0
    edit(tmp_path / "goldens/micro/short/float64/manifest.json", lambda m: m["exporter"][0].update(sha256="0" * 64))
    assert call("--check", engine=slow) == 1 and call("--check-hashes", engine=slow) == 1
    said = capsys.readouterr().out
    assert "has changed since" in said and "regenerate_goldens.py --engine float64 makes them again" in said


def test_an_engine_may_lack_what_it_says_and_nothing_else(call, goldens, float64_engine, capsys):
    rule = {"stages": "h.*.attn.scores", "steps": "all", "reason": "never has them"}
    edit(goldens / "short/float64/manifest.json", lambda m: m["left_out"].append(rule))
    assert call("--check-hashes") == 1
    assert "left_out is not what cases.json has" in capsys.readouterr().out
    assert call("--check-hashes", engine=dataclasses.replace(float64_engine, may_leave_out=("h.[*].attn.scores",))) == 0
    assert call("--check-hashes", engine=dataclasses.replace(float64_engine, may_leave_out=("h.[*].attn.probs",))) == 1


def test_plan_makes_nothing_and_knows_the_size(call, tmp_path, capsys):
    assert call("--plan") == 0
    planned = dict(line.rsplit(": ", 1) for line in capsys.readouterr().out.splitlines()[:-1])
    assert not (tmp_path / "goldens").exists()
    assert call() == 0
    for path, size in planned.items():
        folder = tmp_path / "goldens" / path
        real = sum(len(data) for name, data in tree(folder).items() if name.endswith(".npy"))
        assert size == f"{real / 1e6:.2f} MB"


def test_a_name_given_to_a_folder_is_the_models(call, tmp_path):
    assert call("--name", "mine", "--case", "short") == 0
    assert os.listdir(tmp_path / "goldens") == ["mine"]


def test_a_prompt_of_ones_own(call, tmp_path, capsys):
    mine = ["--tokens", "9,8", "--tokens", "7,6", "--new", "2", "--case", "mine"]
    assert call(*mine) == 0
    manifest = json.loads((tmp_path / "goldens/micro/mine/float64/manifest.json").read_text())
    assert (manifest["case"], manifest["tokens"], manifest["new"]) == ("mine", [[9, 8], [7, 6]], 2)
    assert manifest["left_out"] == [] and manifest["temperatures"] == [0.5, 2]
    assert call("--check", *mine) == 0 and call("--check-hashes", *mine) == 0
    for wrong in (mine[:-2], mine[:4] + mine[6:], [*mine, "--case", "two"]):
        with pytest.raises(SystemExit) as e:
            call(*wrong)
        assert e.value.code == 2 and "prompt of your own" in capsys.readouterr().err


@pytest.mark.parametrize("change, message", [
    ({"vocab_size": 14}, "case short: token id 14 is outside the vocabulary, 0 to 13"),
    ({"n_positions": 2}, "case short: it needs 4 positions, the model has 2")])
def test_cases_that_fit_no_model_are_refused_with_the_way_out(micro, call, capsys, change, message):
    (micro / "config.json").write_text(json.dumps({**CONFIG, **change}))
    assert call("--case", "short") == 2
    err = capsys.readouterr().err
    assert message in err and "--tokens 1,2,3 --new 10 --case mine" in err and err.count("\n") == 1
    assert call("--tokens", "14", "--new", "9", "--case", "mine") == 2


def test_a_case_that_does_not_fit_is_left_out_beside_one_that_does(micro, call, tmp_path, capsys):
    config, weights = {**CONFIG, "vocab_size": 14}, random_weights()
    write_model(tmp_path / "small", config, {**weights, "wte.weight": weights["wte.weight"][:14]})
    assert call("--model", str(tmp_path / "small")) == 0
    assert os.listdir(tmp_path / "goldens/small") == ["pair"]
    assert "small: case short is left out: token id 14 is outside" in capsys.readouterr().err


FAILING = textwrap.dedent("""
    import sys
    sys.path[:0] = [sys.argv.pop(1)]
    import dump
    def open_model(job):
        def step(tokens, writer):
            if job.case == "pair" and writer.step == 1:
                sys.exit("out of memory")
            return zeros(tokens, writer)
        import numpy as np, contract
        def zeros(tokens, writer):
            for stage in contract.stages(job.config, job.temperatures):
                shape = contract.shape_of(stage, job.config, len(tokens), *job.positions(writer.step))
                writer.put(stage, np.zeros(shape, np.int64 if stage == "next_token" else np.float32))
            return [0] * len(tokens)
        return step
    sys.exit(dump.main("x", {"name": "float64", "version": "0", "dtype": "float32"}, ["reference/dump.py"], open_model))
""")


def test_an_exporter_that_fails_midway_changes_nothing(call, goldens, tmp_path, capsys):
    (tmp_path / "failing.py").write_text(FAILING)
    failing = engines.Engine("float64", ("reference/dump.py",), lambda say: [sys.executable, str(tmp_path / "failing.py"),
                                                         os.path.join(ROOT, "reference")])
    before = tree(goldens)
    assert call(engine=failing) == 2
    after = tree(goldens)
    assert "pair" in capsys.readouterr().err
    assert {n: d for n, d in after.items() if n.startswith("pair")} == {n: d for n, d in before.items() if n.startswith("pair")}
    assert os.listdir(goldens / "pair") == ["float64"]
    assert os.listdir(tmp_path / "goldens") == ["micro"]  # no scratch folder is left
    # The other golden was made whole and swapped in whole.
    assert check.integrity(str(goldens / "short/float64")) == []
    assert json.loads(after["short/float64/manifest.json"])["engine"]["version"] == "0"


def test_a_rename_that_fails_puts_the_old_golden_back(call, goldens, monkeypatch):
    import dump
    before, rename = tree(goldens), os.rename

    def failing(source, target):
        if str(target).endswith("float64") and ".regenerate-" in str(source):
            raise OSError(28, "No space left on device", source)
        rename(source, target)
    monkeypatch.setattr(dump.os, "rename", failing)
    assert call() == 2
    assert tree(goldens) == before and sorted(os.listdir(goldens / "short")) == ["float64"]


def test_what_killed_runs_left_is_put_back_or_removed_and_a_living_ones_is_not(call, goldens, tmp_path, float64_engine):
    before = tree(goldens)
    for aside in ("short/.float64.moved", "pair/.float64.swapped"):
        (goldens / aside).mkdir()
        shutil.copytree(goldens / aside / "../float64", goldens / aside / "old")
    shutil.rmtree(goldens / "short/float64")
    (goldens / "pair/.float64.moving").mkdir()
    for scratch in ("killed", "living"):
        (tmp_path / "goldens" / f".regenerate-{scratch}").mkdir()
    assert regenerate_goldens.hold(tmp_path / "goldens/.regenerate-living")
    broken = dataclasses.replace(float64_engine, prepare=lambda say: ["false"])
    assert call(engine=broken) == 2 and tree(goldens) == before
    assert sorted(os.listdir(tmp_path / "goldens")) == [".regenerate-living", "micro"]


def test_what_is_no_golden_is_not_replaced(call, tmp_path, capsys):
    precious = tmp_path / "goldens/micro/short/float64"
    precious.mkdir(parents=True)
    (precious / "thesis.tex").write_text("x")
    assert call() == 2
    assert "no golden" in capsys.readouterr().err and os.listdir(precious) == ["thesis.tex"]
    (precious / "thesis.tex").unlink()
    assert call() == 0
    (precious / "step_00/thesis.tex").write_text("x")
    assert call() == 2
    assert "step_00/thesis.tex: is in no manifest" in capsys.readouterr().err and (precious / "step_00/thesis.tex").exists()


def values(name, change):
    """Changes the values of a file, and its hash in the manifest."""
    def damage(golden):
        array = np.load(golden / name)
        change(array)
        rewrite(golden, name, array)
    return damage


def manifest(change):
    return lambda golden: edit(golden / "manifest.json", change)


def nudge(by):
    """Moves one value by a part of its bound."""
    def change(array):
        array.flat[3] += by * check.RELATIVE * np.abs(array).max()
    return change


def without(name):
    return lambda m: m.update(files=[entry for entry in m["files"] if entry["path"] != name])


LN_F, SCORES, EMBED, NEXT = "step_00/ln_f.npy", "step_00/h.0.attn.scores.npy", "step_00/embed.npy", "step_02/next_token.npy"


@pytest.mark.parametrize("damage, names, without_running", [
    (values("step_01/h.1.mlp.act.npy", nudge(3)), "step_01/h.1.mlp.act.npy", False),
    (values(NEXT, lambda a: np.add(a, 1, out=a)), NEXT, False),
    (values(LN_F, lambda a: a.put(0, np.nan)), LN_F, False),
    (values(SCORES, lambda a: np.nan_to_num(a, copy=False, neginf=-1e9)), SCORES, False),
    (lambda golden: (golden / EMBED).write_bytes((golden / EMBED).read_bytes()[:-1] + b"\x7f"), EMBED, True),
    (lambda golden: (golden / LN_F).unlink(), LN_F, True),
    (lambda golden: [(golden / LN_F).unlink(), manifest(without(LN_F))(golden)], "files", False),
    (lambda golden: np.save(golden / "step_00/h.9.ln_1.npy", np.zeros(1, np.float32)), "step_00/h.9.ln_1.npy", True),
    (manifest(lambda m: m["exporter"][0].update(sha256="0" * 64)), "reference/contract.py", True),
    (manifest(lambda m: m["exporter"].pop()), "reference/float64/requirements.txt", True),
    (manifest(lambda m: m["engine"].update(version="0.1")), "engine", False),
    (manifest(lambda m: m["left_out"][0].update(reason="because")), "left_out", True),
    (manifest(lambda m: m.update(tokens=[[3, 15]])), "tokens", True),
    (manifest(lambda m: m["model"].update(weights_sha256="0" * 64)), "model", False),
    (lambda golden: (golden / "manifest.json").write_text("{"), "manifest.json", True),
    (lambda golden: golden.rename(golden.parent / "elsewhere"), "manifest.json", True),
], ids=["value", "id", "nan", "mask", "bytes", "no file", "no file and entry", "another file", "source changed", "source forgotten",
        "version", "rule", "prompt", "weights", "broken manifest", "no golden"])
def test_check_names_a_file_that_does_not_follow(call, goldens, capsys, damage, names, without_running):
    damage(goldens / "short/float64")
    capsys.readouterr()
    assert call("--check", "--case", "short") == 1
    out = capsys.readouterr().out
    assert names in out and str(goldens) in out
    assert call("--check-hashes", "--case", "short") == (1 if without_running else 0)
    out = capsys.readouterr().out
    assert (names in out) is without_running
    assert call("--check", "--case", "pair") == 0 and call("--check-hashes", "--case", "pair") == 0


def test_a_value_within_the_bound_passes(call, goldens):
    values("step_01/ln_f.npy", nudge(0.5))(goldens / "short/float64")
    assert call("--check", "--case", "short") == 0


def test_probabilities_may_move_as_far_as_their_logits_did():
    entry = {"stage": "probs_t0.5", "step": 3, "path": "step_03/probs_t0.5.npy"}
    assert check.bound_of(entry, 0.25, {3: 1e-4}) == pytest.approx(1e-6 + 2 * 1e-4 / 0.5 * 0.25)
    assert check.bound_of(entry, 0.25, {}) == check.RELATIVE * 0.25


def test_a_golden_of_no_case_is_named(call, goldens, capsys):
    (goldens / "short/float64").rename(goldens / "forgotten")
    assert call() == 0 and call("--check-hashes") == 1
    assert f"{goldens / 'forgotten'}" in capsys.readouterr().out


def test_a_golden_of_another_models_weights_is_named(call, goldens, micro, capsys):
    write_model(micro.parent / "other", weights=random_weights(seed=8))
    (micro.parent / "other/model.safetensors").replace(micro / "model.safetensors")
    assert call("--check", "--case", "short") == 1
    assert "model differs from a golden made again" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, message", [
    (["--case", "no-such"], "no-such"), (["--model", "no/such/folder"], "no/such/folder"),
    (["--model", "gpt2-xl"], "go run . fetch gpt2-xl")])
def test_bad_input_is_one_line_and_status_2(tmp_path, cases_file, float64_engine, micro, capsys, monkeypatch, arguments, message):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    monkeypatch.delenv("CHECKPOINT12_MODELS", raising=False)
    arguments = arguments if "--model" in arguments else ["--model", str(micro), *arguments]
    assert regenerate_goldens.main(arguments, {"float64": float64_engine}, cases_file) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1


@pytest.mark.parametrize("engine, tool", [("tinygrad", "clang"), ("candle", "cargo"), ("mistralrs", "cargo")])
def test_a_missing_tool_is_one_line_and_status_2(micro, tmp_path, cases_file, capsys, monkeypatch, engine, tool):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    assert regenerate_goldens.main(["--model", str(micro), "--engine", engine, "--out", str(tmp_path / "g")],
                                   engines.ENGINES, cases_file) == 2
    err = capsys.readouterr().err
    assert f"{tool}, which is not installed" in err and err.count("\n") == 1


def test_real_weights_are_found_where_python_and_go_put_them(micro, tmp_path, monkeypatch):
    import models
    repository = tmp_path / "hub/models--openai-community--gpt2-medium"
    for commit in ("aaa", "bbb"):
        write_model(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs/main").write_text("aaa\n")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.delenv("CHECKPOINT12_MODELS", raising=False)
    assert models.find("gpt2-medium", print) == ("gpt2-medium", str(repository / "snapshots/aaa"))
    write_model(tmp_path / "mine/gpt2-medium")
    monkeypatch.setenv("CHECKPOINT12_MODELS", str(tmp_path / "mine"))
    assert models.find("gpt2-medium", print) == ("gpt2-medium", str(tmp_path / "mine/gpt2-medium"))


@pytest.mark.parametrize("array", [np.arange(6, dtype="<f4").reshape(2, 3), np.array([7, -1], "<i8"), np.zeros((0, 3), "<f4"),
                                   np.array([[np.nan, np.inf]], "<f4"), np.float32(3).reshape(())])
def test_npy_reader_agrees_with_numpy(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    dtype, shape, values = npyfile.read(tmp_path / "a.npy")
    assert (dtype, shape) == (array.dtype.str, array.shape)
    np.testing.assert_array_equal(np.array(values, array.dtype).reshape(shape), array)


@pytest.mark.parametrize("array", [np.asfortranarray(np.ones((2, 3), "<f4")), np.ones(3, ">f4"), np.ones(3, "<f8")])
def test_npy_reader_refuses_other_layouts(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(npyfile.BadNpy):
        npyfile.read(tmp_path / "a.npy")


def test_npy_reader_refuses_a_cut_file(tmp_path):
    np.save(tmp_path / "a.npy", np.ones(30, "<f4"))
    whole = (tmp_path / "a.npy").read_bytes()
    for cut in range(len(whole)):
        (tmp_path / "a.npy").write_bytes(whole[:cut])
        with pytest.raises(npyfile.BadNpy):
            npyfile.read(tmp_path / "a.npy")


def test_max_difference_lets_no_nan_and_no_infinity_pass():
    inf, nan = float("inf"), float("nan")
    assert npyfile.max_difference([1.0, inf, -inf], [1.5, inf, -inf]) == (0.5, 0)
    for a, b in ((nan, 1.0), (1.0, nan), (nan, nan), (inf, -inf), (-inf, -1e30)):
        assert npyfile.max_difference([0.0, a], [0.0, b]) == (inf, 1)
