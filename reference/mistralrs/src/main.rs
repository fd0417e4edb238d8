//! The command line. Exit status: 0 done, 1 a claim of `check` does not hold, 2 bad usage or bad
//! input with one line on stderr.

use anyhow::{Context, Result};
use clap::{Args, Parser, Subcommand};
use mistralrs_export::{check, export};
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::str::FromStr;
use std::sync::Mutex;

/// Run GPT-2 on mistral.rs and write every stage as a checkpoint12 dump.
///
/// Example: mistralrs-export --model DIR --name gpt2-medium --tokens 15496,13 --new 10 --out dump
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
    /// Try what mistral.rs's sampler, scheduler and prefix cache promise
    Check {
        /// Folder with config.json and model.safetensors (or its index and shards)
        #[arg(long, value_name = "DIR")]
        model: PathBuf,
        /// Token ids of a prompt, comma-separated; at least two prompts
        #[arg(long, value_name = "IDS", default_values = ["15496,13", "464,2068", "464,2068,7586"])]
        tokens: Vec<Ids>,
        /// New tokens for each
        #[arg(long, value_name = "N", default_value_t = 10)]
        new: usize,
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

/// What the engine's thread said as it ended, if it panicked.
static PANIC: Mutex<String> = Mutex::new(String::new());

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) if !error.use_stderr() => error.exit(), // --help, --version
        Err(error) => {
            let text = error.to_string();
            let text = text.split("\n\n").next().unwrap_or(&text);
            return fail(text.strip_prefix("error: ").unwrap_or(text), "; see --help");
        }
    };
    std::panic::set_hook(Box::new(|info| {
        *PANIC.lock().unwrap_or_else(|error| error.into_inner()) = info.to_string();
    }));
    let outcome = std::panic::catch_unwind(|| match cli.command {
        Some(Command::Check { model, tokens, new }) => check(&model, tokens, new),
        None => write(cli.export.context("--model is missing; see --help")?),
    });
    let panic = PANIC.lock().unwrap_or_else(|error| error.into_inner());
    match outcome {
        Ok(Ok(code)) => code,
        Ok(Err(error)) if panic.is_empty() => fail(&format!("{error:#}"), ""),
        Ok(Err(error)) => fail(&format!("{error:#}: {panic}"), ""),
        Err(_) => fail(&panic, ""),
    }
}

/// One line on stderr, status 2.
fn fail(message: &str, hint: &str) -> ExitCode {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("mistralrs-export: {line}{hint}");
    ExitCode::from(2)
}

fn rows(list: Vec<Ids>) -> Vec<Vec<u32>> {
    list.into_iter().map(|ids| ids.0).collect()
}

fn check(model: &std::path::Path, tokens: Vec<Ids>, new: usize) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    check::run(model, &rows(tokens), new, &mut |finding| {
        let verdict = if finding.holds { "holds" } else { "FAILS" };
        if !finding.holds {
            code = ExitCode::from(1);
        }
        let line = format!("{verdict}  {}: {}\n", finding.claim, finding.detail);
        std::io::stdout().write_all(line.as_bytes()).context("write to stdout")
    })?;
    Ok(code)
}

fn write(args: Export) -> Result<ExitCode> {
    let terminal = std::io::stderr().is_terminal();
    let out = args.out.clone();
    let options = export::Options {
        model: args.model,
        name: args.name,
        tokens: rows(args.tokens),
        new: args.new,
        feed: rows(args.feed),
        case: args.case,
        prompt: args.prompt,
        temperatures: args.temperatures,
        rules: args.rules,
        out: args.out,
    };
    let files = export::run(&options, &mut |what| {
        if terminal {
            eprint!("\r\x1b[K{what}");
        }
    })?;
    if terminal {
        eprintln!("\r\x1b[K{files} files in {}", out.display());
    }
    Ok(ExitCode::SUCCESS)
}
