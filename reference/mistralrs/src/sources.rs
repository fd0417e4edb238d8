//! The sources of this binary.

use crate::provenance::{files, locked, Files};

/// `tests/` checks that none is forgotten.
pub static SOURCES: &Files = files!(
    "model/vocab/r50k_base.tiktoken"
    "reference/candle/src/config.rs"
    "reference/candle/src/dump.rs"
    "reference/candle/src/npy.rs"
    "reference/candle/src/options.rs"
    "reference/candle/src/program.rs"
    "reference/candle/src/provenance.rs"
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

/// The version of mistralrs-core that Cargo.lock pins.
pub fn mistralrs_version() -> &'static str {
    locked(include_str!("../Cargo.lock"), "mistralrs-core")
}
