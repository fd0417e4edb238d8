//! A model folder as mistral.rs wants it: the weights where they lie, and beside them, in a folder of
//! ours, `config.json` under Starcoder2's keys and `tokenizer.json`.

use crate::config::Config;
use crate::tokenizer::tokenizer_json;
use crate::weights::Weights;
use anyhow::{bail, Context, Result};
use serde_json::{json, Value};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The checked model, ready to load.
pub struct Folder {
    pub config: Config,
    pub weights: Weights,
    home: TempDir,
}

impl Folder {
    /// Refuses a model that is no GPT-2, and weights that do not fit, before mistral.rs sees them:
    /// it takes a missing weight for a layer that is loaded later.
    pub fn open(dir: &Path, config: Config) -> Result<Self> {
        let weights = Weights::open(dir)?;
        check(&config, &weights)
            .with_context(|| format!("{} does not fit config.json", weights.describe()))?;
        if let Some(name) = weights.surplus() {
            bail!("{} holds tensor {name}, which config.json has no use for", weights.describe());
        }
        let home = tempfile::tempdir().context("make a folder for config.json")?;
        let folder = Self { config, weights, home };
        std::fs::write(folder.config_path(), folder.config_json().to_string())?;
        std::fs::write(folder.tokenizer_path(), tokenizer_json()?)?;
        Ok(folder)
    }

    pub fn config_path(&self) -> PathBuf {
        self.home.path().join("config.json")
    }

    pub fn tokenizer_path(&self) -> PathBuf {
        self.home.path().join("tokenizer.json")
    }

    /// While this folder exists, the model writes its stages there.
    pub fn stages_path(&self) -> PathBuf {
        self.home.path().join("stages")
    }

    fn config_json(&self) -> Value {
        let c = &self.config;
        json!({
            "vocab_size": c.vocab_size,
            "hidden_size": c.n_embd,
            "intermediate_size": c.n_inner,
            "num_hidden_layers": c.n_layer,
            "num_attention_heads": c.n_head,
            "num_key_value_heads": c.n_head,
            "hidden_act": "gelu_new",
            "max_position_embeddings": c.n_positions,
            "norm_epsilon": c.layer_norm_epsilon,
            "rope_theta": 0.0, // a key that must be there; positions are learned
            "use_bias": true,
            "sliding_window": null,
            "quantization_config": null,
            "tie_word_embeddings": true,
            "stages": self.stages_path(),
        })
    }
}

/// Asks for every tensor once, so that name, shape, type and values are checked.
fn check(config: &Config, weights: &Weights) -> Result<()> {
    let vb = weights.builder();
    let (v, c, f) = (config.vocab_size, config.n_embd, config.n_inner);
    vb.get((v, c), "wte.weight")?;
    vb.get((config.n_positions, c), "wpe.weight")?;
    for n in 0..config.n_layer {
        let vb = vb.pp(format!("h.{n}"));
        for (name, inputs, outputs) in [
            ("attn.c_attn", c, 3 * c),
            ("attn.c_proj", c, c),
            ("mlp.c_fc", c, f),
            ("mlp.c_proj", f, c),
        ] {
            vb.get((inputs, outputs), &format!("{name}.weight"))?;
            vb.get(outputs, &format!("{name}.bias"))?;
        }
        for name in ["ln_1.weight", "ln_1.bias", "ln_2.weight", "ln_2.bias"] {
            vb.get(c, name)?;
        }
    }
    for name in ["ln_f.weight", "ln_f.bias"] {
        vb.get(c, name)?;
    }
    if vb.contains_tensor("lm_head.weight") {
        vb.get((v, c), "lm_head.weight")?;
    }
    Ok(())
}
