//! A run as the command line asks for it.

use crate::config::Config;
use anyhow::{ensure, Result};
use clap::Args;
use std::path::PathBuf;

/// Token ids of one sequence of a batch.
pub type Row = Vec<u32>;

/// Reads comma-separated ids.
pub fn row(text: &str) -> Result<Row, String> {
    if text.is_empty() {
        return Ok(Row::new());
    }
    let id = |part: &str| part.trim().parse().map_err(|_| format!("{part:?} is not a token id"));
    text.split(',').map(id).collect()
}

#[derive(Args, Clone, Debug, Default)]
pub struct Options {
    /// Folder with config.json and model.safetensors (or its index and shards)
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// The model's name in the manifest
    #[arg(long)]
    pub name: String,
    /// Prompt token ids, comma-separated; again for each further row of a batch
    #[arg(long, value_name = "IDS", required = true, value_parser = row)]
    pub tokens: Vec<Row>,
    /// New tokens, so steps: the prompt is step 0, the last token is chosen and not fed
    #[arg(long, value_name = "N")]
    pub new: usize,
    /// Ids fed to the decode steps, N-1 a row, instead of the engine's own choice
    #[arg(long, value_name = "IDS", value_parser = row)]
    pub feed: Vec<Row>,
    /// The case's name in the manifest
    #[arg(long)]
    pub case: Option<String>,
    /// The prompt's text in the manifest
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    pub prompt: Option<String>,
    /// Temperatures of the probs_t* stages
    #[arg(long, value_name = "LIST", default_value = "0.5,1,2", value_delimiter = ',')]
    pub temperatures: Vec<f64>,
    /// JSON list of {"stages": pattern, "steps": "all|0|1-8|1-|2,5", "reason": text} to leave out
    #[arg(long, value_name = "FILE")]
    pub rules: Option<PathBuf>,
    /// Folder to write; an older dump there is replaced
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
}

impl Options {
    /// Refuses a run that the model has no tokens or no positions for, before anything is read or
    /// written.
    pub fn check(&self, config: &Config) -> Result<()> {
        ensure!(!self.name.is_empty(), "--name is empty");
        ensure!(self.new >= 1, "--new must be at least 1");
        check_prompts(&self.tokens, self.new, config)?;
        let prompt = self.tokens[0].len();
        ensure!(
            self.tokens.iter().all(|row| row.len() == prompt),
            "--tokens: the rows of a batch must be of equal length"
        );
        if !self.feed.is_empty() {
            ensure!(
                self.feed.len() == self.tokens.len(),
                "--feed is given {} times, --tokens {} times",
                self.feed.len(),
                self.tokens.len()
            );
            ensure!(
                self.feed.iter().all(|row| row.len() == self.new - 1),
                "--feed needs {} ids a row, one less than --new",
                self.new - 1
            );
            check_ids(&self.feed, config)?;
        }
        ensure!(!self.temperatures.is_empty(), "--temperatures is empty");
        for (i, t) in self.temperatures.iter().enumerate() {
            // within these bounds every language writes the number, and so the stage's name, alike
            let short = format!("{t:.5e}").parse() == Ok(*t);
            ensure!(
                short && (1e-4..1e6).contains(t),
                "--temperatures: {t} is not a number of up to six digits in [0.0001, 1000000)"
            );
            ensure!(!self.temperatures[..i].contains(t), "--temperatures: {t} is there twice");
        }
        Ok(())
    }
}

/// Refuses prompts that the model has no tokens for, or no positions for them and `new` tokens more.
pub fn check_prompts(prompts: &[Row], new: usize, config: &Config) -> Result<()> {
    ensure!(!prompts.is_empty(), "--tokens is missing");
    for row in prompts {
        ensure!(!row.is_empty(), "--tokens is empty: a prompt has at least one token");
        let last = row.len().saturating_add(new - 1);
        ensure!(
            last <= config.n_positions,
            "{} prompt tokens and {new} new ones need {last} positions, the model has {}",
            row.len(),
            config.n_positions
        );
    }
    check_ids(prompts, config)
}

fn check_ids(rows: &[Row], config: &Config) -> Result<()> {
    for &id in rows.iter().flatten() {
        ensure!(
            (id as usize) < config.vocab_size,
            "token {id} is outside the vocabulary of {}",
            config.vocab_size
        );
    }
    Ok(())
}
