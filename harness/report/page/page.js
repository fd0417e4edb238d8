(() => {
const runs = JSON.parse(document.getElementById("data").textContent) || [];
runs.forEach((r, i) => { r.stages ||= runs[i - 1].stages; });
const $ = id => document.getElementById(id);
// The words and classes of cells are those of grid.go.
const statusWords = {" ": "not there", p: "within its bound", d: "within its bound, which says little", f: "outside its bound",
  c: "fails its own check", m: "missing", s: "of another shape", n: "not finite", k: "not comparable", g: "no golden"};
const markWords = {"!": "computed wrong itself", i: "inherited", "?": "own computation cannot be judged", u: "not used as it is dumped",
  "=": "correct for its inputs"};
const accepted = (run, at) => run.accepted && run.accepted[at] === "a";
function classOf(run, layer, at) { return colourOf(layer, at) + (accepted(run, at) ? " accepted" : ""); }
function colourOf(layer, at) {
  const fixed = {" ": "none", m: "missing", k: "grey", g: "grey", d: "grey", s: "x", n: "x", c: "f1"}[layer.status[at]];
  if (fixed) return fixed;
  const s = layer.share[at];
  if (layer.status[at] === "f" && s <= 1) return "f1";
  if (s === 0) return "s0";
  for (const [most, name] of [[0.01, "s1"], [0.1, "s2"], [1, "s3"], [10, "f1"], [100, "f2"], [1e4, "f3"], [1e300, "f4"]])
    if (s <= most) return name;
  return "x";
}
function markOf(run, layer, at) {
  const m = run.marks[at], s = layer.status[at];
  return (m === "!" ? "●" : m === "u" ? "◆" : s === "s" ? "S" : s === "n" ? "N" : m === "i" ? "○" : m === "?" ? "?" : "") + (accepted(run, at) ? "a" : "");
}
function wordsOf(run, layer, at) {
  const n = run.stages.length, s = layer.status[at];
  let text = `${run.stages[at % n].name}, ${run.steps[Math.floor(at / n)].label}: ${statusWords[s]}`;
  if ("pfdc".includes(s)) text += `, error ${num(layer.error[at])}, ${shareOf(layer.share[at], boundOf(layer))}`;
  return text + (markWords[run.marks[at]] ? ", " + markWords[run.marks[at]] : "") + (accepted(run, at) ? ", accepted" : "");
}
const boundOf = layer => layer.replay ? "the rounding bound" : "the tolerance";
const against = layer => layer.replay ? "replayed on its own inputs" : layer.name === "all goldens" ? "against all goldens" : "against the golden of " + layer.name;

// What is shown: a run, a layer of it, a step, and the cell that is open.
const now = {run: 0, layer: 0, cell: 0, picture: ""};
let column = null; // in which arrow keys go up and down
const run = () => runs[now.run], layer = () => run().layers[now.layer];
const width = () => run().stages.length;
const stepOf = cell => Math.floor(cell / width());

for (const b of document.querySelectorAll(".copy")) {
  b.hidden = false;
  b.addEventListener("click", () => copy(b, b.parentNode.querySelector("code").textContent));
}
async function copy(button, text) {
  let done = false;
  try { await navigator.clipboard.writeText(text); done = true; } catch (e) {
    const area = el("textarea", {"aria-hidden": "true"});
    area.value = text;
    button.after(area);
    area.select();
    try { done = document.execCommand("copy"); } catch (e) { done = false; }
    area.remove();
    button.focus();
  }
  button.textContent = done ? "copied" : "select and copy";
  setTimeout(() => { button.textContent = "copy"; }, 2000);
}

// What is folded is printed too.
addEventListener("beforeprint", () => document.querySelectorAll("details:not([open])").forEach(d => { d.open = true; d.dataset.shut = ""; }));
addEventListener("afterprint", () => document.querySelectorAll("details[data-shut]").forEach(d => { d.open = false; delete d.dataset.shut; }));

if (!runs.length || !$("grid")) return;
now.cell = run().start;
for (const b of document.querySelectorAll(".show")) {
  b.hidden = false;
  b.addEventListener("click", () => {
    now.run = Number(b.dataset.run);
    now.layer = 0;
    now.cell = Number(b.dataset.cell);
    draw();
    $("map").scrollIntoView({block: "start"});
    $("card").focus({preventScroll: true});
  });
}
$("controls").hidden = false;
$("controls").addEventListener("submit", e => e.preventDefault());
draw();
let wide = innerWidth;
addEventListener("resize", () => {
  if (wide === innerWidth) return;
  wide = innerWidth;
  drawCard();
  drawGrowth();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCard);

function draw() { drawControls(); drawGrid(); drawCard(); drawGrowth(); }

function drawControls() {
  const r = run(), form = $("controls"), parts = [];
  if (runs.length > 1)
    parts.push(el("label", {}, el("span", {class: "muted"}, "case"), el("select", {id: "case", change: e => {
      now.run = Number(e.target.value);
      now.layer = 0;
      now.cell = run().start;
      draw();
      $("case").focus();
    }}, runs.map((x, i) => el("option", {value: i, selected: i === now.run}, x.name)))));
  if (r.layers.length > 1)
    parts.push(el("fieldset", {}, el("legend", {}, "error against"), r.layers.map((l, i) =>
      el("label", {}, el("input", {type: "radio", name: "layer", value: i, checked: i === now.layer, change: () => {
        now.layer = i;
        now.picture = l.replay ? "replay" : "golden";
        drawGrid();
        drawCard();
      }}), l.name))));
  if (r.steps.length > 1) {
    const out = el("output", {id: "step-label", for: "step"}, r.steps[stepOf(now.cell)].label);
    parts.push(el("div", {class: "steps"}, el("label", {for: "step", class: "muted"}, "step"), el("input", {type: "range", id: "step", min: 0,
      max: r.steps.length - 1, step: 1, value: stepOf(now.cell), "aria-valuetext": r.steps[stepOf(now.cell)].label,
      input: e => {
        now.cell = Number(e.target.value) * width() + now.cell % width();
        drawGrid();
        drawCard();
        drawGrowth();
      }}), out));
  }
  form.replaceChildren(...parts);
}

// rows returns the grid of cells, and the labels of its columns.
function rows() {
  const stages = run().stages, base = stepOf(now.cell) * width();
  let blocks = 0, columns = 1;
  for (const s of stages) if (s.block >= 0) { blocks = Math.max(blocks, s.block + 1); columns = Math.max(columns, s.column + 1); }
  const inner = Array.from({length: blocks}, () => Array(columns).fill(null)), before = [], after = [], heads = Array(columns).fill("");
  stages.forEach((s, i) => {
    if (s.block === -1) before.push({at: base + i, name: s.label});
    else if (s.block === -2) after.push({at: base + i, name: s.label});
    else { inner[s.block][s.column] = {at: base + i}; heads[s.column] = s.label; }
  });
  columns = Math.max(columns, before.length, after.length);
  const spread = list => list.forEach((c, k) => {
    c.span = Math.floor((k + 1) * columns / list.length) - Math.floor(k * columns / list.length);
  });
  spread(before);
  spread(after);
  const all = inner.map((cells, n) => ({head: String(n), cells}));
  if (before.length) all.unshift({head: "in", cells: before});
  if (after.length) all.push({head: "out", cells: after});
  return {all, heads: blocks ? heads : []};
}

function drawGrid(focus) {
  const r = run(), l = layer(), {all, heads} = rows();
  const title = `${r.steps[stepOf(now.cell)].label}, ${against(l)}`;
  const table = el("table", {class: "map", role: "grid", "aria-label": "error as a share of its bound: " + title},
    el("thead", {}, el("tr", {}, el("td", {class: "corner"}), heads.map(h => el("th", {scope: "col"}, el("span", {}, h))))),
    el("tbody", {}, all.map((row, y) => el("tr", {}, el("th", {scope: "row"}, row.head), row.cells.map((c, x) => {
      if (!c) return el("td", {class: "gap"});
      const words = wordsOf(r, l, c.at), open = c.at === now.cell;
      return el("td", {class: `c ${classOf(r, l, c.at)}${c.name ? " outer" : ""}`, colspan: c.span || 1, title: words,
        "aria-label": words, "data-cell": c.at, "data-x": x, "data-y": y, tabindex: open ? 0 : -1, "aria-selected": open,
        click: () => open_(c.at)}, c.name && el("span", {class: "name"}, c.name), c.name && " ", markOf(r, l, c.at));
    })))));
  table.addEventListener("keydown", walk);
  $("grid").replaceChildren(table);
  $("against").textContent = title + ".";
  const slider = $("step");
  if (slider) {
    slider.value = stepOf(now.cell);
    slider.setAttribute("aria-valuetext", r.steps[stepOf(now.cell)].label);
    $("step-label").textContent = r.steps[stepOf(now.cell)].label;
  }
  for (const td of table.querySelectorAll("td.c")) td.setAttribute("aria-selected", Number(td.dataset.cell) === now.cell);
  if (focus) table.querySelector(`[data-cell="${now.cell}"]`).focus();
}

function open_(at) {
  now.cell = at;
  drawGrid(true);
  drawCard();
  drawGrowth();
}

// walk moves the focus as the arrow keys say. Up and down keep to a column, also over cells
// of several.
function walk(e) {
  const td = e.target.closest("td.c");
  if (!td) return;
  if (e.key === "Enter" || e.key === " ") {
    e.preventDefault();
    open_(Number(td.dataset.cell));
    return;
  }
  const move = {ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], Home: [-999, 0], End: [999, 0]}[e.key];
  if (!move) return;
  e.preventDefault();
  const trs = [...td.closest("tbody").rows], y = trs.indexOf(td.parentNode);
  const cells = tr => [...tr.cells].filter(c => c.matches("td.c"));
  let to = null;
  if (move[0]) {
    column = null;
    const list = cells(trs[y]);
    to = list[Math.min(list.length - 1, Math.max(0, list.indexOf(td) + move[0]))];
  } else {
    const middle = column ?? td.getBoundingClientRect().x + td.getBoundingClientRect().width / 2;
    column = middle;
    for (let k = y + move[1]; k >= 0 && k < trs.length && !to; k += move[1]) {
      const far = c => { const b = c.getBoundingClientRect(); return Math.max(b.x - middle, middle - b.x - b.width, 0); };
      to = cells(trs[k]).sort((a, b) => far(a) - far(b))[0] || null;
    }
  }
  if (!to || to === td) return;
  td.tabIndex = -1;
  to.tabIndex = 0;
  to.focus();
}

function drawCard() {
  const r = run(), at = now.cell, stage = r.stages[at % width()], step = r.steps[stepOf(at)];
  const card = r.cards.find(c => c.cell === at), mark = r.marks[at], box = $("card");
  const l = layer(), first = r.layers.find(x => !x.replay), golden = l.replay ? first : l, replay = r.layers.find(x => x.replay);
  const known = [golden, replay].map(x => x && "pfdcn".includes(x.status[at]));
  const parts = [el("h3", {}, el("code", {}, stage.name), el("span", {class: "where"}, ` ${step.label}${card && card.shape ? ", " + card.shape : ""}${card && card.of ? ", " + card.of : ""}`))];
  const bad = "!u".includes(mark) && !accepted(r, at);
  const state = [l, ...r.layers].map(x => x.status[at]).find(s => s !== " ") || " ";
  parts.push(el("p", {class: "muted", id: "shown"}, against(l)));
  parts.push(el("p", {class: "own" + (bad ? " bad" : mark === "=" && state === "p" ? " ok" : "")},
    ({"!": "● ", u: "◆ ", i: "○ "}[mark] || "") + (markWords[mark] || statusWords[state]) + (markWords[mark] && state === "g" ? ", no golden" : "") + (accepted(r, at) ? ", accepted" : "")));
  if (card) for (const c of card.causes || []) parts.push(el("p", {}, c));
  parts.push(flow(card, stage, at));
  parts.push(el("h4", {}, "error over its bound, and how large it is"), bars(golden, replay, at));
  if (card && (card.golden || card.replay)) parts.push(...pictures(card, mark, golden));
  else if (known[0] || known[1]) parts.push(el("p", {class: "muted"}, "There is no picture of this tensor in the page, which has those of what is wrong and a sample of the rest."));
  if (card && card.engines && card.engines.length) parts.push(el("h4", {}, "distance from float64, as a share of the tolerance"), engines(card.engines));
  const facts = (card && card.facts || []).slice();
  if (known[0] && !facts.some(f => f.Name === "tolerance")) facts.push({Name: "tolerance", Value: stage.bound}, {Name: "reason for it", Value: stage.why});
  if (known[1] && replay.bound[at] !== null) facts.push({Name: "rounding bound", Value: `${num(replay.bound[at])}, where it is worst on its own inputs`});
  if (r.grown && r.grown[at]) facts.push({Name: "amplification", Value: `${num(r.grown[at])} times the error that it read`});
  parts.push(el("h4", {}, "in figures" + (known[0] ? ", " + against(first) : "")), el("dl", {class: "facts"}, facts.map(f => [el("dt", {}, f.Name), el("dd", {}, f.Value)])));
  box.replaceChildren(...parts);
  for (const c of box.querySelectorAll("canvas")) paint(c);
}

// room returns how wide a chart of the card can be, which is as wide as the map.
function room(most) { return Math.max(300, Math.min(most, $("grid").clientWidth - 34)); }

// flow shows what the stage reads beside what it gives.
function flow(card, stage, at) {
  const r = run(), l = layer(), base = at - at % width();
  const list = card && card.inputs && card.inputs.length ? card.inputs : (stage.reads || []).map(i => ({cell: base + i}));
  const button = (input, own) => {
    const s = r.stages[input.cell % width()], st = r.steps[stepOf(input.cell)];
    const name = s.name + (stepOf(input.cell) === stepOf(at) ? "" : `, step ${st.n}`);
    const content = [el("i", {class: "swatch c " + classOf(r, l, input.cell)}), el("code", {}, name), " ", markOf(r, l, input.cell)];
    const panel = input.panels && input.panels[0];
    if (panel) content.push(el("canvas", {role: "img", "aria-label": "error of " + name, width: panel.cols, height: panel.rows, "data-dots": panel.pixels}));
    return own ? el("div", {class: "own-output"}, content) : el("button", {type: "button", title: wordsOf(r, l, input.cell), click: () => { open_(input.cell); $("card").focus({preventScroll: true}); }}, content);
  };
  return el("div", {}, el("h4", {}, list.length ? "what it reads → what it gives" : "what it gives"),
    el("div", {class: "flow"}, list.map(i => button(i, false)), list.length ? "→" : "", button({cell: at, panels: card && card.golden && list.some(i => i.panels) ? card.golden.panels : null}, true)));
}

// pictures returns the pictures of a card, of the error against the golden or of its own.
function pictures(card, mark, golden) {
  const kinds = ["golden", "replay"].filter(k => card[k]);
  const kind = kinds.includes(now.picture) ? now.picture : "!u".includes(mark) && card.replay ? "replay" : kinds[0];
  const p = card[kind], parts = [el("h4", {}, "picture of the error")];
  if (kinds.length > 1)
    parts.push(el("fieldset", {class: "controls"}, el("legend", {class: "sr"}, "error against"), kinds.map(k => el("label", {}, el("input", {type: "radio", name: "picture",
      checked: k === kind, change: () => { now.picture = k; drawCard(); $("card").querySelector("input[name=picture]:checked").focus(); }}), card[k].against))));
  else parts.push(el("p", {class: "muted"}, "against " + p.against));
  const other = golden && against(golden);
  if (kind === "golden" && other !== "against all goldens" && other !== "against " + p.against) parts.push(el("p", {class: "small"}, `The page has no picture ${other}.`));
  const size = panel => Math.max(1, Math.min(p.panels.length > 4 ? 10 : p.panels.length > 1 ? 22 : 12, Math.floor((p.panels.length > 1 ? 150 : 460) / panel.cols), Math.floor(300 / panel.rows)) );
  parts.push(el("div", {class: "panels"}, p.panels.map(panel => {
    const label = `${panel.label ? panel.label + ": " : ""}${p.axes[0]} ${panel.down} down, ${p.axes[1]} ${panel.along} across`;
    const canvas = el("canvas", {width: panel.cols, height: panel.rows, role: "img", "aria-label": "error of each value, " + label, "data-dots": panel.pixels});
    canvas.style.width = panel.cols * size(panel) + "px";
    canvas.style.height = panel.rows * Math.max(size(panel), panel.rows < 4 ? 12 : 1) + "px";
    return el("figure", {}, canvas, el("figcaption", {}, p.panels.length > 1 ? panel.label : label));
  })));
  if (p.panels.length > 1) parts.push(el("p", {class: "small"}, `${p.axes[0]} ${p.panels[0].down} down, ${p.axes[1]} ${p.panels[0].along} across`));
  parts.push(el("p", {class: "small"}, "0.001 ", el("canvas", {class: "scale", width: 120, height: 1, role: "img", "aria-label": "scale, from a thousandth of the bound to 100,000 times it",
    "data-dots": btoa(String.fromCharCode(...Array.from({length: 120}, (_, i) => 1 + Math.round(i * 239 / 119))))}), ` 100,000 times ${kind === "replay" ? "the rounding bound" : "the tolerance"} `, el("span", {class: "key"}, el("i", {class: "c x"}), "not finite")));
  if (p.values.rows) {
    parts.push(el("h4", {}, `around the worst value${p.values.where ? `, at ${p.values.where}` : ""}`), el("div", {class: "wide", tabindex: 0, role: "region", "aria-label": "values around the worst"}, el("table", {class: "values"},
      el("thead", {}, el("tr", {}, el("th", {}, p.axes[1]), p.values.head.map((h, i) => el("th", {scope: "col", class: i === p.values.at ? "worst" : undefined}, h)))),
      el("tbody", {}, p.values.rows.map(row => el("tr", {}, row.map((c, i) => i ? el("td", {class: i - 1 === p.values.at ? "worst" : undefined}, c) : el("th", {scope: "row"}, c))))))));
  }
  parts.push(el("div", {class: "charts"}, scatter(p), histogram(p)));
  return parts;
}

// bars shows the errors of a cell by their bounds, and the bounds: three rows, with words where one has no number.
function bars(golden, replay, at) {
  const row = (name, l, none) => {
    const s = l ? l.status[at] : " ", v = l && "pfdcn".includes(s) ? l.share[at] : 0;
    const said = s === " " && l && !l.replay ? statusWords[s] : {" ": none, k: l && l.replay ? "not judged" : statusWords.k}[s] || ("pfdc".includes(s) ? `${share(v)}, ${num(l.error[at])}` : statusWords[s]);
    return [name, v, said, undefined, `${name}: ${said.replace(share(v), shareOf(v, l && boundOf(l)))}`];
  };
  const list = [row(golden ? "against " + golden.name : "against a golden", golden, "no golden"), row("on its own inputs", replay, "not replayed")];
  const bounds = [golden, replay].filter(l => l && l.bound[at] !== null).map(l => `${l.replay ? "rounding" : "tolerance"} ${num(l.bound[at])}`);
  list.push(["bound", bounds.length ? 1 : 0, bounds.length ? bounds : "none", "plain", "bound: " + (bounds.join(", ") || "none")]);
  return hbars(list.map(r => r[4]).join("; "), room(430), list);
}

function engines(list) {
  return hbars("distance from float64: " + list.map(e => `${e.name} ${shareOf(e.share, "the tolerance")}`).join("; "), room(430), list.map(e => [e.name, e.share, share(e.share)]));
}

function drawGrowth() {
  const g = run().growth;
  $("growth").replaceChildren(...(g ? growth(g, run().steps[stepOf(now.cell)].n, Math.max(300, Math.min(560, $("grid").clientWidth))) : []).filter(x => x));
}
})();
