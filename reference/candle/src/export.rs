//! One run: a prompt, its continuation, a dump.

use crate::dump::{finite, Dump, Engine, Manifest};
use crate::family;
use crate::model::Gpt2;
use crate::options::Options;
use crate::rules::Rules;
use crate::sources::{candle_version, SOURCES};
use crate::weights::Weights;
use anyhow::{bail, Context, Result};
use candle_core::{DType, Device, Tensor};

/// Writes the dump; returns the number of its `.npy` files. `progress` is told each step.
pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<usize> {
    let (config, family) = family::read(&options.model.join("config.json"))?;
    options.check(&config)?;
    let mut rules = match &options.rules {
        Some(path) => Rules::read(path)?,
        None => Rules::default(),
    };
    let mut dump = Dump::create(&options.out)?;
    let weights = Weights::open(&options.model)?;
    let length = options.tokens[0].len() + options.new - 1;
    let mut model = Gpt2::load(&config, &family, &weights.builder(), length)
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
        progress(&format!("step {} of {}", step + 1, options.new));
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
    let engine = Engine { name: "candle", version: candle_version(), dtype: "float32" };
    let left_out = rules.left_out();
    dump.commit(Manifest::of(options, config, weights.sha256()?, engine, SOURCES, left_out))
}
