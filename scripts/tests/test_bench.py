"""The table is of canned numbers; the one run is ours, on a micro model. No time is asserted."""

import json
import os
import shutil

import numpy as np
import pytest

import bench
from conftest import CONFIG, parsed, random_weights, write_model
from contract import Refused
from peers import candle, worker

LINE = "BenchmarkStep/given/{}/untapped-2 \t       7\t  144000000 ns/op\t        {} %ofFMA\t        {} tokens/s\n"
OUTPUT = "goos: linux\n" + "".join(LINE.format(*values) for values in [
    ("decode", 5, "80 %ofRead\t        20.00"), ("prompt_2", 10, 30), ("prompt_8", 50, 100), ("prompt_128", 80, 240),
    ("prompt_512", 75, 240)]) + "PASS\n"


def rates(*values):
    return dict(zip(bench.COLUMNS, values))


def test_the_benchmark_is_read():
    assert bench.parse(OUTPUT) == rates(30, 100, 240, 240, 20) | {"limit": rates(50, 200, 300, 320, 25)}
    # With one thread no number follows the name. Without a measure of the processor there is no limit.
    assert bench.parse(OUTPUT.replace("untapped-2", "untapped").replace("80 %ofRead", "NaN %ofRead")) == rates(30, 100, 240, 240, 20)
    with pytest.raises(Refused, match="gave no prompt 512: .*FAIL"):
        bench.parse(OUTPUT[:OUTPUT.index("BenchmarkStep/given/prompt_512")] + "FAIL")


def test_the_table_has_medians_and_ratios_of_the_same_round():
    ours = [rates(10, 20, 30, 40, 50), rates(20, 20, 30, 40, 50) | {"limit": rates(40, 40, 60, 50, 50)}, rates(90, 20, 30, 40, 50)]
    other = [rates(5, 20, 30, 40, 100), rates(40, 20, 30, 40, 100), rates(30, 20, 30, 40, 100)]
    records = [{"threads": 2, "engines": {"checkpoint12": a, "ONNX Runtime": b}} for a, b in zip(ours, other)]
    records.append({"threads": 1, "engines": {"checkpoint12": rates(1, 1, 1, 1, 1), "PyTorch": rates(2, 4, 5, 8, 10)}})
    lines = bench.table(records, 2)
    assert max(map(len, lines)) <= 80
    cells = {line.split("|")[1].strip(): line.replace("|", " ").split()[-5:] for line in lines}
    assert cells["checkpoint12"] == ["20.0", "20.0", "30.0", "40.0", "50.0"]
    assert cells["ONNX Runtime"] == ["30.0", "20.0", "30.0", "40.0", "100.0"]
    assert cells["ours / ONNX Runtime"] == ["2.00", "1.00", "1.00", "1.00", "0.50"]
    assert "limit" in cells and "PyTorch" not in cells
    one = "\n".join(bench.table(records, 1))
    assert "1 thread " in one and "ours / PyTorch" in one and "limit" not in one


@pytest.mark.parametrize("found, says", [
    ([1, 2, -4 + 3.9e-3], None), ([1, 2, -4 + 4.1e-3], "differ .* by 1.0e-03"), ([1, 2, float("nan")], "differ .* by inf"),
    ([1, 2], "2 logits, checkpoint12 has 3"),
])
def test_a_peer_that_computes_something_else_is_refused(found, says):
    if says is None:
        return bench.agree("PyTorch", found, [1, 2, -4])
    with pytest.raises(Refused, match="PyTorch: .*" + says):
        bench.agree("PyTorch", found, [1, 2, -4])


def test_what_is_missing_is_said_with_what_installs_it(monkeypatch, capsys):
    monkeypatch.setitem(bench.PEERS, "PyTorch", ("pytorch", ("no_such_package", "json"), bench.PIP + "torch numpy"))
    assert "PyTorch" not in bench.chosen(None)
    err = capsys.readouterr().err
    assert "PyTorch is not timed, no_such_package missing: " in err and "-m pip install torch numpy" in err
    assert bench.main(["--engines", "PyTorch"]) == 2
    assert "PyTorch is not timed" in capsys.readouterr().err
    assert bench.main(["--engines", "pytorch"]) == 2
    assert "want some of llama.cpp, ONNX Runtime, PyTorch" in capsys.readouterr().err


MICRO = CONFIG | {"n_positions": 512, "n_ctx": 512}


def test_every_peer_that_is_there_agrees_with_ours(tmp_path, capsys, monkeypatch):
    """Ours runs whole; peers, in CI none, must have its logits."""
    if not shutil.which("go"):
        pytest.skip("no go")
    if not os.path.exists(os.path.join(candle.TARGET, "release", "candle-peer")):  # which takes minutes to build
        monkeypatch.delitem(bench.PEERS, "Candle")
    bench.write_random(str(tmp_path / "micro"), MICRO)
    out = tmp_path / "bench.json"
    assert bench.main(["--model", str(tmp_path / "micro"), "--rounds", "1", "--threads", "1", "--seconds", "0.001",
                       "--scratch", str(tmp_path), "--json", str(out)]) == 0
    records = json.loads(out.read_text())["records"]
    assert [record["threads"] for record in records] == [1]
    assert all(set(bench.COLUMNS) <= set(found) and min(found[c] for c in bench.COLUMNS) > 0
               for found in records[0]["engines"].values())
    assert "| checkpoint12 " in capsys.readouterr().out


def test_what_cannot_be_timed_is_refused(tmp_path, monkeypatch, capsys):
    write_model(tmp_path / "short")
    assert bench.main(["--model", str(tmp_path / "short"), "--engines", "checkpoint12"]) == 2
    assert "fewer than 512 positions" in capsys.readouterr().err
    assert bench.main(["--json", str(tmp_path / "none" / "bench.json")]) == 2
    assert "bench.json: its folder is not there" in capsys.readouterr().err
    monkeypatch.setitem(bench.PEERS, "PyTorch", ("no_such_module", (), ""))
    with pytest.raises(Refused, match="PyTorch: .*no_such_module"):
        with bench.Peer("PyTorch", str(tmp_path / "short"), str(tmp_path), 1, []).running(1):
            pass


class Engine:
    """Counts what it is fed."""

    def __init__(self):
        self.at, self.fed = None, []

    def start(self, tokens):
        self.at = len(tokens)
        self.fed.append(self.at)

    def step(self, token):
        self.at += 1
        assert self.at <= worker.LONGEST


def test_a_worker_times_every_column(tmp_path):
    engine = Engine()
    assert min(worker.measure(engine, 97, column, 1e-4) for column in bench.COLUMNS) > 0
    assert {*engine.fed} == {2, 8, 128, 512} and engine.fed.count(512) >= 2  # the first is not counted


def test_a_model_is_converted_once(tmp_path):
    class Module:
        CONVERTED, made = "model.x", []

        def convert(config, weights, path):
            Module.made.append(path)
            open(path, "w").close()

    first, second = (worker.converted(Module, None, None, str(tmp_path)) for _ in range(2))
    assert first == second == str(tmp_path / "model.x") and os.path.exists(first) and len(Module.made) == 1


def test_weights_are_read_as_they_are(tmp_path):
    want = random_weights()
    write_model(tmp_path / "micro", weights=want)
    config, found = worker.read_model(str(tmp_path / "micro"))
    assert config == parsed(CONFIG) and found.keys() == want.keys()
    assert all(np.array_equal(found[name], want[name]) for name in want)
