//! The program around an export: its arguments, its progress on a terminal, its errors in one line.

use crate::options::Options;
use anyhow::Result;
use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;

/// Reads the arguments; the exit code is that of a program that ends here.
pub fn arguments<Cli: Parser>() -> Result<Cli, ExitCode> {
    Cli::try_parse().map_err(|error| {
        if !error.use_stderr() {
            error.exit() // --help, --version
        }
        let text = error.to_string();
        let text = text.split("\n\nUsage").next().unwrap_or(&text);
        fail(text.strip_prefix("error: ").unwrap_or(text), "; see --help")
    })
}

/// Writes one line on stderr and returns status 2.
pub fn fail(message: &str, hint: &str) -> ExitCode {
    let line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    eprintln!("{}: {line}{hint}", env!("CARGO_PKG_NAME"));
    ExitCode::from(2)
}

/// Writes a dump and returns the number of its files; the function is told the progress.
pub type Run = fn(&Options, &mut dyn FnMut(&str)) -> Result<usize>;

/// Runs an export; a terminal shows how far it is.
pub fn export(options: &Options, run: Run) -> Result<()> {
    let terminal = std::io::stderr().is_terminal();
    let files = run(options, &mut |what| {
        if terminal {
            eprint!("\r\x1b[K{what}");
        }
    })?;
    if terminal {
        eprintln!("\r\x1b[K{files} files in {}", options.out.display());
    }
    Ok(())
}
