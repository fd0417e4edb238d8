//! The files that a program was built from. Their bytes are compiled in, so a dump always names the
//! sources of the program that made it, whatever lies on the disk by then.

use crate::weights::sha256;
use serde::Serialize;

/// Path from the root of the repository, and content.
pub type Files = [(&'static str, &'static [u8])];

/// [`Files`] of paths from the root of the repository, for a crate two folders below it.
macro_rules! files {
    ($($path:literal)*) => {
        &[$((
            $path,
            include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/../../", $path)).as_slice(),
        )),*]
    };
}
pub(crate) use files;

#[derive(Serialize)]
pub struct Source {
    pub path: &'static str,
    pub sha256: String,
}

/// The manifest's `exporter`.
pub fn exporter(files: &Files) -> Vec<Source> {
    files.iter().map(|(path, bytes)| Source { path, sha256: sha256(bytes) }).collect()
}

/// The version of a package in a Cargo.lock.
pub fn locked(lock: &'static str, package: &str) -> &'static str {
    lock.split_once(&format!("name = \"{package}\"\nversion = \""))
        .and_then(|(_, rest)| rest.split_once('"'))
        .map_or("unknown", |(version, _)| version)
}
