//! One run: a prompt, its continuation, a dump.

use crate::config::Config;
use crate::dump::{finite, Dump, Engine, Manifest};
use crate::folder::Folder;
use crate::mistral::{Ask, Mistral, Model, Pass, Step};
use crate::options::Options;
use crate::rules::Rules;
use crate::sources::{mistralrs_version, SOURCES};
use anyhow::{ensure, Context, Result};
use candle_core::{Device, Tensor};
use serde_json::{json, Value};
use std::collections::HashMap;
use std::path::Path;

/// The greedy run that is dumped, and those that must give the same bits.
const RUNS: usize = 3;

/// The stages that mistral.rs never has, and the manifest's reason.
const NEVER: [&str; 2] = ["h.*.attn.scores", "h.*.attn.probs"];
const TILES: &str = "on a CPU mistral.rs computes attention a tile at a time and never has them";

/// A golden's probabilities are this near to the softmax of its logits (checkpoint 11), or not in it.
pub const SOFTMAX: f64 = 1e-6;
const SUMMED: &str =
    "mistral.rs's sampler adds up the exponentials in float32, one after another: \
                      further from the softmax than checkpoint 11 allows";

/// Writes the dump; returns the number of its `.npy` files. `progress` is told each stage of
/// the work.
pub fn run(options: &Options, progress: &mut dyn FnMut(&str)) -> Result<usize> {
    let config = Config::read(&options.model.join("config.json"))?;
    options.check(&config)?;
    let mut list = read_rules(options.rules.as_deref())?;
    let mut dump = Dump::create(&options.out)?;
    progress("checking the weights");
    let folder = Folder::open(&options.model, config)?;
    progress("loading");
    let model = Model::load(&folder)?;
    let mistral = model.start(false)?;

    progress("greedy run");
    let rows = options.tokens.len();
    let row = |b: usize, steps: usize| Ask {
        prompt: options.tokens[b].clone(),
        new: steps,
        forced: options.feed.get(b).map(|feed| feed[..steps - 1].to_vec()).unwrap_or_default(),
        temperature: None,
    };
    let asks: Vec<Ask> = (0..rows).map(|b| row(b, options.new)).collect();
    let (answers, passes) = tapped(&mistral, &asks)?;
    for run in 2..=RUNS {
        progress(&format!("greedy run {run} of {RUNS}"));
        ensure!(one_by_one(&mistral, &asks)? == answers, "greedy run {run} differs from the first");
    }

    // with --feed the run above was forced but for its last step: the engine's own choices at the
    // others come from runs that end there
    let chosen: Vec<Vec<Step>> = (0..options.new)
        .map(|k| match options.feed.is_empty() || k + 1 == options.new {
            true => Ok(answers.iter().map(|row| row[k.min(row.len() - 1)].clone()).collect()),
            false => {
                let asks: Vec<Ask> = (0..rows).map(|b| row(b, k + 1)).collect();
                Ok(last(one_by_one(&mistral, &asks)?))
            }
        })
        .collect::<Result<_>>()?;
    let mut tokens = options.tokens.clone(); // B rows: the prompt, what was fed, the last choice
    for (k, chosen) in chosen.iter().enumerate() {
        for (b, tokens) in tokens.iter_mut().enumerate() {
            let fed = options.feed.get(b).and_then(|feed| feed.get(k));
            tokens.push(*fed.unwrap_or(&chosen[b].token));
        }
    }
    let run = Run { mistral: &mistral, options, tokens: &tokens, chosen: &chosen };
    let mut probabilities = run.probabilities(&mut list, progress)?;
    let mut rules = Rules::parse(&serde_json::to_vec(&list)?)?;

    for (k, pass) in passes.iter().enumerate() {
        progress(&format!("step {} of {}", k + 1, options.new));
        run.check(k, pass).with_context(|| format!("step {k}"))?;
        for stage in stages(folder.config.n_layer, &options.temperatures) {
            if rules.leaves_out(k, &stage) {
                continue;
            }
            let tensor = match probabilities.remove(&(k, stage.clone())) {
                Some(tensor) => tensor,
                None => run.get(k, &stage, pass).with_context(|| format!("step {k}, {stage}"))?,
            };
            finite(&stage, &tensor).with_context(|| format!("step {k}, {stage}"))?;
            dump.put(k, &stage, &tensor)?;
        }
    }
    let tokens: Vec<Vec<i64>> =
        tokens.iter().map(|row| row.iter().map(|&id| id.into()).collect()).collect();
    dump.put_tokens(&Tensor::new(tokens, &Device::Cpu)?)?;
    let engine = Engine { name: "mistralrs", version: version(rows), dtype: "float32" };
    let (sha256, left_out) = (folder.weights.sha256()?, rules.left_out());
    dump.commit(Manifest::of(options, folder.config, sha256, engine, SOURCES, left_out))
}

/// The greedy run.
struct Run<'a> {
    mistral: &'a Mistral<'a>,
    options: &'a Options,
    /// B rows: the prompt, what was fed, the last choice
    tokens: &'a [Vec<u32>],
    /// the engine's choice, by step and row
    chosen: &'a [Vec<Step>],
}

impl Run<'_> {
    /// Refuses a step on which model, sampler and response do not agree.
    fn check(&self, step: usize, pass: &Pass) -> Result<()> {
        let prompt = self.options.tokens[0].len();
        let new = if step == 0 { prompt } else { 1 };
        let fed: Vec<Vec<u32>> = stage("tokens", pass)?.to_vec2()?;
        let want = self.tokens.iter().map(|row| &row[prompt + step - new..prompt + step]);
        let want: Vec<&[u32]> = want.collect();
        ensure!(fed == want, "the model was fed {fed:?}, not {want:?}");
        let logits = stage("logits", pass)?; // B,T,V
        for (b, chosen) in self.chosen[step].iter().enumerate() {
            let last: Vec<f32> = logits.get(b)?.get(new - 1)?.to_vec1()?;
            ensure!(last == chosen.logits, "the sampler was given other logits than the model's");
            let highest = last.iter().cloned().fold(f32::NEG_INFINITY, f32::max);
            let lowest_id = last.iter().position(|&l| l == highest).unwrap_or(0) as u32;
            ensure!(
                chosen.token == lowest_id,
                "mistral.rs chose {} where {lowest_id} has as high a logit and a lower id",
                chosen.token
            );
        }
        Ok(())
    }

    fn get(&self, step: usize, name: &str, pass: &Pass) -> Result<Tensor> {
        let chosen = self.chosen[step].iter();
        Ok(match name {
            "logits_last" => {
                Tensor::new(chosen.map(|s| s.logits.clone()).collect::<Vec<_>>(), &Device::Cpu)?
            }
            "next_token" => {
                Tensor::new(chosen.map(|s| i64::from(s.token)).collect::<Vec<_>>(), &Device::Cpu)?
            }
            _ => stage(name, pass)?.clone(),
        })
    }

    /// `probs_t*` by step and stage, where `rules` want them; a temperature whose probabilities are
    /// not those of a softmax gets a rule of its own.
    fn probabilities(
        &self,
        rules: &mut Vec<Value>,
        progress: &mut dyn FnMut(&str),
    ) -> Result<HashMap<(usize, String), Tensor>> {
        let mut wanted = Rules::parse(&serde_json::to_vec(rules)?)?;
        let mut all = HashMap::new();
        for &t in &self.options.temperatures {
            let stage = format!("probs_t{t}");
            let mut tensors = Vec::new();
            for step in (0..self.options.new).filter(|&step| !wanted.leaves_out(step, &stage)) {
                progress(&format!("{stage} of step {}", step + 1));
                let steps = self.at_temperature(step, t)?;
                let off = steps.iter().map(|s| off(s, t)).fold(0.0, f64::max);
                if off > SOFTMAX {
                    rules.push(json!({"stages": stage, "steps": "all", "reason": SUMMED}));
                    tensors.clear();
                    break;
                }
                let rows: Vec<_> = steps.into_iter().map(|step| step.probabilities).collect();
                tensors.push(((step, stage.clone()), Tensor::new(rows, &Device::Cpu)?));
            }
            all.extend(tensors);
        }
        Ok(all)
    }

    /// A step in a run that is made to come as far: a sampler with a temperature draws, so the first
    /// step that it is free to choose is the last.
    fn at_temperature(&self, step: usize, temperature: f64) -> Result<Vec<Step>> {
        let ask = |row: &Vec<u32>, prompt: &Vec<u32>| Ask {
            prompt: prompt.clone(),
            new: step + 1,
            forced: row[prompt.len()..prompt.len() + step].to_vec(),
            temperature: Some(temperature),
        };
        let asks: Vec<Ask> =
            self.tokens.iter().zip(&self.options.tokens).map(|(row, p)| ask(row, p)).collect();
        let steps = last(one_by_one(self.mistral, &asks)?);
        let same = steps.iter().zip(&self.chosen[step]).all(|(a, b)| a.logits == b.logits);
        ensure!(same, "a run at temperature {temperature} has other logits than the greedy one");
        Ok(steps)
    }
}

fn stage<'a>(name: &str, pass: &'a Pass) -> Result<&'a Tensor> {
    pass.get(name).with_context(|| format!("the model did not hand out {name}"))
}

/// How far a step's probabilities are from the softmax of its logits, in float64.
pub fn off(step: &Step, temperature: f64) -> f64 {
    let scaled = step.logits.iter().map(|&l| f64::from(l) / temperature);
    let max = scaled.clone().fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = scaled.clone().map(|l| (l - max).exp()).sum();
    let apart =
        scaled.zip(&step.probabilities).map(|(l, &p)| ((l - max).exp() / sum - f64::from(p)).abs());
    apart.fold(0.0, f64::max)
}

/// The last step of each answer.
fn last(answers: Vec<Vec<Step>>) -> Vec<Step> {
    answers.into_iter().map(|mut steps| steps.pop().expect("an answer has a step")).collect()
}

/// The rows of a batch, each a request of its own: decoding several at once on a CPU, mistral.rs
/// 0.8.1 gives every row the attention of the last, as `mistralrs-export check` shows.
fn one_by_one(mistral: &Mistral, asks: &[Ask]) -> Result<Vec<Vec<Step>>> {
    asks.iter().map(|ask| Ok(mistral.ask(std::slice::from_ref(ask))?.remove(0))).collect()
}

/// The same, and the forward passes, the rows put side by side.
fn tapped(mistral: &Mistral, asks: &[Ask]) -> Result<(Vec<Vec<Step>>, Vec<Pass>)> {
    let (mut answers, mut rows) = (Vec::new(), Vec::new());
    for ask in asks {
        let (mut answer, mut passes) = mistral.tapped(std::slice::from_ref(ask))?;
        if ask.new == 1 {
            passes.truncate(1); // mistral.rs goes a step too far where the first token is the last
        }
        let (new, made) = (ask.new, passes.len());
        ensure!(made == new, "{new} steps took mistral.rs {made} forward passes");
        answers.push(answer.remove(0));
        rows.push(passes);
    }
    let passes = (0..rows[0].len()).map(|k| side_by_side(rows.iter().map(|passes| &passes[k])));
    Ok((answers, passes.collect::<Result<_>>()?))
}

/// Passes of one row each as one of several; `wpe`, which has no axis for rows, is that of each.
pub fn side_by_side<'a>(passes: impl Iterator<Item = &'a Pass>) -> Result<Pass> {
    let passes: Vec<&Pass> = passes.collect();
    let join = |name: &String| -> Result<Tensor> {
        let rows = passes.iter().map(|pass| stage(name, pass));
        let rows: Vec<&Tensor> = rows.collect::<Result<_>>()?;
        if name != "wpe" {
            return Ok(Tensor::cat(&rows, 0)?);
        }
        let wpe: Vec<Vec<Vec<f32>>> = rows.iter().map(|t| t.to_vec2()).collect::<Result<_, _>>()?;
        ensure!(wpe.iter().all(|row| *row == wpe[0]), "the rows of a batch have other positions");
        Ok(rows[0].clone())
    };
    passes[0].keys().map(|name| Ok((name.clone(), join(name)?))).collect()
}

/// mistral.rs's version, and of a batch how its rows were computed.
fn version(rows: usize) -> &'static str {
    match (rows, mistralrs_version()) {
        (1, version) => version,
        (_, version) => format!("{version}, each row a request of its own").leak(),
    }
}

/// The largest difference.
pub fn apart(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).fold(0f32, |max, (a, b)| max.max((a - b).abs()))
}

/// The contract's stages of a step, in execution order.
fn stages(layers: usize, temperatures: &[f64]) -> Vec<String> {
    let block = "ln_1 attn.c_attn attn.q attn.k attn.v attn.cache_k attn.cache_v attn.scores \
                 attn.probs attn.context attn.c_proj resid_mid ln_2 mlp.c_fc mlp.act mlp.c_proj \
                 resid_post";
    let mut stages: Vec<String> = ["wte", "wpe", "embed"].map(String::from).into();
    for n in 0..layers {
        stages.extend(block.split_whitespace().map(|stage| format!("h.{n}.{stage}")));
    }
    stages.extend(["ln_f", "logits", "logits_last", "next_token"].map(String::from));
    stages.extend(temperatures.iter().map(|t| format!("probs_t{t}")));
    stages
}

/// The rules of the file, and those of [`NEVER`] that it does not have.
fn read_rules(path: Option<&Path>) -> Result<Vec<Value>> {
    let mut list: Vec<Value> = Vec::new();
    if let Some(path) = path {
        let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
        Rules::parse(&text).with_context(|| format!("rules in {}", path.display()))?;
        list = serde_json::from_slice(&text)?;
    }
    for stages in NEVER {
        let rule = json!({"stages": stages, "steps": "all", "reason": TILES});
        if !list.contains(&rule) {
            list.push(rule);
        }
    }
    Ok(list)
}
