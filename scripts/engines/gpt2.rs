//! GPT-2 in Rust without a cache, which computes the whole sequence again in each step, and dumps its stages as
//! it goes: an engine to try checkpoint12 with, and to copy `dump` from. It needs no crate.
//!
//!   rustc --edition 2021 -O -o my-engine-rs scripts/engines/gpt2.rs
//!   ./my-engine-rs MODEL TOKENS.npy MASK.npy OUT NEW

use std::collections::HashMap;
use std::error::Error;
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};

// The writer: copy from here

/// What a dump may hold: its type in a .npy file, and its bytes there.
trait Value: Copy {
    const TYPE: &'static str;
    fn write(self, to: &mut impl std::io::Write) -> std::io::Result<()>;
}

macro_rules! values {
    ($($rust:ty: $npy:literal),*) => {$(impl Value for $rust {
        const TYPE: &'static str = $npy;
        fn write(self, to: &mut impl std::io::Write) -> std::io::Result<()> {
            to.write_all(&self.to_le_bytes())
        }
    })*};
}
values!(f32: "<f4", f64: "<f8", i32: "<i4", i64: "<i8");

/// Writes OUT/step_NN/NAME.npy, or OUT/NAME.npy without a step. The last index of the shape runs fastest.
fn dump<T: Value>(
    out: &str,
    step: Option<usize>,
    name: &str,
    shape: &[usize],
    data: &[T],
) -> std::io::Result<()> {
    use std::io::Write;
    assert_eq!(
        shape.iter().product::<usize>(),
        data.len(),
        "{name}: values for the shape {shape:?}"
    );
    let folder = step.map_or(out.to_string(), |k| format!("{out}/step_{k:02}"));
    std::fs::create_dir_all(&folder)?;
    let shape: String = shape.iter().map(|n| format!("{n}, ")).collect();
    let mut head =
        format!("{{'descr': '{}', 'fortran_order': False, 'shape': ({shape})}}", T::TYPE);
    head += &" ".repeat(63 - (10 + head.len()) % 64); // the values begin at a multiple of 64
    head += "\n";
    let mut f = std::io::BufWriter::new(std::fs::File::create(format!("{folder}/{name}.npy"))?);
    f.write_all(b"\x93NUMPY\x01\x00")?;
    f.write_all(&(head.len() as u16).to_le_bytes())?;
    f.write_all(head.as_bytes())?;
    for &value in data {
        value.write(&mut f)?;
    }
    f.flush()
}

// to here.

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// What follows `"key":` in JSON.
fn json<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let quoted = format!("\"{key}\"");
    let rest = &text[text.find(&quoted)? + quoted.len()..];
    Some(rest.trim_start().strip_prefix(':')?.trim_start())
}

/// The number at the beginning of a text.
fn number(text: &str) -> Option<f64> {
    text[..text.find([',', ']', '}', ')', '\n']).unwrap_or(text.len())].trim().parse().ok()
}

/// An int64 .npy of shape B, N: its rows.
fn ids(path: &str) -> Result<Vec<Vec<i64>>> {
    let bytes = fs::read(path)?;
    let bad = || format!("{path}: want an int64 .npy of shape B, N");
    let begin = 10 + usize::from(*bytes.get(8).ok_or_else(bad)?) + 256 * usize::from(bytes[9]);
    let head = String::from_utf8_lossy(bytes.get(10..begin).ok_or_else(bad)?);
    let columns = head
        .split_once("'shape': (")
        .and_then(|(_, s)| s.split_once(','))
        .and_then(|(_, s)| number(s));
    let columns = columns.filter(|&n| n >= 2.0 && head.contains("<i8")).ok_or_else(bad)? as usize;
    let all: Vec<i64> =
        bytes[begin..].chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap())).collect();
    Ok(all.chunks(columns).map(<[i64]>::to_vec).collect())
}

struct Model {
    c: usize, // width
    h: usize, // heads
    layers: usize,
    eps: f64,
    weights: HashMap<String, Vec<f32>>,
}

impl Model {
    fn load(folder: &str) -> Result<Model> {
        let config = fs::read_to_string(format!("{folder}/config.json"))?;
        let want = |key: &str| {
            json(&config, key).and_then(number).ok_or(format!("{folder}/config.json: no {key}"))
        };
        let mut model = Model {
            c: want("n_embd")? as usize,
            h: want("n_head")? as usize,
            layers: want("n_layer")? as usize,
            eps: want("layer_norm_epsilon")?,
            weights: HashMap::new(),
        };
        let mut file = File::open(format!("{folder}/model.safetensors"))?;
        let mut size = [0; 8];
        file.read_exact(&mut size)?;
        let mut header = String::new(); // {"name":{"dtype":"F32","shape":[…],"data_offsets":[begin,end]},…}
        file.by_ref().take(u64::from_le_bytes(size)).read_to_string(&mut header)?;
        let begin = 8 + header.len() as u64;
        let mut names: Vec<String> =
            ["wte.weight", "wpe.weight", "ln_f.weight", "ln_f.bias"].map(String::from).into();
        for i in 0..model.layers {
            for module in ["ln_1", "attn.c_attn", "attn.c_proj", "ln_2", "mlp.c_fc", "mlp.c_proj"] {
                names.extend([format!("h.{i}.{module}.weight"), format!("h.{i}.{module}.bias")]);
            }
        }
        if json(&header, "lm_head.weight").is_some() {
            names.push("lm_head.weight".into());
        }
        for name in names {
            let at = json(&header, &name).or_else(|| json(&header, &format!("transformer.{name}")));
            let at = at.ok_or(format!("{folder}/model.safetensors: no {name}"))?;
            let offsets = json(at, "data_offsets")
                .and_then(|s| s.strip_prefix('['))
                .and_then(|s| s.split_once(','));
            let (first, end) = offsets
                .and_then(|(a, b)| Some((number(a)? as u64, number(b)? as u64)))
                .ok_or("bad offsets")?;
            if !json(at, "dtype").is_some_and(|s| s.starts_with("\"F32\"")) {
                return Err(format!("{name}: want F32").into());
            }
            let mut bytes = vec![0; (end - first) as usize];
            file.seek(SeekFrom::Start(begin + first))?;
            file.read_exact(&mut bytes)?;
            let values =
                bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
            model.weights.insert(name, values);
        }
        Ok(model)
    }

    /// LayerNorm of each row.
    fn norm(&self, x: &[f32], name: &str) -> Vec<f32> {
        let (gain, bias) =
            (&self.weights[&format!("{name}.weight")], &self.weights[&format!("{name}.bias")]);
        let mut y = Vec::new();
        for row in x.chunks(self.c) {
            let n = self.c as f64;
            let mean = row.iter().map(|&v| f64::from(v)).sum::<f64>() / n;
            let variance = row.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / n;
            let scale = 1.0 / (variance + self.eps).sqrt();
            y.extend(
                (0..self.c)
                    .map(|i| ((f64::from(row[i]) - mean) * scale) as f32 * gain[i] + bias[i]),
            );
        }
        y
    }

    /// Each row times the weight [in, out], plus the bias.
    fn linear(&self, x: &[f32], name: &str) -> Vec<f32> {
        let (weight, bias) =
            (&self.weights[&format!("{name}.weight")], &self.weights[&format!("{name}.bias")]);
        let (wide, rows) = (weight.len() / bias.len(), x.len() * bias.len() / weight.len());
        let mut y = bias.repeat(rows);
        for (i, w) in weight.chunks(bias.len()).enumerate() {
            for (x, y) in x.chunks(wide).zip(y.chunks_mut(bias.len())) {
                y.iter_mut().zip(w).for_each(|(y, w)| *y += x[i] * w);
            }
        }
        y
    }

    /// The q, k or v of c_attn's output [B, T, 3C], as [B, H, T, D].
    fn heads(&self, qkv: &[f32], which: usize, t: usize) -> Vec<f32> {
        let d = self.c / self.h;
        let mut y = Vec::new();
        for row in qkv.chunks(t * 3 * self.c) {
            for h in 0..self.h {
                for position in row.chunks(3 * self.c) {
                    y.extend(&position[which * self.c + h * d..][..d]);
                }
            }
        }
        y
    }

    /// One step: all positions of each of the B rows of tokens.
    fn forward(&self, out: &str, step: usize, rows: &[&[i64]]) -> Result<()> {
        let (b, t, c, h, d) = (rows.len(), rows[0].len(), self.c, self.h, self.c / self.h);
        let save =
            |name: &str, shape: &[usize], data: &[f32]| dump(out, Some(step), name, shape, data);
        let wte = &self.weights["wte.weight"];
        let mut x = Vec::new();
        for &id in rows.concat().iter() {
            x.extend(
                wte.chunks(c).nth(id as usize).ok_or("a token that is not in the vocabulary")?,
            );
        }
        save("wte", &[b, t, c], &x)?;
        let wpe = self.weights["wpe.weight"].get(..t * c).ok_or("more tokens than positions")?;
        save("wpe", &[t, c], wpe)?;
        add(&mut x, &wpe.repeat(b));
        save("embed", &[b, t, c], &x)?;
        for i in 0..self.layers {
            let name = |stage: &str| format!("h.{i}.{stage}");
            let a = self.norm(&x, &name("ln_1"));
            save(&name("ln_1"), &[b, t, c], &a)?;
            let qkv = self.linear(&a, &name("attn.c_attn"));
            save(&name("attn.c_attn"), &[b, t, 3 * c], &qkv)?;
            let [q, k, v] = [0, 1, 2].map(|which| self.heads(&qkv, which, t));
            save(&name("attn.q"), &[b, h, t, d], &q)?;
            save(&name("attn.k"), &[b, h, t, d], &k)?;
            save(&name("attn.v"), &[b, h, t, d], &v)?;
            let (mut scores, mut probs, mut context) =
                (vec![f32::NEG_INFINITY; b * h * t * t], Vec::new(), vec![0.0; b * t * c]);
            for (at, scores) in scores.chunks_mut(t).enumerate() {
                let (head, query) = (at / t, at % t); // head counts those of all rows
                for key in 0..=query {
                    scores[key] =
                        dot(&q[at * d..][..d], &k[(head * t + key) * d..][..d]) / (d as f32).sqrt();
                }
                probs.extend(softmax(scores, 1.0));
                let to = &mut context[((head / h * t + query) * h + head % h) * d..][..d];
                for key in 0..=query {
                    let (p, v) = (probs[at * t + key], &v[(head * t + key) * d..][..d]);
                    to.iter_mut().zip(v).for_each(|(to, v)| *to += p * v);
                }
            }
            save(&name("attn.scores"), &[b, h, t, t], &scores)?;
            save(&name("attn.probs"), &[b, h, t, t], &probs)?;
            save(&name("attn.context"), &[b, t, c], &context)?;
            let a = self.linear(&context, &name("attn.c_proj"));
            save(&name("attn.c_proj"), &[b, t, c], &a)?;
            add(&mut x, &a);
            save(&name("resid_mid"), &[b, t, c], &x)?;
            let a = self.norm(&x, &name("ln_2"));
            save(&name("ln_2"), &[b, t, c], &a)?;
            let mut m = self.linear(&a, &name("mlp.c_fc"));
            let f = m.len() / (b * t);
            save(&name("mlp.c_fc"), &[b, t, f], &m)?;
            m.iter_mut().for_each(|v| *v = gelu(*v));
            save(&name("mlp.act"), &[b, t, f], &m)?;
            let a = self.linear(&m, &name("mlp.c_proj"));
            save(&name("mlp.c_proj"), &[b, t, c], &a)?;
            add(&mut x, &a);
            save(&name("resid_post"), &[b, t, c], &x)?;
        }
        let x = self.norm(&x, "ln_f");
        save("ln_f", &[b, t, c], &x)?;
        let head = self.weights.get("lm_head.weight").unwrap_or(wte);
        let v = head.len() / c;
        let logits: Vec<f32> =
            x.chunks(c).flat_map(|x| head.chunks(c).map(|w| dot(x, w))).collect();
        save("logits", &[b, t, v], &logits)?;
        let last: Vec<&[f32]> = logits.chunks(t * v).map(|row| &row[(t - 1) * v..]).collect();
        save("logits_last", &[b, v], &last.concat())?;
        let next: Vec<i64> = last
            .iter()
            .map(|l| (0..v).fold(0, |best, id| if l[id] > l[best] { id } else { best }) as i64)
            .collect();
        dump(out, Some(step), "next_token", &[b], &next)?;
        for (name, temperature) in [("probs_t0.5", 0.5), ("probs_t1", 1.0), ("probs_t2", 2.0)] {
            let probs: Vec<f32> = last.iter().flat_map(|l| softmax(l, temperature)).collect();
            save(name, &[b, v], &probs)?;
        }
        Ok(())
    }
}

fn add(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn softmax(x: &[f32], temperature: f64) -> Vec<f32> {
    let most = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let e: Vec<f64> =
        x.iter().map(|&v| ((f64::from(v) - f64::from(most)) / temperature).exp()).collect();
    let sum: f64 = e.iter().sum();
    e.iter().map(|e| (e / sum) as f32).collect()
}

fn gelu(x: f32) -> f32 {
    let x = f64::from(x);
    (0.5 * x * (1.0 + (0.7978845608028654 * (x + 0.044715 * x * x * x)).tanh())) as f32
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, tokens, mask, out, new] = &arguments[..] else {
        return Err("want MODEL TOKENS.npy MASK.npy OUT NEW".into());
    };
    if ids(mask)?.concat().contains(&0) {
        std::process::exit(77); // this engine knows no padding
    }
    let (tokens, new): (Vec<Vec<i64>>, usize) = (ids(tokens)?, new.parse()?);
    let n = tokens[0].len();
    let prompt = n.checked_sub(new).filter(|&p| p > 0).ok_or("no prompt")?;
    let model = Model::load(model)?;
    dump(out, None, "tokens", &[tokens.len(), n], &tokens.concat())?;
    for step in 0..new {
        let rows: Vec<&[i64]> = tokens.iter().map(|row| &row[..prompt + step]).collect();
        model.forward(out, step, &rows)?;
    }
    Ok(())
}

fn main() {
    if let Err(e) = run() {
        eprintln!("{e}");
        std::process::exit(1);
    }
}
