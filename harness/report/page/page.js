"use strict";
(() => {
const runs = JSON.parse(document.getElementById("data").textContent) || [];
const $ = id => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";

// el makes an element; attributes that are undefined are left out, text children become text.
function el(name, attrs, ...children) { return fill(document.createElement(name), attrs, children); }
function svg(name, attrs, ...children) { return fill(document.createElementNS(SVG, name), attrs, children); }
function fill(e, attrs, children) {
  for (const [k, v] of Object.entries(attrs || {})) {
    if (typeof v === "function") e.addEventListener(k, v);
    else if (v !== undefined && v !== false) e.setAttribute(k, v === true ? "" : v);
  }
  for (const c of children.flat(9)) if (c !== null && c !== undefined && c !== "") e.append(c);
  return e;
}

const log = v => Math.log10(v);
function num(v) {
  if (v === null || v === undefined || Number.isNaN(v)) return "–";
  if (!Number.isFinite(v)) return v > 0 ? "∞" : "−∞";
  const short = Number(v.toPrecision(3));
  return v !== 0 && (Math.abs(short) < 1e-3 || Math.abs(short) >= 1e6) ? short.toExponential().replace("e+", "e") : String(short);
}
function share(v) {
  if (v === null) return "–";
  if (v === 0) return "exact";
  if (v > 1e300) return "not the same";
  if (v > 1) return num(v) + " times";
  if (v < 1e-4) return "below 0.01%";
  return num(100 * v) + "%";
}

// The words and classes of cells are those of grid.go.
const statusWords = {" ": "not there", p: "within its bound", d: "within its bound, which says little", f: "outside its bound",
  c: "fails its own check", m: "missing", s: "of another shape", n: "not finite", k: "not comparable"};
const markWords = {"!": "computed wrong itself", i: "inherited", "?": "own computation cannot be judged", a: "accepted",
  "=": "correct for its inputs"};
function classOf(layer, at) {
  const fixed = {" ": "none", m: "missing", k: "grey", d: "grey", s: "x", n: "x", c: "f1"}[layer.status[at]];
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
  return m === "!" ? "●" : m === "a" ? "a" : s === "s" ? "S" : s === "n" ? "N" : m === "i" ? "○" : m === "?" ? "?" : "";
}
function wordsOf(run, layer, at) {
  const n = run.stages.length, s = layer.status[at];
  let text = `${run.stages[at % n].name}, ${run.steps[Math.floor(at / n)].label}: ${statusWords[s]}`;
  if ("pfdc".includes(s)) text += `, error ${num(layer.error[at])}, ${share(layer.share[at])} of the bound`;
  return markWords[run.marks[at]] ? text + ", " + markWords[run.marks[at]] : text;
}
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
        drawGrid();
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
      return el("td", {class: `c ${classOf(l, c.at)}${c.name ? " outer" : ""}`, colspan: c.span || 1, title: words,
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
  const golden = r.layers.find(l => !l.replay && "pfdcn".includes(l.status[at])), replay = r.layers.find(l => l.replay && "pfcn".includes(l.status[at]));
  const parts = [el("h3", {}, el("code", {}, stage.name), el("span", {class: "where"}, ` ${step.label}${card && card.shape ? ", " + card.shape : ""}${card && card.of ? ", " + card.of : ""}`))];
  const bad = mark === "!";
  const state = r.layers.map(l => l.status[at]).find(s => s !== " ") || " ";
  parts.push(el("p", {class: "own" + (bad ? " bad" : mark === "=" && state === "p" ? " ok" : "")},
    (bad ? "● " : mark === "i" ? "○ " : "") + (markWords[mark] || statusWords[state])));
  if (card) for (const c of card.causes || []) parts.push(el("p", {}, c));
  parts.push(flow(card, stage, at));
  if (golden || replay) parts.push(el("h4", {}, "error and bound"), bars(golden, replay, at));
  if (card && (card.golden || card.replay)) parts.push(...pictures(card, mark));
  else if (golden || replay) parts.push(el("p", {class: "muted"}, "There is no picture of this tensor in the page, which has those of what is wrong and a sample of the rest."));
  if (card && card.engines && card.engines.length) parts.push(el("h4", {}, "distance from float64, as a share of the tolerance"), engines(card.engines));
  const facts = (card && card.facts || []).slice();
  if (!facts.some(f => f.Name === "tolerance")) facts.push({Name: "tolerance", Value: stage.bound}, {Name: "reason for it", Value: stage.why});
  if (r.grown && r.grown[at]) facts.push({Name: "amplification", Value: `${num(r.grown[at])} times the error that it read`});
  parts.push(el("h4", {}, "in figures"), el("dl", {class: "facts"}, facts.map(f => [el("dt", {}, f.Name), el("dd", {}, f.Value)])));
  box.replaceChildren(...parts);
  for (const c of box.querySelectorAll("canvas")) paint(c);
}

// flow shows what the stage reads beside what it gives.
function flow(card, stage, at) {
  const r = run(), l = layer(), base = at - at % width();
  const list = card && card.inputs && card.inputs.length ? card.inputs : (stage.reads || []).map(i => ({cell: base + i}));
  const button = (input, own) => {
    const s = r.stages[input.cell % width()], st = r.steps[stepOf(input.cell)];
    const name = s.name + (stepOf(input.cell) === stepOf(at) ? "" : `, step ${st.n}`);
    const content = [el("i", {class: "swatch c " + classOf(l, input.cell)}), el("code", {}, name), " ", markOf(r, l, input.cell)];
    const panel = input.panels && input.panels[0];
    if (panel) content.push(el("canvas", {role: "img", "aria-label": "error of " + name, width: panel.cols, height: panel.rows, "data-dots": panel.pixels}));
    return own ? el("div", {class: "own-output"}, content) : el("button", {type: "button", title: wordsOf(r, l, input.cell), click: () => { open_(input.cell); $("card").focus({preventScroll: true}); }}, content);
  };
  return el("div", {}, el("h4", {}, list.length ? "what it reads → what it gives" : "what it gives"),
    el("div", {class: "flow"}, list.map(i => button(i, false)), list.length ? "→" : "", button({cell: at, panels: card && card.golden && list.some(i => i.panels) ? card.golden.panels : null}, true)));
}

function bars(golden, replay, at) {
  const list = [];
  if (golden) list.push(["against " + golden.name, golden.error[at], golden.share[at]]);
  if (replay) list.push(["on its own inputs", replay.error[at], replay.share[at]]);
  const bounds = list.map(([, e, s]) => e > 0 && s > 0 && s < 1e300 ? e / s : null);
  if (bounds.some(b => b)) list.push(["bound", bounds.find(b => b), null]);
  const finite = [...list.map(b => b[1]), ...bounds].filter(v => v > 0 && Number.isFinite(v));
  const low = Math.floor(log(Math.min(...finite, 1)) - 0.5), high = Math.ceil(log(Math.max(...finite, 1e-12)) + 0.01);
  const x = v => 118 + 190 * (finite.length ? Math.min(1, Math.max(0, (log(v) - low) / (high - low))) : 0);
  const rows = list.map(([name, e, s], i) => {
    const y = 4 + i * 22, w = e > 0 ? Math.max(1, (Number.isFinite(e) ? x(e) : 308) - 118) : 0;
    return [svg("text", {x: 112, y: y + 12, "text-anchor": "end"}, name),
      svg("rect", {x: 118, y, width: w, height: 16, class: s === null ? "plain" : s <= 1 ? "within" : "beyond"}),
      s !== null && bounds[i] ? svg("line", {x1: x(bounds[i]), x2: x(bounds[i]), y1: y - 3, y2: y + 19, class: "limit"}) : "",
      svg("text", {x: 122 + Math.max(w, s !== null && bounds[i] ? x(bounds[i]) - 118 : 0), y: y + 12, class: "value"}, num(e) + (s === null ? "" : `, ${share(s)}`))];
  });
  const text = list.map(([n, e, s]) => `${n} ${num(e)}${s === null ? "" : `, ${share(s)} of its bound`}`).join("; ");
  return svg("svg", {viewBox: `0 0 430 ${6 + 22 * list.length}`, width: 430, role: "img", "aria-label": text}, rows);
}

function engines(list) {
  const most = Math.max(...list.map(e => Number.isFinite(e.share) && e.share > 0 ? e.share : 0), 1);
  const low = Math.min(...list.map(e => e.share > 0 ? e.share : 1)) / 3;
  const x = v => 118 + 190 * Math.max(0, log(Math.min(v, most) / low) / log(most / low));
  const text = list.map(e => `${e.name} ${share(e.share)}`).join("; ");
  return svg("svg", {viewBox: `0 0 430 ${6 + 20 * list.length}`, width: 430, role: "img", "aria-label": "distance from float64: " + text},
    svg("line", {x1: x(1), x2: x(1), y1: 0, y2: 4 + 20 * list.length, class: "limit"}),
    list.map((e, i) => [svg("text", {x: 112, y: 15 + i * 20, "text-anchor": "end", class: i ? "" : "value"}, e.name),
      svg("rect", {x: 118, y: 4 + i * 20, width: e.share > 0 ? Math.max(1, x(e.share) - 118) : 0, height: 14, class: e.share <= 1 ? "within" : "beyond"}),
      svg("text", {x: Math.max(122, x(Math.max(e.share, low)) + 4), y: 15 + i * 20, class: "value"}, share(e.share))]));
}

// pictures returns the pictures of a card, of the error against the golden or of its own.
function pictures(card, mark) {
  const kinds = ["golden", "replay"].filter(k => card[k]);
  const kind = kinds.includes(now.picture) ? now.picture : mark === "!" && card.replay ? "replay" : kinds[0];
  const p = card[kind], parts = [el("h4", {}, "picture of the error")];
  if (kinds.length > 1)
    parts.push(el("fieldset", {class: "controls"}, el("legend", {class: "sr"}, "error against"), kinds.map(k => el("label", {}, el("input", {type: "radio", name: "picture",
      checked: k === kind, change: () => { now.picture = k; drawCard(); $("card").querySelector("input[name=picture]:checked").focus(); }}), card[k].against))));
  else parts.push(el("p", {class: "muted"}, "against " + p.against));
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
    "data-dots": btoa(String.fromCharCode(...Array.from({length: 120}, (_, i) => 1 + Math.round(i * 239 / 119))))}), " 100,000 times the bound ", el("span", {class: "key"}, el("i", {class: "c x"}), "not finite")));
  if (p.values.rows) {
    parts.push(el("h4", {}, `around the worst value, by ${p.axes[1]}`), el("div", {class: "wide", tabindex: 0, role: "region", "aria-label": "values around the worst"}, el("table", {class: "values"},
      el("thead", {}, el("tr", {}, el("th", {}, p.axes[1]), p.values.head.map((h, i) => el("th", {scope: "col", class: i === p.values.at ? "worst" : undefined}, h)))),
      el("tbody", {}, p.values.rows.map(row => el("tr", {}, row.map((c, i) => i ? el("td", {class: i - 1 === p.values.at ? "worst" : undefined}, c) : el("th", {scope: "row"}, c))))))));
  }
  parts.push(el("div", {class: "charts"}, scatter(p), histogram(p)));
  return parts;
}

function scatter(p) {
  if (!p.points) return "";
  const bytes = decode(p.points), S = 168, dots = [];
  for (let i = 0; i + 3 < bytes.length; i += 4) {
    const x = (bytes[i] | bytes[i + 1] << 8) / 65535, y = (bytes[i + 2] | bytes[i + 3] << 8) / 65535;
    dots.push(svg("circle", {cx: (30 + x * S).toFixed(1), cy: (8 + (1 - y) * S).toFixed(1), r: 1.7, class: "dot"}));
  }
  const head = el("h4", {}, "got against want");
  return el("div", {}, head, svg("svg", {viewBox: `0 0 ${S + 44} ${S + 36}`, width: S + 44, role: "img", "aria-label": `got against want, from ${num(p.low)} to ${num(p.high)}`},
    svg("rect", {x: 30, y: 8, width: S, height: S, class: "axis"}), svg("line", {x1: 30, y1: 8 + S, x2: 30 + S, y2: 8, class: "limit"}), dots,
    svg("text", {x: 30, y: S + 22}, num(p.low)), svg("text", {x: 30 + S, y: S + 22, "text-anchor": "end"}, num(p.high)),
    svg("text", {x: 30 + S / 2, y: S + 22, "text-anchor": "middle"}, "want"),
    svg("text", {x: 22, y: 8 + S / 2, "text-anchor": "middle", transform: `rotate(-90 22 ${8 + S / 2})`}, "got")));
}

function histogram(p) {
  const most = Math.max(...p.counts, 1), W = 11, H = 130, label = i => i === 0 ? "exact" : i === p.counts.length - 1 ? "not finite" : `10^${(i - 2) / 2 - 4} to 10^${(i - 1) / 2 - 4}`;
  const height = n => n ? Math.max(2, H * log(1 + n) / log(1 + most)) : 0;
  const total = p.counts.reduce((a, b) => a + b, 0), beyond = p.counts.slice(10).reduce((a, b) => a + b, 0);
  return el("div", {}, el("h4", {}, "values by error over bound"), svg("svg", {viewBox: `0 0 ${W * p.counts.length + 10} ${H + 34}`, width: W * p.counts.length + 10, role: "img",
    "aria-label": `${beyond} of ${total} values beyond the bound`},
    p.counts.map((n, i) => svg("rect", {x: 4 + i * W, y: 10 + H - height(n), width: W - 2, height: height(n), class: i < 10 ? "within" : "beyond"}, svg("title", {}, `${n} values: ${label(i)}`))),
    svg("line", {x1: 4 + 10 * W - 1, x2: 4 + 10 * W - 1, y1: 4, y2: 10 + H, class: "limit"}), svg("line", {x1: 2, x2: 6 + W * p.counts.length, y1: 10 + H, y2: 10 + H, class: "axis"}),
    svg("text", {x: 4, y: H + 24}, "exact"), svg("text", {x: 4 + 10 * W, y: H + 24, "text-anchor": "middle"}, "bound"), svg("text", {x: 4 + W * p.counts.length, y: H + 24, "text-anchor": "end"}, "10⁵ times")));
}

function decode(text) { return Uint8Array.from(atob(text), c => c.charCodeAt(0)); }

// paint fills a canvas with the colours of its levels.
function paint(canvas) {
  const bytes = decode(canvas.dataset.dots), context = canvas.getContext("2d"), image = context.createImageData(canvas.width, canvas.height);
  const css = getComputedStyle(document.documentElement), colour = name => {
    const v = css.getPropertyValue(name).trim(), full = v.length === 4 ? [...v.slice(1)].map(c => c + c).join("") : v.slice(1);
    return [0, 2, 4].map(i => parseInt(full.slice(i, i + 2), 16));
  };
  // Stops by the logarithm of the share of the bound, which is where blue ends.
  const stops = [[-3, "--s1"], [-1, "--s2"], [-0.01, "--s3"], [0.01, "--f1"], [1.2, "--f2"], [3, "--f3"], [5, "--f4"]].map(([at, name]) => [at, colour(name)]);
  const fixed = {0: colour("--s0"), 254: colour("--bg"), 255: colour("--x")};
  bytes.forEach((level, i) => {
    let rgb = fixed[level];
    if (!rgb) {
      const at = -3 + 8 * (level - 1) / 239;
      let k = stops.findIndex(s => s[0] >= at);
      k = k < 1 ? 1 : k;
      const [a, from] = stops[k - 1], [b, to] = stops[k], t = (at - a) / (b - a);
      rgb = from.map((c, j) => c + (to[j] - c) * t);
    }
    image.data.set([...rgb, 255], 4 * i);
  });
  context.putImageData(image, 0, 0);
}

// drawGrowth draws the relative error of the residual stream along the depth.
function drawGrowth() {
  const g = run().growth, box = $("growth");
  if (!g) { box.replaceChildren(); return; }
  const W = 560, H = 190, n = g.stages.length, step = run().steps[stepOf(now.cell)].n;
  const all = [...g.lines.flatMap(l => l.errors), ...g.bound].filter(v => v > 0 && Number.isFinite(v));
  if (!all.length) { box.replaceChildren(); return; }
  const low = Math.floor(log(Math.min(...all))), high = Math.max(low + 1, Math.ceil(log(Math.max(...all))));
  const x = i => 46 + i * (W - 60) / Math.max(1, n - 1), y = v => 10 + H * (1 - Math.min(1, Math.max(0, (log(v) - low) / (high - low))));
  const path = errors => {
    let d = "", down = false;
    errors.forEach((v, i) => { if (v > 0) { d += `${down ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`; down = true; } else down = false; });
    return d;
  };
  const mine = g.lines.find(l => l.step === step);
  const factor = i => mine && i > 0 && mine.errors[i] > 0 && mine.errors[i - 1] > 0 ? mine.errors[i] / mine.errors[i - 1] : null;
  const ticks = [];
  for (let e = low; e <= high; e++) if ((high - low) <= 8 || (e - low) % 2 === 0) ticks.push(svg("line", {x1: 46, x2: W - 14, y1: y(10 ** e), y2: y(10 ** e), class: "grid"}), svg("text", {x: 40, y: y(10 ** e) + 4, "text-anchor": "end"}, `1e${e}`));
  const sorted = [...g.lines].sort((a, b) => (a.step === step) - (b.step === step));
  const every = Math.ceil(n / 13);
  box.replaceChildren(el("h4", {}, "Growth along the depth: relative error of the residual stream"), svg("svg", {viewBox: `0 0 ${W} ${H + 64}`, width: W, role: "img",
    "aria-label": `relative error of the residual stream by block, a line a step; at step ${step}: ${mine ? mine.errors.map((v, i) => `${g.stages[i]} ${num(v)}`).join(", ") : "not known"}`},
    ticks, svg("path", {d: path(g.bound), class: "limit"}), sorted.map(l => svg("path", {d: path(l.errors), class: "line" + (l.step === step ? " now" : "")}, svg("title", {}, `step ${l.step}`))),
    mine ? mine.errors.map((v, i) => v > 0 ? svg("circle", {cx: x(i), cy: y(v), r: 3.2, class: "point"}, svg("title", {}, `${g.stages[i]}, step ${step}: ${num(v)}${factor(i) ? `, ${num(factor(i))} times what came in` : ""}`)) : "") : "",
    g.stages.map((s, i) => i % every === 0 ? svg("text", {x: x(i), y: H + 28, "text-anchor": "middle"}, s === "embed" ? "embed" : s.split(".")[1]) : ""),
    g.stages.map((s, i) => i % every === 0 && factor(i) ? svg("text", {x: x(i), y: H + 44, "text-anchor": "middle", class: "value"}, "×" + num(Number(factor(i).toPrecision(2)))) : ""),
    svg("text", {x: 46, y: H + 60}, `step ${step} is bold; dashed: the tolerance; ×: by how much each block amplifies the error`)));
}
})();
