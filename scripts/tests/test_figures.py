"""The figures of synthetic-tiny still follow from reference/float64, and a change of any of them would be seen."""

import copy
import json
import os

import pytest
from conftest import ROOT

import figures
import synthetic

COMMITTED = os.path.join(ROOT, "goldens", "synthetic-tiny", "figures.json")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    synthetic.write("synthetic-tiny", folder)
    return str(folder)


def read(path):
    with open(path, encoding="utf-8") as f:
        return json.load(f)


def leaves(value, path=()):
    """(path, value) of everything that is no list and no dict."""
    if isinstance(value, (dict, list)):
        for k, v in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(v, path + (k,))
    else:
        yield path, value


def test_the_committed_figures_follow_from_the_reference(tiny, capsys):
    assert figures.main(["synthetic-tiny", "--model", tiny, "--check", COMMITTED]) == 0, capsys.readouterr().out


def test_the_file_is_laid_out_as_it_would_be_written():
    with open(COMMITTED, encoding="utf-8") as f:
        text = f.read()
    assert text == figures.layout(json.loads(text))


def test_published_figures_are_of_the_same_kinds_and_layout():
    path = os.path.join(ROOT, "harness", "verify", "figures", "figures.json")
    with open(path, encoding="utf-8") as f:
        text = f.read()
    assert text == figures.layout(json.loads(text))

    def checks(models):
        return {(line["name"].split(".")[0], line.get("stage"), line["reduce"]) for lines in models.values() for line in lines
                if line["name"].split(".")[0] != "weights"}
    assert checks(json.loads(text)["models"]) == checks(read(COMMITTED)["models"])


def test_a_change_of_any_figure_is_seen():
    want = read(COMMITTED)
    assert figures.differences(copy.deepcopy(want), want) == []
    count = 0
    for path, value in leaves(want):
        got = copy.deepcopy(want)
        place = got
        for key in path[:-1]:
            place = place[key]
        if isinstance(value, str):
            place[path[-1]] = value + "."
        elif isinstance(value, int):
            place[path[-1]] = value + 1
        else:
            place[path[-1]] = value * (1 + 2e-7) if value else 1e-9
        assert len(figures.differences(got, want)) == 1, path
        del place[path[-1]]
        assert figures.differences(got, want) != [], path
        count += 1
    assert count > 500


def test_a_file_that_does_not_follow_is_status_1(tiny, tmp_path, capsys):
    content = read(COMMITTED)
    content["models"]["synthetic-tiny"][-1]["want"][0] += 1
    (tmp_path / "f.json").write_text(json.dumps(content))
    assert figures.main(["synthetic-tiny", "--model", tiny, "--check", str(tmp_path / "f.json")]) == 1
    assert "[next_logit.argmax].want[0]" in capsys.readouterr().out


@pytest.mark.parametrize("arguments, message", [
    (["gpt2-xl", "--out", "x.json"], "gpt2-xl: no synthetic model"), (["me", "--model", "nowhere", "--out", "x.json"], "nowhere")])
def test_bad_input_is_one_line_and_status_2(tmp_path, monkeypatch, capsys, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert figures.main(arguments) == 2
    err = capsys.readouterr().err
    assert message in err and err.count("\n") == 1 and os.listdir(tmp_path) == []


def test_what_stood_there_stands_when_writing_fails(tmp_path, monkeypatch):
    (tmp_path / "f.json").write_text("before")

    def failing(source, target):
        raise OSError(28, "No space left on device", target)
    monkeypatch.setattr(figures.os, "replace", failing)
    with pytest.raises(OSError):
        figures.write(str(tmp_path / "f.json"), {"models": {}})
    assert os.listdir(tmp_path) == ["f.json"] and (tmp_path / "f.json").read_text() == "before"
