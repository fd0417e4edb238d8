"""The page of --html, as a person sees it in a browser: a stage from near, and the charts."""

import re

import pytest

from pages import browser, cells, made, opened, words  # noqa: F401


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


def test_axes_of_a_padded_batch(opened):
    """Each picture names its axes, and a step the columns that it feeds."""
    tab = opened("padded")
    assert tab.locator("#step-label").inner_text() == "step 0, columns 0–3"
    runs = tab.evaluate("JSON.parse(document.getElementById('data').textContent)")
    drawn = [p["axes"] for c in runs[0]["cards"] for p in [c.get("golden"), c.get("replay")] if p]
    assert len(drawn) > 5 and not [axes for axes in drawn if "index" in axes]


def test_coordinates_of_a_padded_batch(opened):
    """A card has the coordinates of the row that it shows, and says so."""
    tab = opened("padded")
    text = words(tab.locator("#card").inner_text())
    shown, tokens, row = re.search(r"step 0, columns 0–3, 1 × (\d+) × 80, row (\d) of the batch without its padding", text).group(0, 1, 2)
    assert f"coordinates of row {row} alone" in text and (row == "1" or "position 0 is column 2 of the dump" in text)
    place = re.search(r"around the worst value, at (position (\d+), channel \d+)", text)
    assert f"off by more than rounding; worst at {place[1]}: got" in text and int(place[2]) < int(tokens)
    assert f"position 0–{int(tokens) - 1} down" in text and not re.search(r"at \[\d", text)


@pytest.mark.parametrize("width", [1280, 400])
def test_charts(opened, width):
    """The letters of charts can be read, and the bars of a card stand on one scale with its bound."""
    tab = opened("one", width)
    sizes = tab.eval_on_selector_all("#map svg text", "list => list.map(t => parseFloat(getComputedStyle(t).fontSize) * Math.hypot(t.getScreenCTM().a, t.getScreenCTM().b))")
    assert len(sizes) > 20 and min(sizes) > 11.5
    bars = tab.locator("#card svg[aria-label^='against float64']")
    assert "times the rounding bound" in bars.get_attribute("aria-label")
    assert bars.locator("line.limit").count() == 1
    at = float(bars.locator("line.limit").get_attribute("x1"))
    ends = [float(r.get_attribute("x")) + float(r.get_attribute("width")) for r in bars.locator("rect").all()]
    assert len(ends) == 3 and at < ends[0] < ends[1] and abs(ends[2] - at) < 0.01
    assert "bound" in bars.locator("text").all_text_contents()[-1]


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


def test_no_golden(opened, made):
    """What no golden has is there: grey, with words, in the legend, and bounded by nothing but its rounding."""
    rows = {row["stage"] for row in made["full"][1]["stages"] if row["step"] == 3}
    tab = opened("full")
    tab.locator("#step").fill("3")
    shown = {title.split(",")[0]: (name, title) for _, name, title, _ in cells(tab)}
    alone = {stage for stage, (_, title) in shown.items() if "no golden" in title}
    assert alone == set(shown) - rows == {"probs_t0.5", "probs_t1", "probs_t2"}
    assert all("grey" in shown[s][0].split() and shown[s][1].endswith(": no golden, correct for its inputs") for s in alone)
    assert not [title for _, title in shown.values() if "not there" in title]
    assert "no golden" in tab.locator("#legend .key:has(.grey)").inner_text()
    tab.locator(".map td[title^='probs_t1,']").click()
    card = words(tab.locator("#card").inner_text())
    assert "correct for its inputs, no golden" in card and "tolerance" not in card
    bare = opened("unmodelled_full")
    bare.locator("#step").fill("3")
    assert bare.locator(".map td[title^='probs_t1,']").get_attribute("title").endswith(": no golden")


NUMBER = r"[\d.]+(e-?\d+)?"


@pytest.mark.parametrize("name,stage,want", [
    ("one", "h.0.mlp.act", r"against float64: .* times the tolerance, N; on its own inputs: .* times the rounding bound, N; bound: tolerance N, rounding N"),
    ("full", "probs_t1", r"against all goldens: no golden; on its own inputs: exact, 0; bound: rounding N"),
    ("alone", "h.0.mlp.act", r"against a golden: no golden; on its own inputs: .* times the rounding bound, N; bound: rounding N"),
    ("unmodelled", "h.0.mlp.act", r"against float64: .* times the tolerance, N; on its own inputs: not replayed; bound: tolerance N"),
    ("nonfinite", "h.1.resid_post", r"against float64: not finite; on its own inputs: not finite; bound: tolerance N, rounding N"),
])
def test_bars(opened, name, stage, want):
    """There are always the errors against the golden and of the replay, and both bounds, or why there are none."""
    tab = opened(name)
    if name == "full":
        tab.locator("#step").fill("3")
    tab.locator(f".map td[title^='{stage},']").click()
    chart = tab.locator("#card svg").first
    label = chart.get_attribute("aria-label")
    assert re.fullmatch(want.replace("N", NUMBER), label), label
    assert chart.locator("rect").count() == 3
    text, figures = chart.text_content(), words(tab.locator("#card .facts").inner_text())
    for bound in ("tolerance", "rounding"):
        assert (bound in text) == (bound in want.split("bound: ")[-1]) == (("rounding bound" if bound == "rounding" else bound) in figures)


@pytest.mark.parametrize("width", [1, 20, 60])
def test_narrow(opened, width):
    """However narrow a window is, nothing complains."""
    opened("one", width)


def test_card_follows_the_layer(opened):
    """The card says what its errors are against, and changes with the layer."""
    tab = opened("right")
    bars = tab.locator("#card svg").first
    tab.locator(".map td[title^='h.1.mlp.act,']").click()
    seen = set()
    for name, said in (("all goldens", "against all goldens"), ("candle", "against the golden of candle"), ("transformers", "against the golden of transformers")):
        tab.get_by_label(name, exact=True).check()
        assert tab.locator("#shown").inner_text() == said
        assert bars.get_attribute("aria-label").startswith(f"against {name}: ")
        seen.add(bars.get_attribute("aria-label").split(";")[0].split(": ")[1])
    assert len(seen) > 1
    tab.locator(".map td[aria-selected=true]").click()
    tab.get_by_label("its own inputs", exact=True).check()
    assert tab.locator("#shown").inner_text() == "replayed on its own inputs"
    assert "in figures, against all goldens" in tab.locator("#card").inner_text()


def test_scatter_has_numbers(opened):
    """Both axes of a scatter have their ends."""
    texts = opened("one").locator("#card svg[aria-label^='got against want']").locator("text").all_text_contents()
    low, high = texts[0], texts[1]
    assert texts.count(low) == 2 and texts.count(high) == 2 and {"got", "want"} <= set(texts)
