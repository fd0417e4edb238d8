//! What this binary was built from. The bytes are compiled in, so a dump always names the sources
//! of the program that made it, whatever lies on the disk by then.

use crate::weights::sha256;
use serde::Serialize;

macro_rules! sources {
    ($($path:literal)*) => {
        [$((
            concat!("reference/candle/", $path),
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)).as_slice(),
        )),*]
    };
}

/// Path from the root of the repository, and content; `tests/` checks that none is forgotten.
pub static SOURCES: &[(&str, &[u8])] = &sources!(
    "Cargo.lock"
    "Cargo.toml"
    "src/config.rs"
    "src/dump.rs"
    "src/export.rs"
    "src/lib.rs"
    "src/main.rs"
    "src/model.rs"
    "src/npy.rs"
    "src/rules.rs"
    "src/sources.rs"
    "src/staging.rs"
    "src/synth.rs"
    "src/weights.rs"
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

/// The version of candle-core that Cargo.lock pins.
pub fn candle_version() -> &'static str {
    include_str!("../Cargo.lock")
        .split_once("name = \"candle-core\"\nversion = \"")
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("unknown", |(version, _)| version)
}
