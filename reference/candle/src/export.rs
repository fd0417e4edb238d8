//! One run: a prompt, its continuation, a dump.

use crate::config::Config;
use crate::dump::{Dump, Engine, Manifest, Model};
use crate::model::Gpt2;
use crate::rules::Rules;
use crate::sources;
use crate::weights::Weights;
use anyhow::{bail, ensure, Context, Result};
use candle_core::{DType, Device, Tensor};
use serde_json::Number;
use std::path::PathBuf;

/// What to export; ids are rows of the batch.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub model: PathBuf,
    pub name: String,
    pub tokens: Vec<Vec<u32>>,
    pub new: usize,
    /// what the decode steps are fed, new − 1 ids a row; empty: the engine's own choice
    pub feed: Vec<Vec<u32>>,
    pub case: Option<String>,
    pub prompt: Option<String>,
    pub temperatures: Vec<f64>,
    pub rules: Option<PathBuf>,
    pub out: PathBuf,
}

/// Writes the dump; returns the number of its `.npy` files. `progress` hears of each step.
pub fn run(options: &Options, progress: &mut dyn FnMut(usize)) -> Result<usize> {
    let config = Config::read(&options.model.join("config.json"))?;
    check(options, &config)?;
    let mut rules = match &options.rules {
        Some(path) => Rules::read(path)?,
        None => Rules::default(),
    };
    let mut dump = Dump::create(&options.out)?;
    let weights = Weights::open(&options.model)?;
    let length = options.tokens[0].len() + options.new - 1;
    let mut model = Gpt2::load(&config, &weights.builder(), length)
        .with_context(|| format!("{} does not fit config.json", weights.describe()))?;
    if let Some(name) = weights.surplus() {
        bail!("{} holds tensor {name}, which config.json has no use for", weights.describe());
    }

    let mut tokens = Tensor::new(options.tokens.clone(), &Device::Cpu)?; // B,prompt
    let feed = match options.feed.is_empty() {
        true => None,
        false => Some(Tensor::new(options.feed.clone(), &Device::Cpu)?), // B,N-1
    };
    let mut input = tokens.clone(); // B,T
    for step in 0..options.new {
        progress(step);
        let mut tap = |stage: &str, tensor: &Tensor| {
            finite(stage, tensor).with_context(|| format!("step {step}, {stage}"))?;
            if !rules.leaves_out(step, stage) {
                dump.put(step, stage, tensor)?;
            }
            Ok(())
        };
        let next = model.step(&input, &options.temperatures, &mut tap)?; // B
        input = match &feed {
            Some(feed) if step + 1 < options.new => feed.narrow(1, step, 1)?, // B,1
            _ => next.to_dtype(DType::U32)?.unsqueeze(1)?,                    // B,1
        };
        tokens = Tensor::cat(&[&tokens, &input], 1)?; // B,prompt+step+1
    }
    dump.put_tokens(&tokens.to_dtype(DType::I64)?)?;
    dump.commit(Manifest {
        schema: 1,
        model: Model {
            name: options.name.clone(),
            config: config.json,
            weights_sha256: weights.sha256()?,
        },
        case: options.case.clone(),
        prompt: options.prompt.clone(),
        tokens: options.tokens.clone(),
        new: options.new,
        temperatures: options.temperatures.iter().map(|&t| number(t)).collect(),
        engine: Engine { name: "candle", version: sources::candle_version(), dtype: "float32" },
        exporter: sources::exporter(),
        files: Vec::new(),
        left_out: rules.left_out(),
    })
}

/// Refuses what the model cannot be fed, before anything is read or written.
fn check(options: &Options, config: &Config) -> Result<()> {
    ensure!(!options.name.is_empty(), "--name is empty");
    ensure!(options.new >= 1, "--new must be at least 1");
    ensure!(!options.tokens.is_empty(), "--tokens is missing");
    let prompt = options.tokens[0].len();
    ensure!(prompt >= 1, "--tokens is empty: a prompt has at least one token");
    ensure!(
        options.tokens.iter().all(|row| row.len() == prompt),
        "--tokens: the rows of a batch must be of equal length"
    );
    if !options.feed.is_empty() {
        ensure!(
            options.feed.len() == options.tokens.len(),
            "--feed is given {} times, --tokens {} times",
            options.feed.len(),
            options.tokens.len()
        );
        ensure!(
            options.feed.iter().all(|row| row.len() == options.new - 1),
            "--feed needs {} ids a row, one less than --new",
            options.new - 1
        );
    }
    let last = prompt.saturating_add(options.new - 1);
    ensure!(
        last <= config.n_positions,
        "{prompt} prompt tokens and {} new ones need {last} positions, the model has {}",
        options.new,
        config.n_positions
    );
    for &id in options.tokens.iter().chain(&options.feed).flatten() {
        ensure!(
            (id as usize) < config.vocab_size,
            "token {id} is outside the vocabulary of {}",
            config.vocab_size
        );
    }
    ensure!(!options.temperatures.is_empty(), "--temperatures is empty");
    for (i, t) in options.temperatures.iter().enumerate() {
        // within these bounds every language writes the number, and so the stage's name, alike
        let short = format!("{t:.5e}").parse() == Ok(*t);
        ensure!(
            short && (1e-4..1e6).contains(t),
            "--temperatures: {t} is not a number of up to six digits in [0.0001, 1000000)"
        );
        ensure!(!options.temperatures[..i].contains(t), "--temperatures: {t} is there twice");
    }
    Ok(())
}

/// Values that no comparison could use: NaN anywhere, an infinity outside the masked scores.
fn finite(stage: &str, tensor: &Tensor) -> Result<()> {
    if tensor.dtype() != DType::F32 {
        return Ok(());
    }
    let masked = stage.ends_with(".attn.scores");
    let bad = |v: &&f32| !(v.is_finite() || masked && **v == f32::NEG_INFINITY);
    let values = tensor.flatten_all()?.to_vec1::<f32>()?;
    if let Some(value) = values.iter().find(bad) {
        bail!("Candle computed {value}; a golden must be finite");
    }
    Ok(())
}

/// `1` rather than `1.0`, as in `probs_t1`.
fn number(t: f64) -> Number {
    if t.fract() == 0.0 {
        Number::from(t as i64)
    } else {
        Number::from_f64(t).expect("checked to be finite")
    }
}
