//! The command line: exit status, and one line on stderr for bad input.

mod common;

use std::process::{Command, Output};
use tempfile::TempDir;

fn candle_export(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_candle-export")).args(args).output().unwrap()
}

#[test]
fn bad_usage_is_one_line_and_status_2() {
    let cases: [(&[&str], &str); 9] = [
        (&[], "--model"),
        (&["--model", "m"], "--name"),
        (&["--no-such-flag"], "--no-such-flag"),
        (&["synth"], "--out"),
        (&["synth", "synthetic-huge", "--out", "x"], "synthetic-tiny or synthetic-medium"),
        (&["--model", "m", "--name", "n", "--new", "1", "--out", "o", "--tokens", "1,x"], "\"x\""),
        (&["--model", "m", "--name", "n", "--new", "-1", "--out", "o", "--tokens", "1"], "-1"),
        (&["--model", "m", "--name", "n", "--new", "1", "--out", "o", "--tokens", "1,-2"], "-2"),
        (
            &["--model", "m", "--name", "n", "--new", "1", "--out", "o", "--tokens", "1"],
            "m/config.json",
        ),
    ];
    for (args, want) in cases {
        let output = candle_export(args);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {stderr}");
        assert!(output.stdout.is_empty());
        assert!(
            stderr.starts_with("candle-export: ") && stderr.contains(want),
            "{args:?}: {stderr}"
        );
        assert_eq!(stderr.matches('\n').count(), 1, "{args:?}: {stderr}");
    }
}

#[test]
fn help_says_how() {
    let output = candle_export(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8(output.stdout).unwrap();
    for word in ["--model", "--tokens", "--feed", "--rules", "synth", "Example"] {
        assert!(text.contains(word), "{word}");
    }
}

#[test]
fn a_dump_is_written_in_silence() {
    let dir = TempDir::new().unwrap();
    common::write_model(&dir.path().join("model"), &common::config(), &common::weights());
    let path = |name: &str| dir.path().join(name).to_string_lossy().into_owned();
    let output = candle_export(&[
        "--model",
        &path("model"),
        "--name",
        "small",
        "--tokens",
        "3,1,4",
        "--tokens",
        "1, 5, 9",
        "--new",
        "2",
        "--feed",
        "7",
        "--feed",
        "8",
        "--prompt",
        "--odd",
        "--temperatures",
        "1",
        "--out",
        &path("out/dump/"),
    ]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), stderr.as_str()), (Some(0), ""));
    assert!(output.stdout.is_empty());
    let dump = dir.path().join("out/dump");
    let manifest = common::manifest(&dump);
    assert_eq!(manifest["prompt"], "--odd");
    assert_eq!(manifest["temperatures"], serde_json::json!([1]));
    let tokens = common::read_tokens(&dump);
    assert_eq!((&tokens[0][..4], &tokens[1][..4]), (&[3, 1, 4, 7][..], &[1, 5, 9, 8][..]));
    assert_eq!(std::fs::read_dir(dir.path().join("out")).unwrap().count(), 1);
}
