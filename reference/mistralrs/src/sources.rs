//! What this binary was built from. The bytes are compiled in, so a dump always names the sources
//! of the program that made it, whatever lies on the disk by then.

use crate::weights::sha256;
use serde::Serialize;

macro_rules! sources {
    ($($path:literal)*) => {
        [$(($path, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $path)).as_slice())),*]
    };
}

/// Path from the root of the repository, and content; `tests/` checks that none is forgotten.
pub static SOURCES: &[(&str, &[u8])] = &sources!(
    "model/vocab/r50k_base.tiktoken"
    "reference/candle/src/config.rs"
    "reference/candle/src/dump.rs"
    "reference/candle/src/npy.rs"
    "reference/candle/src/rules.rs"
    "reference/candle/src/staging.rs"
    "reference/candle/src/weights.rs"
    "reference/mistralrs/Cargo.lock"
    "reference/mistralrs/Cargo.toml"
    "reference/mistralrs/overlay/src/models/starcoder2.rs"
    "reference/mistralrs/patch.py"
    "reference/mistralrs/src/check.rs"
    "reference/mistralrs/src/export.rs"
    "reference/mistralrs/src/folder.rs"
    "reference/mistralrs/src/lib.rs"
    "reference/mistralrs/src/main.rs"
    "reference/mistralrs/src/mistral.rs"
    "reference/mistralrs/src/sources.rs"
    "reference/mistralrs/src/tokenizer.rs"
);

#[derive(Serialize)]
pub struct Source {
    pub path: &'static str,
    pub sha256: String,
}

/// The manifest's `exporter`.
pub fn exporter() -> Vec<Source> {
    SOURCES.iter().map(|(path, bytes)| Source { path, sha256: sha256(bytes) }).collect()
}

/// The version of mistralrs-core that Cargo.lock pins.
pub fn mistralrs_version() -> &'static str {
    include_str!("../Cargo.lock")
        .split_once("name = \"mistralrs-core\"\nversion = \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("unknown", |(version, _)| version)
}
