//! The command line. Exit status: 0 done, 1 a claim of `check` does not hold, 2 bad usage or bad
//! input with one line on stderr.

use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use mistralrs_export::options::{row, Options, Row};
use mistralrs_export::{check, export, program};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
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
    export: Option<Options>,
}

#[derive(Subcommand)]
enum Command {
    /// Try what mistral.rs's sampler, scheduler and prefix cache promise
    Check {
        /// Folder with config.json and model.safetensors (or its index and shards)
        #[arg(long, value_name = "DIR")]
        model: PathBuf,
        /// Token ids of a prompt, comma-separated; at least two prompts
        #[arg(long, value_name = "IDS", value_parser = row)]
        #[arg(default_values = ["15496,13", "464,2068", "464,2068,7586"])]
        tokens: Vec<Row>,
        /// New tokens for each
        #[arg(long, value_name = "N", default_value_t = 10)]
        new: usize,
    },
}

/// The message of the engine's thread, if it panicked.
static PANIC: Mutex<String> = Mutex::new(String::new());

fn main() -> ExitCode {
    let cli = match program::arguments() {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    std::panic::set_hook(Box::new(|info| {
        *PANIC.lock().unwrap_or_else(|error| error.into_inner()) = info.to_string();
    }));
    let outcome = std::panic::catch_unwind(|| run(cli));
    let panic = PANIC.lock().unwrap_or_else(|error| error.into_inner());
    match outcome {
        Ok(Ok(code)) => code,
        Ok(Err(error)) if panic.is_empty() => program::fail(&format!("{error:#}"), ""),
        Ok(Err(error)) => program::fail(&format!("{error:#}: {panic}"), ""),
        Err(_) => program::fail(&panic, ""),
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    if let Some(Command::Check { model, tokens, new }) = cli.command {
        return check(&model, &tokens, new);
    }
    program::export(&cli.export.context("--model is missing; see --help")?, export::run)?;
    Ok(ExitCode::SUCCESS)
}

fn check(model: &Path, tokens: &[Row], new: usize) -> Result<ExitCode> {
    let mut code = ExitCode::SUCCESS;
    check::run(model, tokens, new, &mut |finding| {
        let verdict = if finding.holds { "holds" } else { "FAILS" };
        if !finding.holds {
            code = ExitCode::from(1);
        }
        let line = format!("{verdict}  {}: {}\n", finding.claim, finding.detail);
        std::io::stdout().write_all(line.as_bytes()).context("write to stdout")
    })?;
    Ok(code)
}
