//! Names of features and segments, which are written by many hands: in code that sends rows, in training data, in
//! configuration. What looks the same has to be the same, or one feature becomes two that nobody can tell apart.

use std::borrow::Cow;

use unicode_normalization::{UnicodeNormalization, is_nfc};

/// The name in the one form that is kept, Unicode's NFC: `é` is one character and not an `e` with an accent behind.
#[must_use]
pub fn canonical(name: &str) -> Cow<'_, str> {
    if name.is_ascii() || is_nfc(name) {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(name.nfc().collect())
    }
}

/// Whether a character turns the direction of the text around it.
#[must_use]
pub fn turns_direction(c: char) -> bool {
    matches!(c, '\u{61C}' | '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Whether a character takes no room, so that a text with it looks like one without.
#[must_use]
pub fn is_invisible(c: char) -> bool {
    matches!(
        c,
        '\u{AD}' | '\u{34F}' | '\u{180B}'..='\u{180F}' | '\u{200B}'..='\u{200D}' | '\u{2060}'..='\u{2064}'
            | '\u{206A}'..='\u{206F}' | '\u{FEFF}' | '\u{FFF9}'..='\u{FFFB}' | '\u{E0000}'..='\u{E007F}'
    )
}

/// Whether a column of a file says which row it is, not what is in it.
#[must_use]
pub fn is_about_row(column: &str) -> bool {
    const ABOUT_ROWS: [&str; 6] = [
        "prediction_id",
        "timestamp",
        "observed_at",
        "version",
        "deployment",
        "error",
    ];
    ABOUT_ROWS.contains(&column)
}

/// Whether a column of a file holds what was predicted, measured on the way, or true.
#[must_use]
pub fn is_answer(column: &str) -> bool {
    const ANSWERS: [&str; 4] = ["prediction", "score", "label", "latency_ms"];
    const PREFIXES: [&str; 3] = ["probability.", "probabilities.", "proba_"];
    ANSWERS.contains(&column) || PREFIXES.iter().any(|prefix| column.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_look_the_same_are_the_same() {
        for (name, expected) in [
            ("distance", "distance"),
            ("e\u{301}", "\u{E9}"),
            ("\u{E9}", "\u{E9}"),
            ("\u{212B}", "\u{C5}"),
            // Two marks in the other order.
            ("a\u{301}\u{323}", "\u{1EA1}\u{301}"),
            // Look-alikes of another script are other letters: only a person can tell whether they are meant.
            ("\u{430}", "\u{430}"),
        ] {
            assert_eq!(canonical(name), expected, "{name:?}");
            assert_eq!(canonical(&canonical(name)), expected, "{name:?}");
        }
    }
}
