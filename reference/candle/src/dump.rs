//! A dump in the contract's form: `.npy` files and the manifest that binds them to their makers.

use crate::config::Config;
use crate::npy;
use crate::options::Options;
use crate::provenance::{exporter, Files, Source};
use crate::rules::Rule;
use crate::staging::Staging;
use crate::weights::sha256;
use anyhow::{bail, Context, Result};
use candle_core::{DType, Tensor};
use serde::Serialize;
use serde_json::{Map, Number, Value};
use std::path::Path;

/// `manifest.json`, field by field as the contract has it; `files` is filled by [`Dump::commit`].
#[derive(Serialize)]
pub struct Manifest {
    pub schema: u32,
    pub model: Model,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// the prompt's ids, a row for each sequence of the batch
    pub tokens: Vec<Vec<u32>>,
    pub new: usize,
    pub temperatures: Vec<Number>,
    pub engine: Engine,
    pub exporter: Vec<Source>,
    pub files: Vec<FileEntry>,
    pub left_out: Vec<Rule>,
}

impl Manifest {
    /// The manifest of a run with these options, without its files.
    pub fn of(
        options: &Options,
        config: Config,
        weights_sha256: String,
        engine: Engine,
        sources: &Files,
        left_out: Vec<Rule>,
    ) -> Self {
        Manifest {
            schema: 1,
            model: Model { name: options.name.clone(), config: config.json, weights_sha256 },
            case: options.case.clone(),
            prompt: options.prompt.clone(),
            tokens: options.tokens.clone(),
            new: options.new,
            temperatures: options.temperatures.iter().map(|&t| number(t)).collect(),
            engine,
            exporter: exporter(sources),
            files: Vec::new(),
            left_out,
        }
    }
}

/// `1` rather than `1.0`, as in `probs_t1`.
fn number(t: f64) -> Number {
    if t.fract() == 0.0 {
        Number::from(t as i64)
    } else {
        Number::from_f64(t).expect("checked to be finite")
    }
}

/// Refuses values that no comparison could use: NaN anywhere, an infinity outside the masked scores.
pub fn finite(stage: &str, tensor: &Tensor) -> Result<()> {
    if tensor.dtype() != DType::F32 {
        return Ok(());
    }
    let masked = stage.ends_with(".attn.scores");
    let bad = |v: &&f32| !(v.is_finite() || masked && **v == f32::NEG_INFINITY);
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    if let Some(value) = values.iter().find(bad) {
        bail!("the engine computed {value}; a golden must be finite");
    }
    Ok(())
}

#[derive(Serialize)]
pub struct Model {
    pub name: String,
    pub config: Map<String, Value>,
    pub weights_sha256: String,
}

#[derive(Serialize)]
pub struct Engine {
    pub name: &'static str,
    pub version: &'static str,
    pub dtype: &'static str,
}

#[derive(Clone, Serialize)]
pub struct FileEntry {
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stage: Option<String>,
    pub shape: Vec<usize>,
    pub dtype: &'static str,
    pub sha256: String,
}

/// A dump being written; nothing is at its place before [`Dump::commit`].
pub struct Dump {
    staging: Staging,
    files: Vec<FileEntry>,
}

impl Dump {
    pub fn create(target: &Path) -> Result<Self> {
        Ok(Self { staging: Staging::create(target, "tokens.npy")?, files: Vec::new() })
    }

    /// Writes `step_KK/<stage>.npy`.
    pub fn put(&mut self, step: usize, stage: &str, tensor: &Tensor) -> Result<()> {
        let folder = format!("step_{step:02}");
        std::fs::create_dir_all(self.staging.path().join(&folder))
            .with_context(|| format!("make {folder}"))?;
        self.write(format!("{folder}/{stage}.npy"), Some((step, stage)), tensor)
    }

    /// Writes `tokens.npy`, int64 [B, prompt + new].
    pub fn put_tokens(&mut self, tokens: &Tensor) -> Result<()> {
        self.write("tokens.npy".to_string(), None, tokens)
    }

    fn write(&mut self, path: String, at: Option<(usize, &str)>, tensor: &Tensor) -> Result<()> {
        let bytes = npy::encode(tensor).with_context(|| path.clone())?;
        std::fs::write(self.staging.path().join(&path), &bytes)
            .with_context(|| format!("write {path}"))?;
        self.files.push(FileEntry {
            path,
            step: at.map(|(step, _)| step),
            stage: at.map(|(_, stage)| stage.to_string()),
            shape: tensor.dims().to_vec(),
            dtype: if tensor.dtype() == DType::I64 { "int64" } else { "float32" },
            sha256: sha256(&bytes),
        });
        Ok(())
    }

    /// Writes the manifest and renames the folder into its place; returns the number of files.
    pub fn commit(self, mut manifest: Manifest) -> Result<usize> {
        let count = self.files.len();
        manifest.files = self.files;
        std::fs::write(self.staging.path().join("manifest.json"), text(&manifest)?)
            .context("write manifest.json")?;
        self.staging.commit()?;
        Ok(count)
    }
}

/// JSON with a line for each key and, in lists of objects, a line for each object.
fn text(manifest: &Manifest) -> Result<String> {
    let Value::Object(top) = serde_json::to_value(manifest)? else {
        unreachable!("a struct is an object")
    };
    let mut lines = Vec::new();
    for (key, value) in &top {
        let line = match value {
            Value::Array(list) if list.first().is_some_and(Value::is_object) => {
                let rows: Vec<String> = list.iter().map(|row| format!("    {row}")).collect();
                format!("[\n{}\n  ]", rows.join(",\n"))
            }
            other => other.to_string(),
        };
        lines.push(format!("  {}: {line}", Value::from(key.as_str())));
    }
    Ok(format!("{{\n{}\n}}\n", lines.join(",\n")))
}
