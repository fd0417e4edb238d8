"""Correct engines of few bits pass `compare --dtype`: numpy with every stage rounded, with every operation rounded,
and with norms, softmax and the residual stream in float32."""

import gpt2
import numpy as np
import pytest
import rounding
from conftest import CONFIG, command, random_weights, subprocess, write_model

ROUND = {"bf16": rounding.bfloat16, "f16": rounding.float16}


def rounding_array(round):
    """A kind of array that rounds what goes into and comes out of each operation of numpy."""

    class Rounding(np.ndarray):
        def __array_ufunc__(self, ufunc, method, *inputs, out=None, **named):
            plain = [round(np.asarray(x, np.float32)) for x in inputs]
            return round(np.asarray(getattr(ufunc, method)(*plain, **named))).view(Rounding)

        def __array_function__(self, function, types, arguments, named):
            result = super().__array_function__(function, types, arguments, named)
            return result.view(Rounding) if isinstance(result, np.ndarray) else result

    return Rounding


class Operations(gpt2.GPT2):
    """Every operation is rounded, but within norms of float16, whose squares would overflow."""

    def __init__(self, config, weights, round):
        super().__init__(config, weights, np.float32)
        self.round, self.kind = round, rounding_array(round)

    def weight(self, name):
        return super().weight(name).view(self.kind)

    def norm(self, name, x):
        if self.round is rounding.bfloat16:
            return super().norm(name, x)
        plain = [np.asarray(v) for v in (x, self.weight(name + ".weight"), self.weight(name + ".bias"))]
        return self.round(gpt2.layer_norm(*plain, self.eps)).view(self.kind)


class Products(gpt2.GPT2):
    """Only matrix products are rounded."""

    def __init__(self, config, weights, round):
        super().__init__(config, weights, np.float32, lambda a, b: round(np.matmul(round(a), round(b))))
        self.round = round

    def linear(self, name, x):
        return self.round(super().linear(name, x))


@pytest.mark.parametrize("dtype", ROUND)
@pytest.mark.parametrize("how", ["stages", "operations", "products"])
@pytest.mark.parametrize("layers, heads, width", [(2, 4, 64), (4, 6, 96)])
def test_a_correct_engine_passes(checkpoint12, tmp_path, dtype, how, layers, heads, width):
    config = {**CONFIG, "n_layer": layers, "n_head": heads, "n_embd": width}
    weights = {name: w * (1 if ".ln_" in name else np.float32(2 / width ** 0.5)) for name, w in random_weights(config).items()}
    folder, golden, mine = write_model(tmp_path / "model", config, weights), tmp_path / "golden", tmp_path / "mine"
    round, tokens = ROUND[dtype], [[3, 14, 15, 9]]
    parsed = gpt2.load(folder).config
    narrow = {name: round(w) for name, w in weights.items()}
    engine = {"stages": lambda: gpt2.GPT2(parsed, narrow, np.float32), "operations": lambda: Operations(parsed, narrow, round),
              "products": lambda: Products(parsed, weights, round)}[how]()

    def writer(out, change):
        def tap(step, stage, array):
            if change and array.dtype == np.float32:
                array[...] = round(array)
            (out / f"step_{step:02d}").mkdir(parents=True, exist_ok=True)
            np.save(out / f"step_{step:02d}" / f"{stage}.npy", np.asarray(array, np.int64 if stage == "next_token" else np.float32))
        return tap

    subprocess.run([*command("float64"), "--model", folder, "--name", "micro", "--tokens", "3,14,15,9", "--new", "3",
                    "--feed", "26,5", "--out", golden], check=True, capture_output=True)
    mine.mkdir()
    with np.errstate(invalid="ignore"):
        np.save(mine / "tokens.npy", gpt2.greedy(engine, tokens, 3, writer(mine, how == "stages"), feed=[[26, 5]]))
    done = subprocess.run([checkpoint12, "compare", "--golden", golden, "--candidate", mine, "--model", folder, "--dtype", dtype],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "wrong" not in done.stdout.splitlines()[0]

