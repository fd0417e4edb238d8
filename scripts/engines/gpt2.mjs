// GPT-2 in JavaScript for Node, the prompt at once and then one token at a time, that dumps its stages as
// it goes: an engine to try checkpoint12 with, and to copy `dump` from. It needs no package.
//
//   node scripts/engines/gpt2.mjs MODEL TOKENS.npy MASK.npy OUT NEW

import { closeSync, openSync, readFileSync, readSync } from 'node:fs';

// The writer: copy from here
import { mkdirSync, writeFileSync } from 'node:fs';

const types = { Float32Array: '<f4', Float64Array: '<f8', Int32Array: '<i4', BigInt64Array: '<i8' };

// Writes OUT/step_NN/NAME.npy, or OUT/NAME.npy where step is null. data is a typed array of the shape's
// numbers, the last index running fastest.
function dump(out, step, name, shape, data) {
  const type = types[data.constructor.name];
  if (!type || shape.reduce((a, b) => a * b, 1) !== data.length)
    throw new Error(`${name}: ${data.constructor.name} of ${data.length} for shape ${shape}`);
  const folder = step === null ? out : `${out}/step_${String(step).padStart(2, '0')}`;
  mkdirSync(folder, { recursive: true });
  let head = `{'descr': '${type}', 'fortran_order': False, 'shape': (${shape.map((n) => `${n}, `).join('')})}`;
  head = head.padEnd(Math.ceil((10 + head.length + 1) / 64) * 64 - 11) + '\n'; // the values begin at a multiple of 64
  const magic = Buffer.from([0x93, ...Buffer.from('NUMPY'), 1, 0, head.length & 255, head.length >> 8]);
  const values = Buffer.from(data.buffer, data.byteOffset, data.byteLength);
  writeFileSync(`${folder}/${name}.npy`, Buffer.concat([magic, Buffer.from(head), values]));
}

// to here.

// An int64 .npy of shape B, N: its rows.
function ids(path) {
  const bytes = readFileSync(path);
  const begin = 10 + bytes.readUInt16LE(8);
  const shape = /'<i8'.*'shape': \((\d+), (\d+)\)/.exec(bytes.toString('latin1', 10, begin));
  if (!shape) throw new Error(`${path}: want an int64 .npy of shape B, N`);
  const [rows, columns] = [Number(shape[1]), Number(shape[2])];
  return Array.from({ length: rows }, (_, b) =>
    Array.from({ length: columns }, (_, n) => Number(bytes.readBigInt64LE(begin + 8 * (b * columns + n)))));
}

const [model, tokensPath, maskPath, out, newTokens] = process.argv.slice(2);
if (ids(maskPath).flat().includes(0)) process.exit(77); // this engine knows no padding
const tokens = ids(tokensPath);
const config = JSON.parse(readFileSync(`${model}/config.json`, 'utf8'));
const { n_embd: C, n_head: H, n_layer: L, vocab_size: V, layer_norm_epsilon: eps } = config;
const F = config.n_inner ?? 4 * C, D = C / H;
const B = tokens.length;

const file = openSync(`${model}/model.safetensors`);
function read(Type, length, position) {
  const values = new Type(length), bytes = new Uint8Array(values.buffer);
  for (let n = 0; n < bytes.length; ) {
    const got = readSync(file, bytes, n, bytes.length - n, position + n);
    if (got === 0) throw new Error(`${model}/model.safetensors is too short`);
    n += got;
  }
  return values;
}
const headerLength = Number(read(BigUint64Array, 1, 0)[0]);
const header = JSON.parse(Buffer.from(read(Uint8Array, headerLength, 8)).toString());
const W = {}; // the weights by their names, without "transformer."
for (const [name, { dtype, data_offsets: at }] of Object.entries(header))
  if (dtype === 'F32') W[name.replace(/^transformer\./, '')] = read(Float32Array, (at[1] - at[0]) / 4, 8 + headerLength + at[0]);
closeSync(file);

// LayerNorm of each row of C.
function norm(x, name) {
  const gain = W[`${name}.weight`], bias = W[`${name}.bias`], y = new Float32Array(x.length);
  for (let r = 0; r < x.length; r += C) {
    let mean = 0, variance = 0;
    for (let i = 0; i < C; i++) mean += x[r + i] / C;
    for (let i = 0; i < C; i++) variance += (x[r + i] - mean) ** 2 / C;
    for (let i = 0; i < C; i++) y[r + i] = ((x[r + i] - mean) / Math.sqrt(variance + eps)) * gain[i] + bias[i];
  }
  return y;
}

// Each row times the weight [in, out], plus the bias.
function linear(x, name) {
  const w = W[`${name}.weight`], bias = W[`${name}.bias`];
  const wide = bias.length, deep = w.length / wide, rows = x.length / deep, y = new Float32Array(rows * wide);
  for (let r = 0; r < rows; r++) {
    const sum = Float64Array.from(bias);
    for (let i = 0; i < deep; i++) {
      const v = x[r * deep + i];
      for (let j = 0, at = i * wide; j < wide; j++) sum[j] += v * w[at + j];
    }
    y.set(sum, r * wide);
  }
  return y;
}

function dot(a, i, b, j, n) {
  let sum = 0;
  for (let d = 0; d < n; d++) sum += a[i + d] * b[j + d];
  return sum;
}

const gelu = (x) => 0.5 * x * (1 + Math.tanh(0.7978845608028654 * (x + 0.044715 * x ** 3)));

function softmax(x, temperature = 1) {
  const most = x.reduce((a, b) => Math.max(a, b), -Infinity);
  const e = Float64Array.from(x, (v) => Math.exp((v - most) / temperature));
  const sum = e.reduce((a, b) => a + b, 0);
  return Float32Array.from(e, (v) => v / sum);
}

const add = (x, y) => x.map((v, i) => v + y[i]);

// A third of c_attn's output [B, T, 3C], as [B, H, T, D].
function heads(qkv, third, T) {
  const y = new Float32Array(B * T * C);
  for (let b = 0; b < B; b++)
    for (let h = 0; h < H; h++)
      for (let t = 0; t < T; t++) {
        const from = (b * T + t) * 3 * C + third * C + h * D;
        y.set(qkv.subarray(from, from + D), ((b * H + h) * T + t) * D);
      }
  return y;
}

// The rows of old [B, H, P, D], each head's followed by its of new [B, H, T, D].
function append(old, P, rows, T) {
  const y = new Float32Array(old.length + rows.length);
  for (let h = 0; h < B * H; h++) {
    y.set(old.subarray(h * P * D, (h + 1) * P * D), h * (P + T) * D);
    y.set(rows.subarray(h * T * D, (h + 1) * T * D), (h * (P + T) + P) * D);
  }
  return y;
}

const cache = Array.from({ length: L }, () => ({ k: new Float32Array(), v: new Float32Array() })); // B, H, P, D each

// One step: the tokens [B, T] at the positions from P on.
function forward(step, P, rows) {
  const T = rows[0].length, S = P + T;
  const save = (name, shape, data) => dump(out, step, name, shape, data);
  let x = new Float32Array(B * T * C);
  rows.flat().forEach((id, r) => x.set(W['wte.weight'].subarray(id * C, (id + 1) * C), r * C));
  save('wte', [B, T, C], x);
  const wpe = W['wpe.weight'].subarray(P * C, S * C);
  save('wpe', [T, C], wpe);
  x = x.map((v, i) => v + wpe[i % (T * C)]);
  save('embed', [B, T, C], x);
  for (let n = 0; n < L; n++) {
    const h = `h.${n}.`;
    let a = norm(x, `${h}ln_1`);
    save(`${h}ln_1`, [B, T, C], a);
    const qkv = linear(a, `${h}attn.c_attn`);
    save(`${h}attn.c_attn`, [B, T, 3 * C], qkv);
    const [q, k, v] = [heads(qkv, 0, T), heads(qkv, 1, T), heads(qkv, 2, T)];
    save(`${h}attn.q`, [B, H, T, D], q);
    save(`${h}attn.k`, [B, H, T, D], k);
    save(`${h}attn.v`, [B, H, T, D], v);
    const K = append(cache[n].k, P, k, T), U = append(cache[n].v, P, v, T);
    cache[n] = { k: K, v: U };
    save(`${h}attn.cache_k`, [B, H, S, D], K);
    save(`${h}attn.cache_v`, [B, H, S, D], U);
    const scores = new Float32Array(B * H * T * S).fill(-Infinity), probs = new Float32Array(B * H * T * S);
    const context = new Float32Array(B * T * C);
    for (let b = 0; b < B; b++)
      for (let head = 0; head < H; head++)
        for (let t = 0; t < T; t++) {
          const bh = b * H + head, at = (bh * T + t) * S, to = (b * T + t) * C + head * D;
          for (let s = 0; s <= P + t; s++) scores[at + s] = dot(q, (bh * T + t) * D, K, (bh * S + s) * D, D) / Math.sqrt(D);
          probs.set(softmax(scores.subarray(at, at + S)), at);
          for (let d = 0; d < D; d++) {
            let sum = 0;
            for (let s = 0; s <= P + t; s++) sum += probs[at + s] * U[(bh * S + s) * D + d];
            context[to + d] = sum;
          }
        }
    save(`${h}attn.scores`, [B, H, T, S], scores);
    save(`${h}attn.probs`, [B, H, T, S], probs);
    save(`${h}attn.context`, [B, T, C], context);
    a = linear(context, `${h}attn.c_proj`);
    save(`${h}attn.c_proj`, [B, T, C], a);
    x = add(x, a);
    save(`${h}resid_mid`, [B, T, C], x);
    a = norm(x, `${h}ln_2`);
    save(`${h}ln_2`, [B, T, C], a);
    let m = linear(a, `${h}mlp.c_fc`);
    save(`${h}mlp.c_fc`, [B, T, F], m);
    m = m.map(gelu);
    save(`${h}mlp.act`, [B, T, F], m);
    a = linear(m, `${h}mlp.c_proj`);
    save(`${h}mlp.c_proj`, [B, T, C], a);
    x = add(x, a);
    save(`${h}resid_post`, [B, T, C], x);
  }
  x = norm(x, 'ln_f');
  save('ln_f', [B, T, C], x);
  const head = W['lm_head.weight'] ?? W['wte.weight'];
  const logits = new Float32Array(B * T * V), last = new Float32Array(B * V);
  for (let r = 0; r < B * T; r++) for (let id = 0; id < V; id++) logits[r * V + id] = dot(x, r * C, head, id * C, C);
  save('logits', [B, T, V], logits);
  const each = Array.from({ length: B }, (_, b) => logits.subarray((b * T + T - 1) * V, (b + 1) * T * V)); // of the last position
  each.forEach((l, b) => last.set(l, b * V));
  save('logits_last', [B, V], last);
  save('next_token', [B], BigInt64Array.from(each, (l) => BigInt(l.reduce((best, v, id) => (v > l[best] ? id : best), 0))));
  for (const [name, temperature] of [['probs_t0.5', 0.5], ['probs_t1', 1], ['probs_t2', 2]])
    save(name, [B, V], Float32Array.from(each.flatMap((l) => [...softmax(l, temperature)])));
}

dump(out, null, 'tokens', [B, tokens[0].length], BigInt64Array.from(tokens.flat(), BigInt));
const prompt = tokens[0].length - newTokens;
for (let step = 0; step < newTokens; step++) {
  const [first, end] = step === 0 ? [0, prompt] : [prompt + step - 1, prompt + step];
  forward(step, first, tokens.map((row) => row.slice(first, end)));
}
