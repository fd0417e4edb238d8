//! The command line. Exit status: 0 done, 2 bad usage or bad input with one line on stderr.

use anyhow::{Context, Result};
use candle_export::{export, synth};
use clap::{Args, Parser, Subcommand};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;

/// Run GPT-2 on Candle and write every stage as a checkpoint12 dump.
///
/// Example: candle-export --model DIR --name gpt2-medium --tokens 15496,13 --new 10 --out dump
#[derive(Parser)]
#[command(version, args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    export: Option<Export>,
}

#[derive(Subcommand)]
enum Command {
    /// Write a synthetic model as config.json and model.safetensors
    Synth {
        /// synthetic-tiny or synthetic-medium
        name: String,
        /// Folder to write; an older model there is replaced
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

#[derive(Args)]
struct Export {
    /// Folder with config.json and model.safetensors (or its index and shards)
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The model's name in the manifest
    #[arg(long)]
    name: String,
    /// Prompt token ids, comma-separated; again for each further row of a batch
    #[arg(long, value_name = "IDS", required = true)]
    tokens: Vec<Ids>,
    /// New tokens, so steps: the prompt is step 0, the last token is chosen and not fed
    #[arg(long, value_name = "N")]
    new: usize,
    /// Ids fed to the decode steps, N-1 a row, instead of the engine's own choice
    #[arg(long, value_name = "IDS")]
    feed: Vec<Ids>,
    /// The case's name in the manifest
    #[arg(long)]
    case: Option<String>,
    /// The prompt's text in the manifest
    #[arg(long, value_name = "TEXT", allow_hyphen_values = true)]
    prompt: Option<String>,
    /// Temperatures of the probs_t* stages
    #[arg(long, value_name = "LIST", default_value = "0.5,1,2", value_delimiter = ',')]
    temperatures: Vec<f64>,
    /// JSON list of {"stages": pattern, "steps": "all|0|1-8|1-|2,5", "reason": text} to leave out
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Folder to write; an older dump there is replaced
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
}

/// A row of token ids.
#[derive(Clone)]
struct Ids(Vec<u32>);

impl FromStr for Ids {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Ids(Vec::new()));
        }
        let id =
            |part: &str| part.trim().parse().map_err(|_| format!("{part:?} is not a token id"));
        text.split(',').map(id).collect::<Result<_, _>>().map(Ids)
    }
}

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => error.exit(), // --help, --version
        Err(error) => {
            let text = error.to_string();
            let text = text.split("\n\nUsage").next().unwrap_or(&text);
            return fail(text.strip_prefix("error: ").unwrap_or(text), "; see --help");
        }
    };
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("{error:#}"), ""),
    }
}

/// One line on stderr, status 2.
fn fail(message: &str, hint: &str) -> ExitCode {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("candle-export: {line}{hint}");
    ExitCode::from(2)
}

fn run(cli: Cli) -> Result<()> {
    let terminal = std::io::stderr().is_terminal();
    if let Some(Command::Synth { name, out }) = cli.command {
        let sha256 = synth::write(&name, &out)?;
        let line = format!("{sha256}  {}\n", out.join(synth::WEIGHTS).display());
        return std::io::stdout().write_all(line.as_bytes()).context("write to stdout");
    }
    let args = cli.export.context("--model is missing; see --help")?;
    let (new, out) = (args.new, args.out.clone());
    let rows = |list: Vec<Ids>| list.into_iter().map(|ids| ids.0).collect();
    let options = export::Options {
        model: args.model,
        name: args.name,
        tokens: rows(args.tokens),
        new,
        feed: rows(args.feed),
        case: args.case,
        prompt: args.prompt,
        temperatures: args.temperatures,
        rules: args.rules,
        out: args.out,
    };
    let files = export::run(&options, &mut |step| {
        if terminal {
            eprint!("\rstep {} of {new}", step + 1);
        }
    })?;
    if terminal {
        eprintln!("\r{files} files in {}", out.display());
    }
    Ok(())
}
