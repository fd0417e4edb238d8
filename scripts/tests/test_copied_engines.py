"""The engines in scripts/engines that users copy from: `verify --engine` passes them as they are, and names the faults
planted in them; numpy reads what their writers write, as README.md there tells to take them out.

With CHECKPOINT12_ENGINES_MEDIUM set, they run on synthetic-medium too, which takes minutes.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest

from conftest import ROOT

SOURCES = os.path.join(ROOT, "scripts", "engines")


@dataclass(frozen=True)
class Language:
    source: str
    compiler: tuple  # and its options, checked in CI; () where there is none
    fast: tuple  # options for a model of real size
    end: tuple  # options after the source
    runner: tuple
    arguments: str
    faults: tuple  # each: its name in the catalogue, step and stage, the text in the source and what stands for it

    def need(self):
        tool = (self.compiler or self.runner)[0]
        if shutil.which(tool) is None:
            assert not os.environ.get("CI"), f"{tool} is not installed: .ci/run tools installs it"
            pytest.skip(f"{tool} is not installed")

    def build(self, folder, text=None, fast=False):
        """The command that runs the source, or a text in its place, once built in the folder."""
        self.need()
        path = os.path.join(folder, self.source)
        if text is None:
            text = self.text()
        with open(path, "w") as f:
            f.write(text)
        shutil.copy(os.path.join(SOURCES, "dump.h"), folder)
        if not self.compiler:
            return [*self.runner, path]
        program = os.path.join(folder, "engine")
        options = self.fast if fast else self.compiler[1:]
        subprocess.run([self.compiler[0], *options, "-o", program, path, *self.end], check=True)
        return [program]

    def text(self):
        with open(os.path.join(SOURCES, self.source)) as f:
            return f.read()


LANGUAGES = {
    "c": Language(
        "gpt2.c",
        ("gcc", "-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Wshadow", "-Werror", "-g", "-O1", "-fsanitize=address,undefined",
         "-fno-sanitize-recover=all"), ("-std=c11", "-O3"), ("-lm",), (), "{model} {tokens} {mask} {out}", (
            ("gelu_erf", 0, "h.0.mlp.act",
             "(1 + tanh(0.7978845608028654 * (x + 0.044715 * x * x * x)))", "(1 + erf(x / sqrt(2)))"),
            ("cache_overwritten", 1, "h.0.attn.cache_k", "w->cache_k + (h * N + p) * D, k", "w->cache_k + h * N * D, k"))),
    "rust": Language(
        "gpt2.rs", ("rustc", "--edition", "2021", "-O", "-D", "warnings"), ("--edition", "2021", "-O"), (), (),
        "{model} {tokens} {mask} {out} {new}", (
            ("scale_d", 0, "h.0.attn.scores", "(d as f32).sqrt()", "d as f32"),
            ("resid_missing", 0, "h.0.resid_post", 'add(&mut x, &a);\n            save(&name("resid_post")',
             'x = a;\n            save(&name("resid_post")'))),
    "javascript": Language(
        "gpt2.mjs", (), (), (), ("node",), "{model} {tokens} {mask} {out} {new}", (
            ("qkv_order_kqv", 0, "h.0.attn.q", "[heads(qkv, 0, T), heads(qkv, 1, T)", "[heads(qkv, 1, T), heads(qkv, 0, T)"),
            ("pos_restarted", 1, "wpe", "subarray(P * C, S * C)", "subarray(0, T * C)"))),
}


@pytest.fixture(params=LANGUAGES)
def language(request):
    return LANGUAGES[request.param]


def verify(checkpoint12, language, command, tmp_path, model="synthetic-tiny"):
    """The exit status, the report, and what was printed."""
    report = tmp_path / "report.json"
    done = subprocess.run([checkpoint12, "verify", "--model", model, "--json", report,
                           "--engine", " ".join([*command, language.arguments])], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(report.read_text()), done.stdout


def test_right(checkpoint12, language, tmp_path):
    status, report, text = verify(checkpoint12, language, language.build(tmp_path), tmp_path)
    assert status == 0 and report["verdict"] == "pass", text
    assert report["cannot_do"] == ["padded-left", "padded-right"]
    assert report["errors"] == [] and report["introduced"] == []
    unchecked = [c["checkpoint"] for c in report["checkpoints"] if c["verdict"] != "pass"]
    assert unchecked == ([3] if language.source == "gpt2.rs" else [])  # it has no cache


@pytest.mark.parametrize("which", [0, 1])
def test_fault(checkpoint12, language, which, tmp_path):
    fault, step, stage, right, wrong = language.faults[which]
    assert language.text().count(right) == 1, f"{language.source}: {right}"
    command = language.build(tmp_path, language.text().replace(right, wrong))
    status, report, text = verify(checkpoint12, language, command, tmp_path)
    assert status == 1 and report["verdict"] == "fail"
    assert {"step": report["introduced"][0]["step"], "stage": report["introduced"][0]["stage"]} == {"step": step, "stage": stage}
    first = report["explanations"][0]
    assert (first["step"], first["stage"], first["fault"]) == (step, stage, fault)
    assert stage in text and fault in text


def test_padding_cannot_be_done(language, tmp_path):
    """What an engine here cannot do it says with exit status 77, before anything else."""
    np.save(tmp_path / "tokens.npy", np.zeros((1, 2), "<i8"))
    np.save(tmp_path / "mask.npy", np.array([[0, 1]], "<i8"))
    words = language.arguments.format(model=tmp_path, tokens=tmp_path / "tokens.npy", mask=tmp_path / "mask.npy",
                                      out=tmp_path / "out", new=1).split()
    assert subprocess.run([*language.build(tmp_path), *words]).returncode == 77
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("right, wrong, stage", [
    ("", "", None),
    (" & (mask[:, None, None, :S] > 0)", "", "h.0.attn.scores"),  # padding is seen as keys
    ("mask.cumsum(1) - 1", "np.arange(tokens.shape[1]) + 0 * mask", "embed"),  # positions count padding
    ("last = T - 1 - mask[:, P:S][:, ::-1].argmax(1)", "last = np.full(B, T - 1)", "logits_last"),  # is padding, on the right
])
def test_padding_in_numpy(checkpoint12, right, wrong, stage, tmp_path):
    with open(os.path.join(SOURCES, "engine_numpy.py")) as f:
        text = f.read()
    assert not right or text.count(right) == 1, right
    (tmp_path / "engine.py").write_text(text.replace(right, wrong) if right else text)
    for case in ("hello", "once-upon"):
        part = os.path.join("synthetic-tiny", case, "float64")
        shutil.copytree(os.path.join(ROOT, "goldens", part), tmp_path / "goldens" / part)
    report = tmp_path / "report.json"
    done = subprocess.run([checkpoint12, "verify", "--goldens", tmp_path / "goldens", "--json", report, "--engine",
                           f"{sys.executable} {tmp_path}/engine.py {{model}} {{tokens}} {{out}} {{new}} {{mask}}"],
                          cwd=ROOT, capture_output=True, text=True)
    answer = json.loads(report.read_text())
    assert answer["cannot_do"] == answer["errors"] == [], done.stderr
    assert {run["case"] for run in answer["runs"]} == {"hello", "once-upon", "padded-left", "padded-right"}
    assert done.returncode == (1 if stage else 0), done.stdout
    assert {x["stage"].replace("h.1.", "h.0.").replace("h.2.", "h.0.") for x in answer["introduced"]} == ({stage} if stage else set())
    assert all(x["case"].startswith("padded") for x in answer["failures"])


@pytest.mark.parametrize("cache, wrong", [
    ("f32", {"h.N.mlp.act"}),
    ("f16", {"h.N.mlp.act", "h.N.attn.cache_k", "h.N.attn.cache_v", "h.N.attn.probs", "h.N.attn.context"}),
])
def test_llama_cpp(checkpoint12, cache, wrong, tmp_path):
    """llama.cpp is named for what it does in float16, and passes by the rules for that."""
    pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    part = os.path.join("synthetic-tiny", "hello", "float64")
    shutil.copytree(os.path.join(ROOT, "goldens", part), tmp_path / "goldens" / part)
    report = tmp_path / "report.json"
    command = [checkpoint12, "verify", "--goldens", tmp_path / "goldens", "--json", report, "--engine",
               f"{sys.executable} {SOURCES}/engine_llama.py {{model}} {{tokens}} {{out}} {{prompt}} {{new}} {{mask}} {cache}"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    answer = json.loads(report.read_text())
    assert done.returncode == 1 and answer["errors"] == [], done.stderr
    assert {re.sub(r"h\.\d+", "h.N", x["stage"]) for x in answer["introduced"]} == wrong
    table = [x for x in answer["explanations"] if x["stage"].endswith("mlp.act")]
    assert {x["fault"] for x in table} == {"float16_activations"} and "looked up in a table of float16 numbers" in table[0]["text"]
    rules = os.path.join(ROOT, "harness", "bounds", "llama.cpp.json")
    done = subprocess.run([*command, "--bounds", rules], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.skipif("CHECKPOINT12_ENGINES_MEDIUM" not in os.environ, reason="CHECKPOINT12_ENGINES_MEDIUM is not set")
def test_medium(checkpoint12, language, medium, tmp_path):
    status, report, text = verify(checkpoint12, language, language.build(tmp_path, fast=True), tmp_path, medium)
    assert status == 0 and report["verdict"] == "pass" and report["introduced"] == [], text


@pytest.fixture(scope="session")
def medium(checkpoint12, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model") / "medium"
    subprocess.run([checkpoint12, "synth", "synthetic-medium", "--out", folder], check=True, capture_output=True)
    yield str(folder)
    shutil.rmtree(folder)


# Each writes the same tensors by a writer taken out as README.md says.
TOYS = {
    "c": '''#include "dump.h"
int main(void) {
  float f[] = {0.5f, -1, 3, 4, 5, 6};
  double d[] = {0.1, 2};
  int32_t i[] = {-7};
  int64_t l[] = {1, -2, 1L << 40};
  DUMP("OUT", 0, "h.0.ln_1", f, 1, 2, 3);
  DUMP("OUT", 12, "double", d, 2);
  DUMP("OUT", 3, "int", i, 1, 1);
  DUMP("OUT", DUMP_TOP, "tokens", l, 1, 3);
}''',
    "c++": '''#include "dump.h"
int main() {
  const float f[] = {0.5f, -1, 3, 4, 5, 6};
  const double d[] = {0.1, 2};
  const int32_t i[] = {-7};
  const int64_t l[] = {1, -2, 1L << 40};
  const long ln_1[] = {1, 2, 3, -1}, two[] = {2, -1}, one[] = {1, 1, -1}, top[] = {1, 3, -1};
  dump_array("OUT", 0, "h.0.ln_1", f, "<f4", ln_1);
  dump_array("OUT", 12, "double", d, "<f8", two);
  dump_array("OUT", 3, "int", i, "<i4", one);
  dump_array("OUT", DUMP_TOP, "tokens", l, "<i8", top);
}''',
    "rust": '''fn main() -> std::io::Result<()> {
    dump("OUT", Some(0), "h.0.ln_1", &[1, 2, 3], &[0.5f32, -1.0, 3.0, 4.0, 5.0, 6.0])?;
    dump("OUT", Some(12), "double", &[2], &[0.1f64, 2.0])?;
    dump("OUT", Some(3), "int", &[1, 1], &[-7i32])?;
    dump("OUT", None, "tokens", &[1, 3], &[1i64, -2, 1 << 40])
}''',
    "javascript": '''
dump('OUT', 0, 'h.0.ln_1', [1, 2, 3], new Float32Array([9, 0.5, -1, 3, 4, 5, 6]).subarray(1));
dump('OUT', 12, 'double', [2], new Float64Array([0.1, 2]));
dump('OUT', 3, 'int', [1, 1], new Int32Array([-7]));
dump('OUT', null, 'tokens', [1, 3], new BigInt64Array([1n, -2n, 1n << 40n]));
''',
}
WRITTEN = {
    "step_00/h.0.ln_1.npy": np.array([[[0.5, -1, 3], [4, 5, 6]]], "<f4"), "step_12/double.npy": np.array([0.1, 2], "<f8"),
    "step_03/int.npy": np.array([[-7]], "<i4"), "tokens.npy": np.array([[1, -2, 1 << 40]], "<i8"),
}


CPP = Language("toy.cpp", ("g++", "-std=c++11", "-Wall", "-Wextra", "-Werror"), (), (), (), "", ())


@pytest.mark.parametrize("name", TOYS)
def test_writer(name, tmp_path):
    language, writer = LANGUAGES.get(name, CPP), ""
    if name not in ("c", "c++"):  # of which dump.h is the whole writer
        _, _, after = language.text().partition("// The writer: copy from here\n")
        writer, _, _ = after.partition("// to here.\n")
        assert writer
    subprocess.run(language.build(tmp_path, writer + TOYS[name].replace("OUT", str(tmp_path / "dump"))), check=True)
    found = {str(path.relative_to(tmp_path / "dump")): path for path in (tmp_path / "dump").rglob("*.npy")}
    assert found.keys() == WRITTEN.keys()
    for name, want in WRITTEN.items():
        got = np.load(found[name])
        assert got.dtype == want.dtype and np.array_equal(got, want), name
        assert (found[name].stat().st_size - got.nbytes) % 64 == 0, f"{name}: its values do not begin at a multiple of 64"
