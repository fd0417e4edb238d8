"use strict";
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

// shareOf names the bound: "19 times the bound".
function shareOf(v, bound) {
  const text = share(v);
  return text.endsWith("times") ? `${text} ${bound}` : text.endsWith("%") ? `${text} of ${bound}` : text;
}

// hbars draws bars by share of the bound, on one logarithmic scale, with the bound as a line.
// A row is a name, its share, what stands beside it, several lines of it in the last row, and
// a class if it is no error.
function hbars(label, wide, rows) {
  const shares = rows.map(r => r[1]).filter(v => v > 0 && v < 1e300).concat(1);
  const low = Math.floor(log(Math.min(...shares)) - 0.3), high = Math.max(1, Math.ceil(log(Math.max(...shares)) + 0.01));
  const left = 126, right = wide - 132, H = 22 * rows.length + 14 * ([rows[rows.length - 1][2]].flat().length - 1), ticks = [];
  const x = v => left + (right - left) * Math.min(1, Math.max(0, (log(v) - low) / (high - low)));
  const ends = x(1) - left > 70, begins = right - x(1) > 70; // is there room beside the bound's name
  if (ends) ticks.push(svg("text", {x: left, y: H + 18}, num(10 ** low)));
  if (begins) ticks.push(svg("text", {x: right, y: H + 18, "text-anchor": "end"}, num(10 ** high)));
  return svg("svg", {viewBox: `0 0 ${wide} ${H + 24}`, width: wide, role: "img", "aria-label": label},
    rows.map(([name, v, text, plain], i) => [svg("text", {x: left - 6, y: 16 + i * 22, "text-anchor": "end"}, name),
      svg("rect", {x: left, y: 4 + i * 22, width: v > 0 ? Math.max(1, x(v) - left) : 0, height: 16, class: plain || (v <= 1 ? "within" : "beyond")}),
      svg("text", {x: right + 6, y: 16 + i * 22, class: "value"}, [text].flat().map((t, k) => svg("tspan", {x: right + 6, dy: k ? 14 : 0}, t)))]),
    svg("line", {x1: x(1), x2: x(1), y1: 0, y2: H + 4, class: "limit"}), ticks,
    svg("text", {x: x(1), y: H + 18, "text-anchor": ends ? begins ? "middle" : "end" : "start"}, "bound"));
}

function scatter(p) {
  if (!p.points) return "";
  const bytes = decode(p.points), S = 168, L = 60, dots = [];
  for (let i = 0; i + 3 < bytes.length; i += 4) {
    const x = (bytes[i] | bytes[i + 1] << 8) / 65535, y = (bytes[i + 2] | bytes[i + 3] << 8) / 65535;
    dots.push(svg("circle", {cx: (L + x * S).toFixed(1), cy: (8 + (1 - y) * S).toFixed(1), r: 1.7, class: "dot"}));
  }
  const head = el("h4", {}, "got against want");
  return el("div", {}, head, svg("svg", {viewBox: `0 0 ${S + L + 14} ${S + 36}`, width: S + L + 14, role: "img", "aria-label": `got against want, from ${num(p.low)} to ${num(p.high)}`},
    svg("rect", {x: L, y: 8, width: S, height: S, class: "axis"}), svg("line", {x1: L, y1: 8 + S, x2: L + S, y2: 8, class: "limit"}), dots,
    svg("text", {x: L, y: S + 22}, num(p.low)), svg("text", {x: L + S, y: S + 22, "text-anchor": "end"}, num(p.high)),
    svg("text", {x: L + S / 2, y: S + 22, "text-anchor": "middle"}, "want"),
    svg("text", {x: L - 6, y: 8 + S, "text-anchor": "end"}, num(p.low)), svg("text", {x: L - 6, y: 18, "text-anchor": "end"}, num(p.high)),
    svg("text", {x: L - 6, y: 12 + S / 2, "text-anchor": "end"}, "got")));
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

// growth draws the relative error of the residual stream along the depth, the step's line bold.
// What is not finite breaks a line, and has a mark of its own above it.
function growth(g, step, wide) {
  const H = 190, n = g.stages.length, top = 24, lost = v => v === Infinity;
  const all = [...g.lines.flatMap(l => l.errors), ...g.bound], seen = all.filter(v => v > 0 && !lost(v));
  if (!seen.length && !all.some(lost)) return [];
  const low = Math.floor(log(Math.min(...seen, 1e300)) + (seen.length ? 0 : -307)), high = Math.max(low + 1, Math.ceil(log(Math.max(...seen, 1e-300)) + (seen.length ? 0 : 300)));
  const x = i => 46 + i * (wide - 60) / Math.max(1, n - 1), y = v => top + H * (1 - Math.min(1, Math.max(0, (log(v) - low) / (high - low))));
  const path = errors => {
    let d = "", down = false;
    errors.forEach((v, i) => {
      const known = v > 0 && !lost(v);
      if (known) d += `${down ? "L" : "M"}${x(i).toFixed(1)} ${y(v).toFixed(1)}`;
      down = known;
    });
    return d;
  };
  const label = i => g.stages[i] === "embed" ? "embed" : g.stages[i].split(".")[1], value = v => lost(v) ? "NaN or infinite" : num(v);
  const mine = g.lines.find(l => l.step === step), own = mine ? mine.errors : [];
  const factor = i => i > 0 && own[i] > 0 && own[i - 1] > 0 && !lost(own[i]) && !lost(own[i - 1]) ? own[i] / own[i - 1] : null;
  const ticks = [];
  for (let e = low; e <= high; e++) if ((high - low) <= 8 || (e - low) % Math.ceil((high - low) / 8) === 0)
    ticks.push(svg("line", {x1: 46, x2: wide - 14, y1: y(10 ** e), y2: y(10 ** e), class: "grid"}), svg("text", {x: 40, y: y(10 ** e) + 4, "text-anchor": "end"}, `1e${e}`));
  const sorted = [...g.lines].sort((a, b) => (a.step === step) - (b.step === step)), every = Math.ceil(n * 44 / (wide - 60)), bottom = top + H;
  const marks = sorted.flatMap(l => l.errors.map((v, i) => lost(v) && (l.step === step || !lost(own[i])) ?
    svg("text", {x: x(i), y: 14, "text-anchor": "middle", class: "lost" + (l.step === step ? " now" : "")}, "✕", svg("title", {}, `${g.stages[i]}, step ${l.step}: NaN or infinite`)) : ""));
  const wrong = g.lines.filter(l => l.errors.some(lost)).map(l => {
    const at = g.stages.filter((s, i) => lost(l.errors[i]));
    return `step ${l.step} at ${at[0]}${at.length > 1 ? ` and ${at.length - 1} more` : ""}`;
  });
  return [el("h3", {}, "Growth along the depth: relative error of the residual stream"), svg("svg", {viewBox: `0 0 ${wide} ${bottom + 40}`, width: wide, role: "img",
    "aria-label": `relative error of the residual stream by block, a line a step; at step ${step}: ${mine ? own.map((v, i) => `${g.stages[i]} ${value(v)}`).join(", ") : "not known"}`},
    ticks, svg("path", {d: path(g.bound), class: "limit"}), sorted.map(l => svg("path", {d: path(l.errors), class: "line" + (l.step === step ? " now" : "")}, svg("title", {}, `step ${l.step}`))), marks,
    own.map((v, i) => v > 0 && !lost(v) ? svg("circle", {cx: x(i), cy: y(v), r: 3.2, class: "point"}, svg("title", {}, `${g.stages[i]}, step ${step}: ${num(v)}${factor(i) ? `, ${num(factor(i))} times what came in` : ""}`)) : ""),
    g.stages.map((s, i) => i % every === 0 ? svg("text", {x: x(i), y: bottom + 18, "text-anchor": "middle"}, label(i)) : ""),
    g.stages.map((s, i) => i % every === 0 && factor(i) ? svg("text", {x: x(i), y: bottom + 34, "text-anchor": "middle", class: "value"}, "×" + num(Number(factor(i).toPrecision(2)))) : "")),
    el("p", {class: "small"}, `Step ${step} is bold; dashed: the tolerance; ×: by how much each block amplifies the error.`),
    wrong.length ? el("p", {class: "small"}, `✕ NaN or infinite: ${wrong.slice(0, 12).join("; ")}${wrong.length > 12 ? `; and ${wrong.length - 12} steps more` : ""}.`) : ""];
}
