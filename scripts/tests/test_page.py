"""The page of --html, as a person sees it in a browser: its verdict, its map and its tables.

.ci/run browser installs what this needs and runs it.
"""

import os
import re
import subprocess

import pytest

from pages import Axe, browser, cells, made, opened, words  # noqa: F401

NAMES = ["right", "one", "three", "alone", "unmodelled", "padded", "verify", "engine", "hostile", "medium", "accepted", "nonfinite", "full"]


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
        assert not [(v["id"], [n["html"] for n in v["nodes"][:3]]) for v in found]
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


@pytest.mark.parametrize("name", ["one", "right", "nonfinite"])
def test_words(opened, name):
    """What a screen reader says is English."""
    tab = opened(name)
    said = tab.eval_on_selector_all("[title], [aria-label]", "list => list.map(e => e.title + '; ' + e.getAttribute('aria-label'))")
    assert not [s for s in said if re.search(r"times of|exact of|same of|– of", s)]
    assert name != "one" or [s for s in said if "times the tolerance" in s]


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
    assert done.returncode == 1 and done.stdout.split("\n\n")[0].split() == made["hostile"][2].split("\n\n")[0].split(), done.stderr


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
    folded = tab.locator("details:not([open])").count()
    tab.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert folded > 2 and tab.locator("details:not([open])").count() == 0
    tab.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert tab.locator("details:not([open])").count() == folded
    assert len(tab.pdf()) > 10_000


def test_opens_on_the_worst(opened):
    """The page of a verify that passes opens on what is nearest to its bound."""
    tab = opened("verify")
    runs = tab.evaluate("JSON.parse(document.getElementById('data').textContent)")
    compared = lambda layer: [v for s, v in zip(layer["status"], layer["share"]) if s in "pd"]  # noqa: E731
    assert max(compared(runs[0]["layers"][0])) == max(v for r in runs for v in compared(r["layers"][0])) == runs[0]["layers"][0]["share"][runs[0]["start"]]
    assert tab.locator("#case option").first.inner_text() == runs[0]["name"]


def test_legend(opened, made):
    """What stands in a cell is in the legend."""
    tab = opened("unmodelled_nonfinite")
    assert "N" in {text for _, _, _, text in cells(tab)}
    assert tab.locator("#legend .key:has(.x)").inner_text() == "N not finite, S another shape, or not the same"


def test_tokens_without_a_golden(opened):
    """Where nothing can say how certain a token is, the table says why."""
    rows = opened("alone").locator(".tokens tbody tr").all_inner_texts()
    assert rows and all("no golden" in row for row in rows)
    assert not [row for row in opened("one").locator(".tokens tbody tr").all_inner_texts() if "no golden" in row]
