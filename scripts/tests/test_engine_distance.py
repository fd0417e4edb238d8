"""Distances are of the committed goldens, against the same computed with numpy."""

import itertools
import json
import os
import shutil

import numpy as np
import pytest

import engine_distance
from regenerate_goldens import GOLDENS

CASE = "synthetic-tiny/one-token"
ENGINES = ("candle", "float64", "tinygrad")


@pytest.fixture
def goldens(tmp_path):
    for engine in ENGINES:
        shutil.copytree(os.path.join(GOLDENS, CASE, engine), tmp_path / CASE / engine)
    return tmp_path


def distances(goldens, a, b, stages, above):
    """(absolute, relative to float64's maximum) of every file of those stages."""
    for path in sorted((goldens / CASE / "float64").glob(f"step_*/{stages}.npy")):
        want = np.load(path)
        if np.abs(want).max() >= above:
            x, y = (np.load(goldens / CASE / engine / path.parent.name / path.name).astype(np.float64) for engine in (a, b))
            yield np.abs(x - y).max(), np.abs(x - y).max() / np.abs(want).max()


@pytest.mark.parametrize("above", [0, 2.5])
def test_each_maximum_is_that_of_all_files(goldens, above, capsys):
    assert engine_distance.main(["--goldens", str(goldens), "--above", str(above), "--json", "-"]) == 0
    rows = {row["stage"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    for stages in ("h.*.ln_1", "h.*.attn.c_attn", "h.*.mlp.act", "ln_f"):
        row = rows[stages]
        assert set(row["engines"]) == {"candle", "tinygrad"}
        every = {pair: list(distances(goldens, *pair, stages, above)) for pair in itertools.combinations(ENGINES, 2)}
        for engine, pair in (("candle", ("candle", "float64")), ("tinygrad", ("float64", "tinygrad"))):
            assert row["engines"][engine]["absolute"] == max(d[0] for d in every[pair]) > 0
            assert row["engines"][engine]["relative"] == pytest.approx(max(d[1] for d in every[pair]))
        assert row["pairs"]["absolute"] == max(d[0] for found in every.values() for d in found)
        assert row["pairs"]["relative"] == pytest.approx(max(d[1] for found in every.values() for d in found))


def test_the_two_maxima_are_kept_apart():
    row = {}
    engine_distance.keep(row, "e", 1.0, 100.0, "far")
    engine_distance.keep(row, "e", 0.5, 1.0, "small")
    assert row["e"] == {"relative": 0.5, "where": "small", "absolute": 1.0, "where_absolute": "far"}


def test_nothing_to_compare_is_refused(goldens, capsys):
    assert engine_distance.main(["--goldens", str(goldens), "--above", "1e9"]) == 2
    shutil.rmtree(goldens / CASE / "candle")
    shutil.rmtree(goldens / CASE / "tinygrad")
    assert engine_distance.main(["--goldens", str(goldens)]) == 2
    assert "no golden of another engine" in capsys.readouterr().err
