//! What members of GPT-2's family do otherwise than GPT-2 as released, by their `config.json`.

use crate::config::Config;
use anyhow::{bail, ensure, Context, Result};
use candle_core::{DType, Tensor};
use candle_nn::ops::sigmoid;
use candle_nn::{Activation, Module, VarBuilder};
use serde_json::{json, Map, Value};
use std::path::Path;

/// What `activation_function` may be: a row for each function, its usual name first. They are
/// Hugging Face's.
const ACTIVATIONS: [&[&str]; 16] = [
    &["gelu_new", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu_fast", "gelu_accurate"],
    &["gelu", "gelu_python"],
    &["gelu_10"],
    &["quick_gelu"],
    &["silu", "swish"],
    &["mish"],
    &["relu"],
    &["relu6"],
    &["relu2"],
    &["leaky_relu"],
    &["hardswish"],
    &["tanh"],
    &["sigmoid"],
    &["laplace"],
    &["sqrtsoftplus"],
    &["linear"],
];

/// Hugging Face's other names for sizes.
const ALIASES: [(&str, &str); 4] = [
    ("hidden_size", "n_embd"),
    ("max_position_embeddings", "n_positions"),
    ("num_attention_heads", "n_head"),
    ("num_hidden_layers", "n_layer"),
];

/// The settings that [`Config`] alone refuses, or does not know.
#[derive(Clone, Debug)]
pub struct Family {
    /// the usual name of `activation_function`
    pub activation: &'static str,
    /// scores are divided by √D (`scale_attn_weights`)
    pub scaled: bool,
    /// those of layer n are divided by n+1 (`scale_attn_by_inverse_layer_idx`)
    pub by_layer: bool,
    /// `tie_word_embeddings`; where it is not said, the head is tied if the file has no matrix for it
    pub tied: Option<bool>,
}

/// Reads a `config.json`.
pub fn read(path: &Path) -> Result<(Config, Family)> {
    let text = std::fs::read(path)
        .with_context(|| format!("read {}: a model folder holds config.json", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

/// Takes the family's settings out of a config, and reads the rest as that of GPT-2 as released.
pub fn parse(text: &[u8]) -> Result<(Config, Family)> {
    let json: Map<String, Value> = serde_json::from_slice(text).context("not a JSON object")?;
    let mut rest = json.clone();
    rest.retain(|_, value| !value.is_null());
    for (key, wanted) in [
        ("is_encoder_decoder", false.into()),
        ("is_causal", true.into()),
        ("pruned_heads", json!({})),
        ("quantization_config", Value::Null),
        ("compression_config", Value::Null),
        ("auto_map", json!({})),
    ] {
        if let Some(value) = rest.get(key) {
            ensure!(*value == wanted, "{key} is {value}, only {wanted} is known");
        }
    }
    for (alias, key) in ALIASES {
        let Some(value) = rest.remove(alias) else { continue };
        let had = rest.get(key).unwrap_or(&value);
        let other = "which is another name for it";
        ensure!(*had == value, "{key} is {had} and {alias}, {other}, {value}");
        if value.as_u64().is_none_or(|n| n == 0) {
            bail!("{alias} is {value}, not a positive integer");
        }
        rest.insert(key.to_string(), value);
    }
    let mut flag = |key: &str| match rest.remove(key) {
        None => Ok(None),
        Some(Value::Bool(value)) => Ok(Some(value)),
        Some(value) => bail!("{key} is {value}, neither true nor false"),
    };
    flag("reorder_and_upcast_attn")?; // of engines in less than float32 alone
    let scaled = flag("scale_attn_weights")?.unwrap_or(true);
    let by_layer = flag("scale_attn_by_inverse_layer_idx")?.unwrap_or(false);
    let tied = flag("tie_word_embeddings")?;
    let name = rest.remove("activation_function").unwrap_or_else(|| ACTIVATIONS[0][0].into());
    let Some(row) = ACTIVATIONS.iter().find(|row| row.iter().any(|known| name == *known)) else {
        bail!("activation_function is {name}: want one of {}", ACTIVATIONS.concat().join(", "))
    };
    let mut config = Config::parse(&serde_json::to_vec(&rest)?)?;
    config.json = json;
    Ok((config, Family { activation: row[0], scaled, by_layer, tied }))
}

impl Family {
    /// What q·k is divided by in a layer, of heads d wide.
    pub fn divisor(&self, layer: usize, d: usize) -> f64 {
        let root = if self.scaled { (d as f64).sqrt() } else { 1.0 };
        root * if self.by_layer { (layer + 1) as f64 } else { 1.0 }
    }

    /// The matrix of the head, [V,C]: `lm_head.weight` where the file has it and
    /// `tie_word_embeddings` allows it, else `wte.weight`.
    pub fn head(&self, vb: &VarBuilder, wte: &Tensor) -> candle_core::Result<Tensor> {
        if !vb.contains_tensor("lm_head.weight") {
            if self.tied == Some(false) {
                candle_core::bail!(
                    "tensor lm_head.weight is missing: tie_word_embeddings is false in config.json"
                )
            }
            return Ok(wte.clone());
        }
        let head = vb.get(wte.shape().clone(), "lm_head.weight")?;
        if self.tied == Some(true) && head.ne(wte)?.max_all()?.to_scalar::<u8>()? != 0 {
            candle_core::bail!(
                "tensor lm_head.weight is not wte.weight, and tie_word_embeddings is true in config.json: \
                 engines differ in which they take; make it false for lm_head.weight, or leave that out"
            )
        }
        Ok(head)
    }

    /// The activation of every element.
    pub fn activate(&self, x: &Tensor) -> candle_core::Result<Tensor> {
        match self.activation {
            "gelu_new" => x.gelu(), // Candle's `gelu` is the tanh form, `gelu_erf` the other
            "gelu" => x.gelu_erf(),
            "gelu_10" => x.gelu_erf()?.minimum(10f32),
            "quick_gelu" => x * sigmoid(&(x * 1.702)?)?,
            "silu" => x.silu(),
            "mish" => x * softplus(x)?.to_dtype(DType::F32)?.tanh()?,
            "relu" => x.relu(),
            "relu6" => Activation::Relu6.forward(x),
            "relu2" => Activation::Relu2.forward(x),
            "leaky_relu" => Activation::LeakyRelu(0.01).forward(x),
            "hardswish" => Activation::HardSwish.forward(x),
            "tanh" => x.tanh(),
            "sigmoid" => sigmoid(x),
            "laplace" => {
                // with as many digits as Hugging Face has
                #[allow(clippy::approx_constant)]
                let mean = 0.707107;
                let z = ((x - mean)? / (0.282095 * std::f64::consts::SQRT_2))?;
                (z.erf()? + 1.0)? / 2.0
            }
            "sqrtsoftplus" => softplus(x)?.sqrt()?.to_dtype(DType::F32),
            "linear" => Ok(x.clone()),
            other => candle_core::bail!("activation_function {other} is not computed"),
        }
    }
}

/// log(1 + exp(x)), in float64: in float32 nothing is left of exp(x) beside 1 where x is negative.
fn softplus(x: &Tensor) -> candle_core::Result<Tensor> {
    let x = x.to_dtype(DType::F64)?;
    x.relu()? + (x.abs()?.neg()?.exp()? + 1.0)?.log()?
}
