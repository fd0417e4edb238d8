//! The command line. Exit status: 0 done, 2 bad usage or bad input with one line on stderr.

use anyhow::{Context, Result};
use candle_export::{export, options::Options, program, synth};
use clap::{Parser, Subcommand};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Run GPT-2 on Candle and write every stage as a checkpoint12 dump.
///
/// Example: candle-export --model DIR --name gpt2-medium --tokens 15496,13 --new 10 --out dump
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
    /// Write a synthetic model as config.json and model.safetensors
    Synth {
        /// synthetic-tiny or synthetic-medium
        name: String,
        /// Folder to write; an older model there is replaced
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

fn main() -> ExitCode {
    match program::arguments().map(run) {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => program::fail(&format!("{error:#}"), ""),
        Err(code) => code,
    }
}

fn run(cli: Cli) -> Result<()> {
    if let Some(Command::Synth { name, out }) = cli.command {
        let sha256 = synth::write(&name, &out)?;
        let line = format!("{sha256}  {}\n", out.join(synth::WEIGHTS).display());
        return std::io::stdout().write_all(line.as_bytes()).context("write to stdout");
    }
    program::export(&cli.export.context("--model is missing; see --help")?, export::run)
}
