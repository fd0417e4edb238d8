"""Pages of --html and a browser to open them in: Debian's Chromium, without a head."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings

import pytest

import engines

NEEDS = "not tested: how pages look in a browser, which needs Chromium and Playwright: .ci/run browser"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
try:
    from axe_playwright_python.sync_playwright import Axe
    from playwright.sync_api import sync_playwright
except ImportError:
    CHROMIUM = None
if not CHROMIUM:
    warnings.warn(NEEDS)
    pytest.skip(NEEDS, allow_module_level=True)

GOLDENS = os.path.join(engines.ROOT, "goldens")
HELLO = os.path.join(GOLDENS, "synthetic-tiny", "hello")
FLOAT64 = os.path.join(HELLO, "float64")
ENGINE = os.path.join(engines.ROOT, "scripts", "engines", "engine_numpy.py")
HOSTILE = "-<script>alert(1)<\\script><img src=x onerror=alert(1)>\"'& $(id) `\n\x1b[31m\x01\u202e\u00a0"
ERF = ("return 0.5 * x * (1 + np.tanh(0.7978845608 * (x + 0.044715 * x**3)))",
       "from math import erf, sqrt\n    return 0.5 * x * (1 + np.vectorize(erf)(x / sqrt(2)))")
FAULTS = [ERF, ("scores = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(D))", "scores = q @ k.transpose(0, 1, 3, 2) / np.float32(np.sqrt(D) + (i == 1))"),
          ('        x = x + linear(m, h + "mlp.c_proj")', '        x = x + linear(m, h + "mlp.c_proj") * np.float32(1 + 0.01 * (i == 2))')]


def faulty(path, *faults):
    """Write the engine with faults in it."""
    text = open(ENGINE).read()
    for right, wrong in faults:
        assert text.count(right) == 1, right
        text = text.replace(right, wrong)
    path.write_text(text)
    return path


class Pages(dict):
    """Pages by name, each made when it is first asked for: its path, the report as JSON, and the text."""

    def __init__(self, program, root):
        self.program, self.root = program, root
        shutil.copytree(os.path.join(engines.ROOT, "scripts", "engines"), root / "engines")
        self.run("synth", "synthetic-tiny", "--out", "tiny")

    def __missing__(self, name):
        status, command, *args = getattr(self, name)()
        self.run(command, *args, "--html", name + ".html", "--json", name + ".json", status=status)
        self[name] = self.root / (name + ".html"), json.loads((self.root / (name + ".json")).read_text()), self.text
        return self[name]

    def run(self, *args, status=0):
        done = subprocess.run([str(a) for a in [self.program, *args]], cwd=self.root, capture_output=True, text=True)
        assert done.returncode == status, done.stderr
        self.text = done.stdout

    def dump(self, name, *faults):
        if not (self.root / name).exists():
            engine = faulty(self.root / "engines" / (name + ".py"), *faults)
            subprocess.run([sys.executable, engine, self.root / "tiny", os.path.join(FLOAT64, "tokens.npy"), self.root / name], check=True)
        return name

    def right(self):
        return 0, "compare", "--golden", HELLO, "--candidate", self.dump("right-dump"), "--model", "tiny"

    def one(self):
        return 1, "compare", "--golden", FLOAT64, "--candidate", self.dump("one-dump", ERF), "--model", "tiny"

    def three(self):
        return 1, "compare", "--golden", FLOAT64, "--candidate", self.dump("three-dump", *FAULTS), "--model", "tiny"

    def accepted(self):
        (self.root / "rules.json").write_text(json.dumps([{"stages": "h.*.mlp.act", "fault": "gelu_erf", "accept": True, "why": "trained with it"}]))
        return 0, "compare", "--golden", FLOAT64, "--candidate", self.dump("one-dump", ERF), "--model", "tiny", "--bounds", "rules.json"

    def nonfinite(self):
        shutil.copytree(self.root / self.dump("right-dump"), self.root / "nonfinite-dump")
        alter(self.root / "nonfinite-dump", 0, "h.1.resid_post", by=float("nan"))
        alter(self.root / "nonfinite-dump", 2, "h.2.resid_post", by=float("inf"))
        return 1, "compare", "--golden", FLOAT64, "--candidate", "nonfinite-dump", "--model", "tiny"

    def full(self):
        self.run("dump", "--model", "tiny", "--prompt", "Hello.", "--new", 10, "--out", "full-dump")
        return 0, "compare", "--golden", HELLO, "--candidate", "full-dump", "--model", "tiny"

    def unmodelled_full(self):
        self["full"]
        return 0, "compare", "--golden", FLOAT64, "--candidate", "full-dump"

    def unmodelled_nonfinite(self):
        self["nonfinite"]
        return 1, "compare", "--golden", FLOAT64, "--candidate", "nonfinite-dump"

    def alone(self):
        return 1, "compare", "--candidate", self.dump("one-dump", ERF), "--model", "tiny"

    def unmodelled(self):
        return 1, "compare", "--golden", FLOAT64, "--candidate", self.dump("one-dump", ERF)

    def padded(self):
        self.run("dump", "--model", "tiny", "--prompt", "Hello.", "--prompt", "Once upon a time", "--new", 3, "--out", "padded-dump")
        alter(self.root / "padded-dump", 0, "h.1.ln_2")
        return 1, "compare", "--golden", os.path.join(GOLDENS, "synthetic-tiny"), "--candidate", "padded-dump", "--model", "tiny"

    def verify(self):
        return 0, "verify", "--model", "tiny", "--goldens", GOLDENS

    def engine(self):
        engine = faulty(self.root / "engines" / "wrong.py", ERF)
        command = shlex.join([sys.executable, str(engine)]) + " {model} {tokens} {out} {new} {mask}"
        return 1, "verify", "--model", "tiny", "--goldens", GOLDENS, "--engine", command

    def hostile(self):
        folder, golden = self.root / HOSTILE, self.root / "golden"
        shutil.copytree(self.root / self.dump("one-dump", ERF), folder)
        shutil.copy(folder / "step_00" / "embed.npy", folder / "step_00" / (HOSTILE + ".npy"))
        shutil.copytree(FLOAT64, golden)
        manifest = json.loads((golden / "manifest.json").read_text())
        manifest["engine"].update(name=HOSTILE, version=HOSTILE)
        manifest["prompt"] = HOSTILE
        for left in manifest["left_out"]:
            left["reason"] = "</script><script>alert(2)</script>" + HOSTILE
        (golden / "manifest.json").write_text(json.dumps(manifest))
        return 1, "compare", "--golden", golden, "--candidate", folder, "--model", "tiny"

    def medium(self):
        self.run("dump", "--model", "synthetic-medium", "--tokens", "15496,13", "--new", 10, "--out", "medium-dump")
        alter(self.root / "medium-dump", 1, "h.11.mlp.act")
        return (1, "compare", "--golden", os.path.join(GOLDENS, "synthetic-medium", "hello"), "--candidate", "medium-dump",
                "--model", "synthetic-medium")


@pytest.fixture(scope="module")
def made(checkpoint12, tmp_path_factory):
    return Pages(checkpoint12, tmp_path_factory.mktemp("pages"))


def alter(folder, step, stage, by=1.5):
    """Make half of a tensor wrong, and forget the manifest, which would not be true."""
    import numpy as np
    path = folder / f"step_{step:02d}" / (stage + ".npy")
    x = np.load(path)
    x[..., x.shape[-1] // 2:] *= np.float32(by)
    np.save(path, x)
    (folder / "manifest.json").unlink(missing_ok=True)


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(browser, made):
    """Open a page; in the end nothing was asked of anybody, and nothing complained."""
    contexts, troubles = [], []

    def open_(name, width=1280, **options):
        context = browser.new_context(viewport={"width": width, "height": 900}, permissions=["clipboard-read", "clipboard-write"], **options)
        contexts.append(context)
        tab = context.new_page()
        url = made[name][0].as_uri()
        tab.on("console", lambda m: troubles.append(f"console: {m.text}"))
        tab.on("pageerror", lambda e: troubles.append(f"error: {e}"))
        tab.on("dialog", lambda d: (troubles.append(f"dialog: {d.message}"), d.dismiss()))
        tab.on("request", lambda r: r.url == url or troubles.append(f"request: {r.url}"))
        tab.goto(url)
        return tab

    yield open_
    for context in contexts:
        context.close()
    assert not troubles


def words(text):
    return " ".join(text.split())


def cells(tab):
    """The map: what stands in each cell, its class and its words."""
    return tab.eval_on_selector_all(".map td.c", "list => list.map(c => [c.dataset.cell, c.className, c.title, c.innerText.trim()])")
