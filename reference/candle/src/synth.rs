//! Synthetic GPT-2 models: a formula instead of a download.
//!
//! The formula is that of `reference/float64/synthetic.py`, to the byte. Element i of a tensor, in
//! row-major order, is made of h, splitmix64's finaliser of `key + (i+1)·GOLDEN`, where key is the
//! FNV-1a hash of the tensor's name xor the model's seed: the upper 24 bits of h become f in
//! [-1, 1), and the value is `f·scale + shift`, each operation rounded to float32 by itself.

use crate::staging::Staging;
use crate::weights::hex;
use anyhow::{ensure, Context, Result};
use serde_json::{json, Map, Value};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// The file name of the weights.
pub const WEIGHTS: &str = "model.safetensors";
const VOCAB: usize = 50257;
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Scale and shift of a tensor.
type Range = (f32, f32);

/// One model of the formula.
pub struct Spec {
    pub name: &'static str,
    /// SHA-256 of its model.safetensors
    pub sha256: &'static str,
    seed: u64,
    n_layer: usize,
    n_head: usize,
    n_embd: usize,
    n_positions: usize,
    /// the channel that is pushed out of the residual stream
    spike: usize,
    /// by the tensor's name without `h.N.`; the others are in [`COMMON`]
    table: &'static [(&'static str, Range)],
    wte_spike: Range,
    resid_spike: f32,
    ln_spike: f32,
    ln_f_spike: f32,
}

/// All models of the formula.
pub static MODELS: &[Spec] = &[
    Spec {
        name: "synthetic-tiny",
        sha256: "5947dd6366616495d019a07768c058466103a5d6e9a2a0865bd2757f9e4713e8",
        seed: 99,
        n_layer: 3,
        n_head: 4,
        n_embd: 80,
        n_positions: 48,
        spike: 53,
        table: &[
            ("attn.c_attn.weight", (0.35, 0.0)),
            ("attn.c_proj.weight", (0.125, 0.0)),
            ("mlp.c_fc.weight", (0.31, 0.0)),
            ("mlp.c_proj.weight", (0.07, 0.0)),
            ("ln_f.weight", (1.0, 3.0)),
        ],
        wte_spike: (0.0078125, -0.5),
        resid_spike: 16.0,
        ln_spike: 0.0625,
        ln_f_spike: 10.097,
    },
    Spec {
        name: "synthetic-medium",
        sha256: "bb30de32faeb48dc58cabd440c8a13214a1a0509153d2cc721c25a0478d99644",
        seed: 5,
        n_layer: 24,
        n_head: 16,
        n_embd: 1024,
        n_positions: 1024,
        spike: 909,
        table: &[
            ("attn.c_attn.weight", (0.098, 0.0)),
            ("attn.c_proj.weight", (0.035, 0.0)),
            ("mlp.c_fc.weight", (0.087, 0.0)),
            ("mlp.c_proj.weight", (0.02, 0.0)),
            ("ln_f.weight", (0.25, 0.5)),
        ],
        wte_spike: (0.001953125, -0.2),
        resid_spike: 128.0,
        ln_spike: 0.0625,
        ln_f_spike: 10.097,
    },
];

/// The sizes that the models share.
const COMMON: &[(&str, Range)] = &[
    ("wte.weight", (0.2, 0.015625)),
    ("wpe.weight", (0.125, 0.0)),
    ("ln_1.weight", (0.5, 1.0)),
    ("ln_1.bias", (0.25, 0.0)),
    ("attn.c_attn.bias", (0.375, 0.0)),
    ("attn.c_proj.bias", (0.125, 0.0)),
    ("ln_2.weight", (0.5, 1.0)),
    ("ln_2.bias", (0.25, 0.0)),
    ("mlp.c_fc.bias", (0.375, 0.0)),
    ("mlp.c_proj.bias", (0.125, 0.0)),
    ("ln_f.bias", (0.25, 0.0)),
];

/// The model of a name; the error lists the names there are.
pub fn spec(name: &str) -> Result<&'static Spec> {
    MODELS.iter().find(|spec| spec.name == name).with_context(|| {
        let names: Vec<_> = MODELS.iter().map(|spec| spec.name).collect();
        format!("{name:?} is no synthetic model: want {}", names.join(" or "))
    })
}

/// Writes config.json and model.safetensors into a new folder; returns the SHA-256 of the latter.
pub fn write(name: &str, out: &Path) -> Result<String> {
    let spec = spec(name)?;
    let staging = Staging::create(out, WEIGHTS)?;
    let path = staging.path().join(WEIGHTS);
    let context = || format!("write {}", path.display());
    let file = File::create(&path).with_context(context)?;
    let mut file = BufWriter::with_capacity(1 << 20, file);
    let sha256 = spec.write_safetensors(&mut file).with_context(context)?;
    file.flush().with_context(context)?;
    ensure!(
        sha256 == spec.sha256,
        "{name}: SHA-256 is {sha256}, not {}: the formula does not give its bytes here",
        spec.sha256
    );
    std::fs::write(staging.path().join("config.json"), spec.config_json())
        .context("write config.json")?;
    staging.commit()?;
    Ok(sha256)
}

impl Spec {
    /// config.json, to the byte.
    pub fn config_json(&self) -> String {
        let config = json!({
            "activation_function": "gelu_new",
            "bos_token_id": VOCAB - 1,
            "eos_token_id": VOCAB - 1,
            // Python writes 1e-05, serde_json 1e-5
            "layer_norm_epsilon": "EPSILON",
            "model_type": "gpt2",
            "n_ctx": self.n_positions,
            "n_embd": self.n_embd,
            "n_head": self.n_head,
            "n_inner": null,
            "n_layer": self.n_layer,
            "n_positions": self.n_positions,
            "tie_word_embeddings": true,
            "vocab_size": VOCAB,
        });
        format!("{config:#}\n").replace("\"EPSILON\"", "1e-05")
    }

    /// Tensor names and shapes in the order of the file.
    pub fn shapes(&self) -> Vec<(String, Vec<usize>)> {
        let c = self.n_embd;
        let mut list = vec![
            ("wte.weight".to_string(), vec![VOCAB, c]),
            ("wpe.weight".to_string(), vec![self.n_positions, c]),
        ];
        for n in 0..self.n_layer {
            let block: [(&str, Vec<usize>); 12] = [
                ("ln_1.weight", vec![c]),
                ("ln_1.bias", vec![c]),
                ("attn.c_attn.weight", vec![c, 3 * c]),
                ("attn.c_attn.bias", vec![3 * c]),
                ("attn.c_proj.weight", vec![c, c]),
                ("attn.c_proj.bias", vec![c]),
                ("ln_2.weight", vec![c]),
                ("ln_2.bias", vec![c]),
                ("mlp.c_fc.weight", vec![c, 4 * c]),
                ("mlp.c_fc.bias", vec![4 * c]),
                ("mlp.c_proj.weight", vec![4 * c, c]),
                ("mlp.c_proj.bias", vec![c]),
            ];
            list.extend(block.map(|(name, shape)| (format!("h.{n}.{name}"), shape)));
        }
        list.push(("ln_f.weight".to_string(), vec![c]));
        list.push(("ln_f.bias".to_string(), vec![c]));
        list
    }

    /// Writes the file and returns its SHA-256. A stream: at most a row of a tensor is in memory.
    pub fn write_safetensors(&self, out: &mut impl Write) -> std::io::Result<String> {
        let mut hash = Sha256::new();
        let mut put = |bytes: &[u8]| {
            hash.update(bytes);
            out.write_all(bytes)
        };
        put(&self.header())?;
        let mut bytes = Vec::new();
        for (name, shape) in self.shapes() {
            let row = *shape.last().unwrap();
            let tensor = self.tensor(&name);
            for r in 0..shape.iter().product::<usize>() / row {
                bytes.clear();
                let values = (r * row..(r + 1) * row).map(|i| tensor.value(i));
                values.for_each(|v| bytes.extend_from_slice(&v.to_le_bytes()));
                put(&bytes)?;
            }
        }
        Ok(hex(hash))
    }

    /// Length, compact JSON in the order of the file, spaces up to a multiple of 8.
    fn header(&self) -> Vec<u8> {
        let mut header = Map::new();
        let mut begin = 0;
        for (name, shape) in self.shapes() {
            let end = begin + 4 * shape.iter().product::<usize>();
            let entry = json!({"dtype": "F32", "shape": shape, "data_offsets": [begin, end]});
            header.insert(name, entry);
            begin = end;
        }
        let mut text = Value::Object(header).to_string();
        text.push_str(&" ".repeat(text.len().next_multiple_of(8) - text.len()));
        let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes
    }
}

/// The formula of one tensor.
struct Tensor<'a> {
    spec: &'a Spec,
    key: u64,
    range: Range,
    rule: Rule,
}

/// What departs from scale and shift.
enum Rule {
    None,
    /// the spike's column has a range of its own
    Wte,
    /// the spike's gain is scaled down
    Norm,
    /// gains of both signs; the spike's is a constant
    FinalNorm,
    /// the spike is pushed out
    Outlier,
}

impl Spec {
    fn tensor(&self, name: &str) -> Tensor<'_> {
        // without h.N.
        let kind = match name.strip_prefix("h.") {
            Some(rest) => rest.split_once('.').map_or(rest, |(_, kind)| kind),
            None => name,
        };
        let range = self.table.iter().chain(COMMON).find(|(key, _)| *key == kind);
        Tensor {
            spec: self,
            key: fnv1a(name) ^ self.seed,
            range: range.expect("every tensor is in the table").1,
            rule: match (name, kind) {
                ("h.0.mlp.c_proj.bias", _) => Rule::Outlier,
                (_, "wte.weight") => Rule::Wte,
                (_, "ln_1.weight" | "ln_2.weight") => Rule::Norm,
                (_, "ln_f.weight") => Rule::FinalNorm,
                _ => Rule::None,
            },
        }
    }
}

impl Tensor<'_> {
    /// Element i in row-major order. Rust never fuses a multiplication with an addition.
    fn value(&self, i: usize) -> f32 {
        let h = finalise(self.key.wrapping_add((i as u64 + 1).wrapping_mul(GOLDEN)));
        let f = (h >> 40) as f32 / (1 << 23) as f32 - 1.0; // exact
        let plain = f * self.range.0 + self.range.1;
        let spike = i % self.spec.n_embd == self.spec.spike;
        match self.rule {
            Rule::Wte if spike => f * self.spec.wte_spike.0 + self.spec.wte_spike.1,
            Rule::Norm if spike => plain * self.spec.ln_spike,
            Rule::FinalNorm if spike => self.spec.ln_f_spike,
            Rule::FinalNorm if h & 1 == 1 => -plain,
            Rule::Outlier if spike => plain + self.spec.resid_spike,
            _ => plain,
        }
    }
}

/// splitmix64's finaliser (Steele, Lea, Flood 2014, with Stafford's constants).
fn finalise(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// 64-bit FNV-1a.
fn fnv1a(text: &str) -> u64 {
    text.bytes()
        .fold(0xCBF2_9CE4_8422_2325, |h, byte| (h ^ u64::from(byte)).wrapping_mul(0x100_0000_01B3))
}
