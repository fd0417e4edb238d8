//! The formula gives the bytes that numpy and Go give.

use candle_export::synth::{self, MODELS};
use std::io::sink;

#[test]
fn tiny_has_its_pinned_hash() {
    let spec = synth::spec("synthetic-tiny").unwrap();
    assert_eq!(spec.write_safetensors(&mut sink()).unwrap(), spec.sha256);
}

/// 1.4 GB are hashed without touching the disk; unoptimised that takes minutes.
#[test]
#[cfg_attr(debug_assertions, ignore = "run with: cargo test --release")]
fn medium_has_its_pinned_hash() {
    let spec = synth::spec("synthetic-medium").unwrap();
    assert_eq!(spec.write_safetensors(&mut sink()).unwrap(), spec.sha256);
}

#[test]
fn a_model_folder_is_written() {
    let dir = tempfile::TempDir::new().unwrap();
    let out = dir.path().join("synthetic-tiny");
    for _ in 0..2 {
        let sha256 = synth::write("synthetic-tiny", &out).unwrap();
        let bytes = std::fs::read(out.join("model.safetensors")).unwrap();
        assert_eq!(candle_export::weights::sha256(&bytes), sha256);
        let config = std::fs::read_to_string(out.join("config.json")).unwrap();
        assert!(config.contains("\n  \"layer_norm_epsilon\": 1e-05,\n"), "{config}");
        assert!(candle_export::config::Config::parse(config.as_bytes()).is_ok());
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    assert!(synth::write("synthetic-tiny", dir.path()).is_err(), "not a model's folder");
    assert!(synth::write("gpt2", &dir.path().join("gpt2")).is_err());
}

#[test]
fn sizes_are_those_of_the_contract() {
    let elements = |name: &str| -> usize {
        let shapes = synth::spec(name).unwrap().shapes();
        shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum()
    };
    assert_eq!(elements("synthetic-medium"), 354_823_168); // GPT-2 Medium: 355 M
    assert!(elements("synthetic-tiny") < 5_000_000);
    assert!(MODELS.iter().all(|spec| spec.shapes()[0].1[0] == 50257));
}
