"""The inventory follows from the goldens, and nothing that it lists can be lost or shortened unseen."""

import json
import os
import shutil

import pytest

import contract
import inventory
import regenerate_goldens
from conftest import ROOT


@pytest.fixture
def of(cases_file, float64_engine):
    """The cases of the micro model, by its name, and its engine."""
    with open(cases_file, encoding="utf-8") as f:
        content = json.load(f)
    content["models"]["micro"] = content["models"]["*"]
    with open(cases_file, "w", encoding="utf-8") as f:
        json.dump(content, f)
    return cases_file, {"float64": float64_engine}


@pytest.fixture
def goldens(micro, tmp_path, of):
    out = tmp_path / "goldens"
    assert regenerate_goldens.main(["--model", str(micro), "--name", "micro", "--out", str(out)], of[1], of[0]) == 0
    (out / "micro" / "figures.json").write_text("{}")
    inventory.write(str(out), *of)
    return out


def edit(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_the_committed_inventory_follows_from_the_goldens():
    assert inventory.problems(os.path.join(ROOT, "goldens")) == []


def test_lists_every_manifest_and_file_of_figures(goldens, of):
    assert inventory.problems(str(goldens), *of) == []
    files = json.loads((goldens / "inventory.json").read_text())["files"]
    assert sorted(files) == ["micro/figures.json", "micro/pair/float64/manifest.json", "micro/short/float64/manifest.json"]
    for path, entry in files.items():
        assert entry["sha256"] == contract.sha256_file(goldens / path)
    covers = files["micro/short/float64/manifest.json"]["covers"]
    assert covers["logits"] == "0" and covers["h.*.attn.q"] == covers["probs_t0.5"] == "0-2"


@pytest.mark.parametrize("change, said", [
    (lambda home: shutil.rmtree(home / "pair/float64"), "manifest.json"),
    (lambda home: (home / "figures.json").unlink(), "micro/figures.json is not as listed"),
    (lambda home: (home / "figures.json").write_text("[]"), "micro/figures.json is not as listed"),
    (lambda home: edit(home / "pair/float64/manifest.json", lambda m: m.update(new=1)), "micro/pair/float64/manifest.json is not as listed"),
    (lambda home: edit(home / "pair/float64/manifest.json", lambda m: m.update(new=3)), "step_02/wte.npy is neither in files nor in left_out"),
    (lambda home: edit(home / "short/float64/manifest.json", lambda m: m.update(left_out=[])), "step_01/logits.npy is neither"),
    (lambda home: (home.parent / "inventory.json").unlink(), "No such file"),
    (lambda home: edit(home.parent / "inventory.json", lambda i: i["files"].popitem()), "is not as listed"),
    (lambda home: edit(home.parent / "inventory.json", lambda i: i["files"]["micro/pair/float64/manifest.json"]["covers"].popitem()), "is not as listed"),
])
def test_a_change_is_seen(goldens, of, change, said):
    change(goldens / "micro")
    assert said in "\n".join(inventory.problems(str(goldens), *of))


def test_nothing_is_listed_of_goldens_that_are_short(goldens, of):
    before = (goldens / "inventory.json").read_text()
    edit(goldens / "micro/short/float64/manifest.json", lambda m: m.update(left_out=[]))
    with pytest.raises(contract.Refused, match="step_01/logits.npy"):
        inventory.write(str(goldens), *of)
    assert (goldens / "inventory.json").read_text() == before
