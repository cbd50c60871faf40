//! Why somebody decides: kept with the decision, for whoever reads it later.

use super::Error;

/// Bytes that a reason, or another text that somebody writes by hand, may have.
pub(super) const LONGEST: usize = 2_000;

/// The reason without the space around it.
///
/// # Errors
/// When it says nothing, or cannot be stored.
pub(super) fn checked(reason: &str) -> Result<&str, Error> {
    let reason = reason.trim();
    if reason.is_empty() {
        return Err(Error::invalid_field(
            "reason",
            "say why, for whoever reads this later",
        ));
    }
    if reason.len() > LONGEST || reason.contains('\0') {
        return Err(Error::invalid_field(
            "reason",
            "must be at most 2,000 bytes of text",
        ));
    }
    Ok(reason)
}
