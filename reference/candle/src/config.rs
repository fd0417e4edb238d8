//! `config.json` in Hugging Face's layout.

use anyhow::{bail, ensure, Context, Result};
use serde_json::{Map, Value};
use std::path::Path;

/// The sizes of a GPT-2, and `config.json` as it was read.
#[derive(Clone, Debug)]
pub struct Config {
    /// V
    pub vocab_size: usize,
    pub n_positions: usize,
    /// C
    pub n_embd: usize,
    pub n_layer: usize,
    /// H
    pub n_head: usize,
    /// F: 4C unless config.json says otherwise
    pub n_inner: usize,
    pub layer_norm_epsilon: f64,
    /// every key of config.json, for the manifest
    pub json: Map<String, Value>,
}

impl Config {
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read(path).with_context(|| {
            format!("read {}: a model folder holds config.json", path.display())
        })?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    /// Refuses whatever would make this another network than the one [`crate::model`] computes.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let json: Map<String, Value> = serde_json::from_slice(text).context("not a JSON object")?;
        if let Some(kind) = json.get("model_type") {
            ensure!(kind == "gpt2", "model_type is {kind}, only \"gpt2\" is known");
        }
        if let Some(act) = json.get("activation_function") {
            // GELU in the tanh form
            ensure!(act == "gelu_new", "activation_function is {act}, only \"gelu_new\" is known");
        }
        for (key, wanted) in [
            ("scale_attn_weights", true),
            ("scale_attn_by_inverse_layer_idx", false),
            ("add_cross_attention", false),
        ] {
            if let Some(value) = json.get(key) {
                ensure!(value == wanted, "{key} is {value}, only {wanted} is known");
            }
        }
        let size = |key: &str| -> Result<usize> {
            match json.get(key).map(|v| (v, v.as_u64())) {
                Some((_, Some(n))) if (1..=1 << 31).contains(&n) => Ok(n as usize),
                Some((value, _)) => bail!("{key} is {value}, not a positive integer"),
                None => bail!("{key} is missing"),
            }
        };
        let n_embd = size("n_embd")?;
        let config = Self {
            vocab_size: size("vocab_size")?,
            n_positions: match json.get("n_positions") {
                None => size("n_ctx").context("n_positions is missing")?,
                Some(_) => size("n_positions")?,
            },
            n_embd,
            n_layer: size("n_layer")?,
            n_head: size("n_head")?,
            n_inner: match json.get("n_inner") {
                None | Some(Value::Null) => 4 * n_embd,
                Some(_) => size("n_inner")?,
            },
            layer_norm_epsilon: match json.get("layer_norm_epsilon") {
                None => 1e-5,
                Some(value) => match value.as_f64() {
                    Some(eps) if eps > 0.0 && eps < 1.0 => eps,
                    _ => bail!("layer_norm_epsilon is {value}, not a number in (0, 1)"),
                },
            },
            json: json.clone(),
        };
        ensure!(
            config.n_embd.is_multiple_of(config.n_head),
            "n_embd {} is not a multiple of n_head {}",
            config.n_embd,
            config.n_head
        );
        Ok(config)
    }
}
