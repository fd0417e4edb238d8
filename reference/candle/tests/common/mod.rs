//! A small random model, written by Candle, and a reader of dumps.

#![allow(dead_code)] // each test file uses its part

use candle_core::{safetensors, DType, Device, Tensor};
use candle_export::options::Options;
use serde_json::{json, Value};
use std::collections::HashMap;
use std::path::{Path, PathBuf};

pub const V: usize = 11;
pub const POSITIONS: usize = 8;
pub const C: usize = 6;
pub const H: usize = 2;
pub const F: usize = 10;
pub const LAYERS: usize = 2;

pub type Weights = HashMap<String, Tensor>;

pub fn config() -> Value {
    json!({
        "model_type": "gpt2", "activation_function": "gelu_new", "layer_norm_epsilon": 1e-05,
        "n_ctx": POSITIONS, "n_embd": C, "n_head": H, "n_inner": F, "n_layer": LAYERS,
        "n_positions": POSITIONS, "vocab_size": V,
    })
}

/// Names without prefix; values are a fixed pseudo-random sequence.
pub fn weights() -> Weights {
    let mut list = vec![("wte.weight".to_string(), vec![V, C])];
    list.push(("wpe.weight".into(), vec![POSITIONS, C]));
    for n in 0..LAYERS {
        for (name, shape) in [
            ("ln_1.weight", vec![C]),
            ("ln_1.bias", vec![C]),
            ("attn.c_attn.weight", vec![C, 3 * C]),
            ("attn.c_attn.bias", vec![3 * C]),
            ("attn.c_proj.weight", vec![C, C]),
            ("attn.c_proj.bias", vec![C]),
            ("ln_2.weight", vec![C]),
            ("ln_2.bias", vec![C]),
            ("mlp.c_fc.weight", vec![C, F]),
            ("mlp.c_fc.bias", vec![F]),
            ("mlp.c_proj.weight", vec![F, C]),
            ("mlp.c_proj.bias", vec![C]),
        ] {
            list.push((format!("h.{n}.{name}"), shape));
        }
    }
    list.push(("ln_f.weight".into(), vec![C]));
    list.push(("ln_f.bias".into(), vec![C]));
    let mut state = 1u32;
    let mut next = move || {
        state = state.wrapping_mul(1664525).wrapping_add(1013904223);
        (state >> 16) as f32 / 32768.0 - 1.0
    };
    let mut tensor = |shape: &[usize]| {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    };
    list.into_iter().map(|(name, shape)| (name, tensor(&shape))).collect()
}

/// Causal masks as old checkpoints carry them.
pub fn with_buffers(mut weights: Weights) -> Weights {
    for n in 0..LAYERS {
        let mask = Tensor::tril2(POSITIONS, DType::U8, &Device::Cpu).unwrap();
        weights.insert(format!("h.{n}.attn.bias"), mask.unsqueeze(0).unwrap());
        let masked = Tensor::new(-1e4f32, &Device::Cpu).unwrap();
        weights.insert(format!("h.{n}.attn.masked_bias"), masked);
    }
    weights
}

pub fn prefixed(weights: Weights) -> Weights {
    weights.into_iter().map(|(name, t)| (format!("transformer.{name}"), t)).collect()
}

pub fn write_model(dir: &Path, config: &Value, weights: &Weights) {
    std::fs::create_dir_all(dir).unwrap();
    std::fs::write(dir.join("config.json"), config.to_string()).unwrap();
    safetensors::save(weights, dir.join("model.safetensors")).unwrap();
}

pub fn options(model: &Path, out: PathBuf) -> Options {
    Options {
        model: model.into(),
        name: "small".into(),
        tokens: vec![vec![3, 1, 4]],
        new: 3,
        temperatures: vec![0.5, 1.0, 2.0],
        out,
        ..Options::default()
    }
}

pub fn manifest(dump: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(dump.join("manifest.json")).unwrap()).unwrap()
}

/// A tensor of a dump, read by Candle.
pub fn read(dump: &Path, step: usize, stage: &str) -> Tensor {
    let path = dump.join(format!("step_{step:02}/{stage}.npy"));
    Tensor::read_npy(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

pub fn read_tokens(dump: &Path) -> Vec<Vec<i64>> {
    Tensor::read_npy(dump.join("tokens.npy")).unwrap().to_vec2().unwrap()
}

pub fn max_difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (a.flatten_all().unwrap(), b.flatten_all().unwrap());
    let (a, b) = (a.to_vec1::<f32>().unwrap(), b.to_vec1::<f32>().unwrap());
    let difference = |(a, b): (&f32, &f32)| if a == b { 0.0 } else { (a - b).abs() };
    a.iter().zip(&b).map(difference).fold(0.0, f32::max)
}

/// The contract's stages of one step, in execution order.
pub fn stage_names(n_layer: usize, temperatures: &[&str]) -> Vec<String> {
    const BLOCK: &str = "ln_1 attn.c_attn attn.q attn.k attn.v attn.cache_k attn.cache_v \
        attn.scores attn.probs attn.context attn.c_proj resid_mid ln_2 mlp.c_fc mlp.act \
        mlp.c_proj resid_post";
    let mut names: Vec<String> = ["wte", "wpe", "embed"].map(String::from).to_vec();
    for n in 0..n_layer {
        names.extend(BLOCK.split_whitespace().map(|stage| format!("h.{n}.{stage}")));
    }
    names.extend(["ln_f", "logits", "logits_last", "next_token"].map(String::from));
    names.extend(temperatures.iter().map(|t| format!("probs_t{t}")));
    names
}
