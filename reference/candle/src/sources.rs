//! The sources of this binary.

use crate::provenance::{files, locked, Files};

/// `tests/` checks that none is forgotten.
pub static SOURCES: &Files = files!(
    "reference/candle/Cargo.lock"
    "reference/candle/Cargo.toml"
    "reference/candle/src/config.rs"
    "reference/candle/src/dump.rs"
    "reference/candle/src/export.rs"
    "reference/candle/src/family.rs"
    "reference/candle/src/lib.rs"
    "reference/candle/src/main.rs"
    "reference/candle/src/model.rs"
    "reference/candle/src/npy.rs"
    "reference/candle/src/options.rs"
    "reference/candle/src/program.rs"
    "reference/candle/src/provenance.rs"
    "reference/candle/src/rules.rs"
    "reference/candle/src/sources.rs"
    "reference/candle/src/staging.rs"
    "reference/candle/src/synth.rs"
    "reference/candle/src/weights.rs"
);

/// The version of candle-core that Cargo.lock pins.
pub fn candle_version() -> &'static str {
    locked(include_str!("../Cargo.lock"), "candle-core")
}
