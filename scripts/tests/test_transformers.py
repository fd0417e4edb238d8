"""Hugging Face's transformers through `verify --engine`, right and with planted faults, and a plain PyTorch GPT-2 with hooks alone.

Needs torch and transformers: in this Python, or in that of $CHECKPOINT12_TORCH.
"""

import json
import os
import shutil
import subprocess

import pytest

from conftest import ROOT, torch_python

EXPORT = os.path.join(ROOT, "reference", "transformers", "export.py")
ARGUMENTS = "--model {model} --tokens {tokens} --new {new} --out {out} --mask {mask}"


def verify(checkpoint12, tmp_path, program, *more, options=()):
    """The exit status, the report, and what was printed, of cases that make up padded batches too."""
    for case in ("hello", "once-upon"):
        part = os.path.join("synthetic-tiny", case, "float64")
        shutil.copytree(os.path.join(ROOT, "goldens", part), tmp_path / "goldens" / part, dirs_exist_ok=True)
    report = tmp_path / "report.json"
    done = subprocess.run([checkpoint12, "verify", *options, "--goldens", tmp_path / "goldens", "--json", report, "--engine",
                           " ".join([torch_python(), str(program), ARGUMENTS, *more])], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    answer = json.loads(report.read_text())
    assert answer["cannot_do"] == answer["errors"] == [], done.stderr
    assert {run["case"] for run in answer["runs"]} == {"hello", "once-upon", "padded-left", "padded-right"}
    return done.returncode, answer, done.stdout


@pytest.mark.skipif("CHECKPOINT12_ENGINES_MEDIUM" not in os.environ, reason="CHECKPOINT12_ENGINES_MEDIUM is not set")
def test_medium(checkpoint12, tmp_path):
    report = tmp_path / "report.json"
    done = subprocess.run([checkpoint12, "verify", "--model", "synthetic-medium", "--json", report, "--engine",
                           f"{torch_python()} {EXPORT} {ARGUMENTS}"], cwd=ROOT, capture_output=True, text=True)
    answer = json.loads(report.read_text())
    assert done.returncode == 0 and answer["introduced"] == answer["errors"] == [], done.stdout + done.stderr


@pytest.mark.parametrize("more", [[], ["--no-cache"]], ids=["cached", "no cache"])
def test_right(checkpoint12, tmp_path, more):
    status, report, text = verify(checkpoint12, tmp_path, EXPORT, *more)
    assert status == 0 and report["introduced"] == [], text
    assert [c["checkpoint"] for c in report["checkpoints"] if c["verdict"] != "pass"] == []
    assert all(run["missing"] == [] for run in report["runs"])  # every stage is there


@pytest.mark.parametrize("dtype, name", [("bf16", "bfloat16"), ("f16", "float16")])
def test_precision(checkpoint12, tmp_path, dtype, name):
    """In the precision that it computes in it is right; without being asked for, that alone is named."""
    version = subprocess.run([torch_python(), "-c", "import torch; print(torch.__version__)"], capture_output=True, text=True).stdout
    if int(version.split(".")[0]) < 2:
        pytest.skip(f"torch {version.strip()} sums products of bfloat16 in bfloat16, and has no float16 on a CPU: needs torch 2")
    status, report, text = verify(checkpoint12, tmp_path, EXPORT, "--dtype {dtype}", options=["--dtype", dtype])
    assert status == 0 and report["introduced"] == [], text
    status, report, text = verify(checkpoint12, tmp_path, EXPORT, "--dtype", name)
    assert status == 1 and report["introduced"] == [] and f"--dtype {dtype}" in text, text


# Each runs before the exporter, as a user's mistake would be in the model or in how it is called.
FAULTS = {
    "gelu_erf": ("h.0.mlp.act", False, """
class Wrong(dict):
    def __getitem__(self, name):
        return torch.nn.GELU()
modeling_gpt2.ACT2FN = Wrong()
"""),
    "padding_counted": ("wpe", True, """
right = modeling_gpt2.GPT2Model.forward
@functools.wraps(right)
def wrong(self, *arguments, position_ids=None, **named):
    return right(self, *arguments, **named)
modeling_gpt2.GPT2Model.forward = wrong
"""),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(checkpoint12, tmp_path, fault):
    stage, padded_only, plant = FAULTS[fault]
    program = tmp_path / "wrong.py"
    program.write_text("import functools, runpy, sys, torch\nfrom transformers.models.gpt2 import modeling_gpt2\n"
                       f"{plant}\nrunpy.run_path({EXPORT!r}, run_name='__main__')\n")
    status, report, text = verify(checkpoint12, tmp_path, program)
    assert status == 1 and report["verdict"] == "fail"
    first = report["explanations"][0]
    assert (first["step"], first["stage"], first["fault"]) == (0, stage, fault), text
    assert (report["introduced"][0]["step"], report["introduced"][0]["stage"]) == (0, stage)
    assert all(run["case"].startswith("padded") == (run["verdict"] == "fail") or not padded_only for run in report["runs"])


# GPT-2 as nanoGPT has it: modules of its own that return a tensor each. Only hooks see it.
NANO = '''
import os, sys
import numpy as np, safetensors.torch, torch
from torch import nn

C, H, L, V, N, EPS = 80, 4, 3, 50257, 48, 1e-5


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(C, 3 * C), nn.Linear(C, C)
        self.past = None

    def forward(self, x):
        B, T, _ = x.shape
        q, k, v = (part.view(B, T, H, C // H).transpose(1, 2) for part in self.c_attn(x).split(C, dim=2))
        if cached:
            if self.past:
                k, v = (torch.cat(pair, 2) for pair in zip(self.past, (k, v)))
            self.past = k, v
        scores = q @ k.transpose(-2, -1) / (C // H) ** 0.5
        seen = torch.tril(torch.ones(k.shape[2], k.shape[2], dtype=torch.bool))[-T:]
        y = torch.softmax(scores.masked_fill(~seen, -torch.inf), -1) @ v
        return self.c_proj(y.transpose(1, 2).reshape(B, T, C))


class MLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.c_fc, self.gelu, self.c_proj = nn.Linear(C, 4 * C), nn.GELU(approximate="tanh"), nn.Linear(4 * C, C)

    def forward(self, x):
        return self.c_proj(self.gelu(self.c_fc(x)))


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln_1, self.attn, self.ln_2, self.mlp = nn.LayerNorm(C, EPS), Attention(), nn.LayerNorm(C, EPS), MLP()

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self):
        super().__init__()
        self.transformer = nn.ModuleDict(dict(wte=nn.Embedding(V, C), wpe=nn.Embedding(N, C), drop=nn.Dropout(0.0),
            h=nn.ModuleList(Block() for _ in range(L)), ln_f=nn.LayerNorm(C, EPS)))
        self.lm_head = nn.Linear(C, V, bias=False)

    def forward(self, ids, first):
        at = torch.arange(first, first + ids.shape[1])
        x = self.transformer.drop(self.transformer.wte(ids) + self.transformer.wpe(at))
        for block in self.transformer.h:
            x = block(x)
        return self.lm_head(self.transformer.ln_f(x)[:, [-1]])


def hook(name):
    def keep(module, inputs, output):
        os.makedirs(f"{out}/step_{step:02d}", exist_ok=True)
        np.save(f"{out}/step_{step:02d}/{name}.npy", output.numpy())
    return keep


model, tokens, out, cached = sys.argv[1], np.load(sys.argv[2]), sys.argv[3], sys.argv[4] == "cached"
weights = safetensors.torch.load_file(f"{model}/model.safetensors")
linear = ("c_attn.weight", "c_proj.weight", "c_fc.weight")
gpt = GPT().eval()
gpt.load_state_dict({**{f"transformer.{name}": w.t() if name.endswith(linear) else w for name, w in weights.items()},
                     "lm_head.weight": weights["wte.weight"]})
for name, module in gpt.named_modules():
    if name and not isinstance(module, (nn.ModuleList, nn.ModuleDict)):
        module.register_forward_hook(hook(name))
with torch.no_grad():
    for step in range(10):
        end = tokens.shape[1] - 10 + step
        first = end - 1 if cached and step else 0
        gpt(torch.from_numpy(tokens[:, first:end]), first)
np.save(f"{out}/tokens.npy", tokens)
'''


@pytest.fixture(scope="session")
def tiny(checkpoint12, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "tiny"
    subprocess.run([checkpoint12, "synth", "synthetic-tiny", "--out", folder], check=True, capture_output=True)
    return folder


@pytest.mark.parametrize("cut", ["cached", "no cache"])
def test_hooks_alone(checkpoint12, tiny, tmp_path, cut):
    golden = os.path.join(ROOT, "goldens", "synthetic-tiny", "hello")
    (tmp_path / "nano.py").write_text(NANO)
    subprocess.run([torch_python(), tmp_path / "nano.py", tiny, os.path.join(golden, "float64", "tokens.npy"), tmp_path / "dump", cut],
                   check=True)
    report = tmp_path / "report.json"
    done = subprocess.run([checkpoint12, "compare", "--golden", golden, "--candidate", tmp_path / "dump", "--model", tiny,
                           "--json", report], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    answer = json.loads(report.read_text())
    compared = {row["stage"] for row in answer["stages"] if row["status"] == "pass"}
    assert {"wte", "wpe", "embed", "ln_f", "logits_last"} <= compared, done.stdout
    for stage in ("ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.act", "mlp.c_proj", "resid_post"):
        assert {f"h.{n}.{stage}" for n in range(3)} <= compared, done.stdout
    assert bool(answer.get("cut")) == (cut == "no cache"), answer.get("cut")
