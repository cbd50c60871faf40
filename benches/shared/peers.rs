//! The environments of the peers, where `scripts/peers` has made them.

use std::path::{Path, PathBuf};

/// The Python of a peer's environment; `None` if there is none.
pub fn python_of(peer: &str) -> Option<PathBuf> {
    let python =
        Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("target/peers/{peer}/bin/python"));
    python.is_file().then_some(python)
}
