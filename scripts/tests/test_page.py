"""The page of --html, as a person sees it in a browser: Debian's Chromium, without a head.

.ci/run browser installs what this needs and runs it.
"""

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


NAMES = ["right", "one", "three", "alone", "unmodelled", "padded", "verify", "engine", "hostile", "medium", "accepted", "nonfinite"]


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


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("name", NAMES)
def test_every_page(opened, made, name, width):
    path, report, text = made[name]
    assert path.stat().st_size < 1_000_000
    for scheme in ("light", "dark"):
        tab = opened(name, width, color_scheme=scheme)
        assert tab.locator(".badge").inner_text() == report["verdict"].upper()
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.locator("#map .map td.c").count() > 20
        assert tab.locator("#card h3").is_visible()
        tab.eval_on_selector_all("details", "list => list.forEach(d => { d.open = true; })")
        found = Axe().run(tab).response["violations"]
        assert not [(v["id"], [n["html"] for n in v["nodes"][:3]]) for v in found if v["impact"] in ("serious", "critical")]
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("name", NAMES)
def test_verdict(opened, made, name):
    """The verdict is in the words of the text, and comes before everything else."""
    _, report, text = made[name]
    head = words(text.split("\n\n")[0].replace("FAIL:", "FAIL").replace("PASS:", "PASS"))
    shown = words(opened(name).locator("#verdict").inner_text())
    assert shown.startswith(head[:200]), (shown[:300], head)
    if name == "one":
        for want in ("h.0.mlp.act, at step 0", "gelu_erf (explains all of the error)", "--verbose", "364 missing"):
            assert want in shown


@pytest.mark.parametrize("name", ["one", "three", "alone", "padded", "medium"])
def test_marks(opened, made, name):
    """At every step the map marks what the report says is wrong itself, and what is inherited."""
    report = made[name][1]
    tab = opened(name)
    slider = tab.locator("#step")
    steps = sorted({row["step"] for row in report["stages"]})
    slider.focus()
    tab.keyboard.press("Home")
    for i, step in enumerate(steps):
        assert tab.locator("#step-label").inner_text().startswith(f"step {step}")
        shown = {title.split(",")[0]: text for _, _, title, text in cells(tab)}
        assert not [title for _, _, title, _ in cells(tab) if "undefined" in title]
        own = {x["stage"] for x in report["introduced"] if x["step"] == step}
        unused = {x["stage"] for x in report["explanations"] if x["step"] == step and x["fault"] == "dumped_at_other_point"}
        assert {stage for stage, text in shown.items() if "●" in text} == own - unused
        assert {stage for stage, text in shown.items() if "◆" in text} == unused
        inherited = {row["stage"] for row in report["stages"] if row["step"] == step and row["origin"] == "inherited" and row["status"] == "fail"}
        assert {stage for stage, text in shown.items() if "○" in text} == inherited
        if i + 1 < len(steps):
            tab.keyboard.press("ArrowRight")
    assert sum(len(x) for x in [report["introduced"]]) > 0
    first = report["introduced"][0]
    reopened = opened(name)
    assert reopened.locator("#card h3").inner_text().startswith(first["stage"] + " step %d" % first["step"])


def test_accepted(opened, made):
    """What is accepted says so beside what it is, looks like no pass, and opens where it is wrong."""
    rows = {row["stage"]: row for row in made["accepted"][1]["stages"] if row["step"] == 0 and row.get("accepted")}
    tab = opened("accepted")
    assert tab.locator("#findings h2").inner_text() == "What was accepted"
    assert opened("one").locator("#findings h2").inner_text() == "What is wrong"
    assert tab.locator("#card h3").inner_text().startswith("h.0.mlp.act step 0")
    assert "● computed wrong itself, accepted" in tab.locator("#card").inner_text()
    shown = {title.split(",")[0]: (name.split(), title, text) for _, name, title, text in cells(tab) if title.endswith(", accepted")}
    assert set(shown) == set(rows) and len(rows) > 5
    for stage, (classes, title, text) in shown.items():
        wrong = rows[stage]["origin"] == "introduced"
        assert text.endswith("●a" if wrong else "○a") and ("computed wrong itself" if wrong else "inherited") in title
        assert "accepted" in classes and not {"s0", "s1", "s2", "s3"} & set(classes)


def test_not_used_as_dumped(opened):
    """A tensor that what reads it does not follow from is in the verdict's words."""
    tab = opened("padded")
    assert "does not use stage h.1.ln_2 as it dumps it" in words(tab.locator("#verdict").inner_text())
    assert "◆ not used as it is dumped" in tab.locator("#card").inner_text()
    title = tab.locator(".map td[title^='h.1.ln_2,']").get_attribute("title")
    assert title.endswith("not used as it is dumped") and tab.locator(".map td[title*='wrong itself']").count() == 0


def test_coordinates_of_a_padded_batch(opened):
    """A card has the coordinates of the row that it shows, and says so."""
    tab = opened("padded")
    text = words(tab.locator("#card").inner_text())
    shown, tokens, row = re.search(r"step 0, 1 × (\d+) × 80, row (\d) of the batch without its padding", text).group(0, 1, 2)
    assert f"coordinates of row {row} alone" in text and (row == "1" or "position 0 is column 2 of the dump" in text)
    place = re.search(r"around the worst value, at (position (\d+), channel \d+)", text)
    assert f"off by more than rounding; worst at {place[1]}: got" in text and int(place[2]) < int(tokens)
    assert f"position 0–{int(tokens) - 1} down" in text and not re.search(r"at \[\d", text)


def test_growth_of_what_is_not_finite(opened):
    """NaN and infinity break the line, and are said."""
    tab = opened("nonfinite")
    chart = tab.locator("#growth")
    assert "✕ NaN or infinite: step 0 at h.1.resid_post; step 2 at h.2.resid_post." in words(chart.inner_text())
    for step, at, points in ((0, "h.1.resid_post", 2), (2, "h.2.resid_post", 2), (1, None, 3)):
        tab.locator("#step").fill(str(step))
        label = chart.locator("svg").get_attribute("aria-label")
        assert ("NaN or infinite" in label) == bool(at) and (not at or f"{at} NaN or infinite" in label)
        assert chart.locator(".point").count() == points
        assert chart.locator(".lost.now").count() == bool(at)
        line = chart.locator(".line.now").get_attribute("d")
        assert line.count("M") == (2 if step == 0 else 1), line


@pytest.mark.parametrize("width", [1280, 400])
def test_charts(opened, width):
    """The letters of charts can be read, and the bars of a card stand on one scale with its bound."""
    tab = opened("one", width)
    sizes = tab.eval_on_selector_all("#map svg text", "list => list.map(t => parseFloat(getComputedStyle(t).fontSize) * Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b))")
    assert len(sizes) > 20 and min(sizes) > 11.5
    bars = tab.locator("#card svg[aria-label^='against float64']")
    assert "times its bound" in bars.get_attribute("aria-label")
    assert bars.locator("line.limit").count() == 1
    at = float(bars.locator("line.limit").get_attribute("x1"))
    ends = [float(r.get_attribute("x")) + float(r.get_attribute("width")) for r in bars.locator("rect").all()]
    assert len(ends) == 3 and at < ends[0] < ends[1] and abs(ends[2] - at) < 0.01
    assert "bound" in bars.locator("text").all_text_contents()[-1]


@pytest.mark.parametrize("name", ["one", "right", "nonfinite"])
def test_words(opened, name):
    """What a screen reader says is English."""
    tab = opened(name)
    said = tab.eval_on_selector_all("[title], [aria-label]", "list => list.map(e => e.title + '; ' + e.getAttribute('aria-label'))")
    assert not [s for s in said if re.search(r"times of|exact of|same of|– of", s)]
    assert name != "one" or [s for s in said if "times the bound" in s]


def test_hatched_where_missing(opened, made):
    missing = {m["stage"] for m in made["one"][1]["missing"] if m["step"] == 0}
    shown = {title.split(",")[0] for _, name, title, _ in cells(opened("one")) if "missing" in name.split()}
    assert shown == missing and len(missing) > 5


def test_keys(opened):
    """Arrow keys walk the map, Enter opens a stage, and the slider keeps the stage."""
    tab = opened("one")
    focus = lambda: tab.evaluate("document.activeElement.title")  # noqa: E731
    tab.locator(".map td[aria-selected=true]").focus()
    assert focus().startswith("h.0.mlp.act, step 0")
    for key, want in [("ArrowRight", "h.0.mlp.c_proj"), ("ArrowRight", "h.0.resid_post"), ("ArrowRight", "h.0.resid_post"),
                      ("ArrowDown", "h.1.resid_post"), ("Home", "h.1.ln_1"), ("ArrowUp", "h.0.ln_1"), ("ArrowUp", "wte"),
                      ("ArrowDown", "h.0.ln_1"), ("End", "h.0.resid_post"), ("ArrowLeft", "h.0.mlp.c_proj"), ("ArrowLeft", "h.0.mlp.act")]:
        tab.keyboard.press(key)
        assert focus().startswith(want + ","), key
    assert tab.locator("#card h3").inner_text().startswith("h.0.mlp.act")
    tab.keyboard.press("ArrowDown")
    tab.keyboard.press("Enter")
    assert tab.locator("#card h3").inner_text().startswith("h.1.mlp.act step 0")
    assert focus().startswith("h.1.mlp.act")
    tab.locator("#step").focus()
    tab.keyboard.press("ArrowRight")
    assert tab.locator("#card h3").inner_text().startswith("h.1.mlp.act step 1")
    tab.locator(".map td[title^='h.2.ln_1,']").click()
    assert tab.locator("#card h3").inner_text().startswith("h.2.ln_1 step 1")


def test_card(opened):
    """A stage from near: bars, the cause, values, and a picture that is no single colour."""
    tab = opened("one")
    card = tab.locator("#card")
    text = words(card.inner_text())
    for want in ("● computed wrong itself", "gelu_erf (explains all of the error)", "against float64", "on its own inputs", "bound",
                 "got against want", "values by error over bound", "distance from float64", "this run", "tinygrad", "judged together with"):
        assert want in text, want
    assert card.locator("svg[role=img]").count() == 4
    assert card.locator(".values tbody tr").count() >= 3
    colours = card.locator("canvas[aria-label^='error of each value']").evaluate(
        "c => new Set(new Uint32Array(c.getContext('2d').getImageData(0, 0, c.width, c.height).data.buffer)).size")
    assert colours > 5
    tab.locator(".flow button").first.click()
    assert tab.locator("#card h3").inner_text().startswith("embed step 0")
    assert "exact" in tab.locator("#card").inner_text()


def test_layers(opened):
    """There is a layer for each engine of the goldens and one for the replay."""
    tab = opened("right")
    labels = tab.locator("#controls fieldset label").all_inner_texts()
    assert [x.strip() for x in labels] == ["all goldens", "float64", "candle", "mistralrs", "tinygrad", "transformers", "its own inputs"]
    before = cells(tab)
    tab.get_by_label("transformers", exact=True).check()
    assert "against the golden of transformers" in tab.locator("#against").inner_text()
    assert cells(tab) != before
    assert not [c for c in before if {"f1", "f2", "f3", "f4", "x"} & set(c[1].split())]


def test_cases(opened, made):
    """The page of verify begins with the twelve checkpoints, and has a map for each case."""
    tab = opened("engine")
    verdicts = [r["verdict"] for r in made["engine"][1]["checkpoints"]]
    assert tab.locator("#checkpoints tbody .state").all_inner_texts() == verdicts and len(verdicts) == 12
    extent = re.search(r"in \d+ of \d+ cases", made["engine"][2])[0]
    assert tab.locator("#verdict p").first.inner_text() == f"what is wrong by itself is so {extent}"
    assert "and in" in tab.locator("#findings li").first.inner_text()
    names = tab.locator("#case option").all_inner_texts()
    assert sorted(names) == sorted({r["case"] for r in made["engine"][1]["runs"]})
    tab.locator("#case").select_option("1")
    assert tab.locator("#card h3").inner_text().startswith("h.0.mlp.act")
    tab.locator(".show").first.click()
    assert "h.0.mlp.act" in tab.locator("#card h3").inner_text()


@pytest.mark.parametrize("fallback", [False, True])
def test_copy(opened, fallback):
    tab = opened("one")
    button = tab.locator("#verdict .copy")
    command = tab.locator("#verdict .command code").inner_text()
    if fallback:
        tab.evaluate("Object.defineProperty(navigator, 'clipboard', {value: {writeText: () => Promise.reject(new Error())}, configurable: true})")
        tab.evaluate("window.copied = ''; document.addEventListener('copy', () => { window.copied = document.activeElement.value; })")
    button.click()
    tab.wait_for_function("document.querySelector('#verdict .copy').textContent === 'copied'")
    assert tab.evaluate("window.copied" if fallback else "navigator.clipboard.readText()") == command
    assert "compare" in command and "--verbose" in command


def test_copied_command_runs(opened, made, tmp_path):
    """A shell that is given what the button copies compares the same folder, whatever its name."""
    tab = opened("hostile")
    tab.locator("#verdict .copy").click()
    tab.wait_for_function("document.querySelector('#verdict .copy').textContent === 'copied'")
    command = tab.evaluate("navigator.clipboard.readText()")
    assert command.isprintable()
    (tmp_path / "checkpoint12").symlink_to(made.program)
    done = subprocess.run(["sh", "-c", command], cwd=made.root, capture_output=True, text=True, env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"})
    assert done.returncode == 1 and done.stdout.split("\n\n")[0] == made["hostile"][2].split("\n\n")[0], done.stderr


@pytest.mark.parametrize("name", ["one", "right", "engine", "hostile"])
def test_without_script(opened, name):
    """Without JavaScript there are the verdict, findings, tables, and the same map."""
    scripted = opened(name)
    plain = opened(name, java_script_enabled=False)
    assert words(plain.locator("#verdict h1").inner_text()) == words(scripted.locator("#verdict h1").inner_text())
    assert plain.locator("#stages tbody tr").count() > 5 and plain.locator(".tokens tbody tr").count() > 0
    assert not plain.locator("button:visible").count() and not plain.locator("#controls").is_visible()
    if name != "right":
        assert plain.locator("#findings li").count() > 0 and plain.locator("#rows tbody tr").count() > 5
    get = "list => list.map(c => [c.dataset.cell, c.className, c.title, c.getAttribute('aria-label'), c.innerText.trim(), c.colSpan])"
    static = [[c.get_attribute(a) for a in ("data-cell", "class", "title", "aria-label")] + [c.inner_text().strip(), int(c.get_attribute("colspan"))]
              for c in plain.locator(".map td.c").all()]
    assert static == scripted.eval_on_selector_all(".map td.c", get)


def test_hostile(opened):
    """What comes from outside is text: no element is made of it, and what is not printed shows."""
    tab = opened("hostile")
    assert tab.locator("img").count() == 0 and tab.evaluate("document.scripts.length") == 2
    text = tab.evaluate("document.body.textContent")
    for want in (r"\x1b[31m\x01\u202e", "<script>alert(1)", "alert(2)"):
        assert want in text
    assert not [c for c in text if c != "\n" and (ord(c) < 32 or c in "\x7f\u202e")]


def test_print(opened):
    tab = opened("one")
    tab.emulate_media(media="print")
    assert not tab.locator("#controls").is_visible() and not tab.locator(".copy").first.is_visible()
    assert tab.locator("#card h3").is_visible() and tab.locator(".map td.c").first.is_visible()
    assert len(tab.pdf()) > 10_000
