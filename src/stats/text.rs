//! Drift of texts: what can be counted of them.
//!
//! A text becomes numbers the other measures understand: its length in characters and in words, which are
//! compared like any numeric feature, and the words that the reference never used, whose share is compared by a
//! test of two shares. A word is a run of letters and digits, in lower case.

use std::collections::BTreeSet;

use super::contingency::{ShareTest, Shares, compare_shares};

/// The length of each text in characters.
#[must_use]
pub fn lengths<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<f64> {
    let count = |text: &str| text.chars().count() as f64;
    texts.into_iter().map(count).collect()
}

/// The number of words of each text.
#[must_use]
pub fn word_counts<'a>(texts: impl IntoIterator<Item = &'a str>) -> Vec<f64> {
    let count = |text: &str| words(text).count() as f64;
    texts.into_iter().map(count).collect()
}

/// The words of a text, in lower case.
pub fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// The words the reference uses.
#[derive(Debug, Clone, Default)]
pub struct Vocabulary {
    known: BTreeSet<String>,
}

impl Vocabulary {
    /// Learns the words of these texts.
    #[must_use]
    pub fn of<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        Self {
            known: texts.into_iter().flat_map(words).collect(),
        }
    }

    /// How many words of these texts are unknown, and how many words there are.
    #[must_use]
    pub fn unseen<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> (u64, u64) {
        let words = texts.into_iter().flat_map(words);
        words.fold((0, 0), |(unseen, all), word| {
            (unseen + u64::from(!self.known.contains(&word)), all + 1)
        })
    }
}

/// Whether the window uses more words that are new than the reference itself does.
///
/// A reference knows all of its own words, so its share of new ones is that which its second half shows against
/// its first: what further text of the same kind brings. `None` when either half or the window has no words.
#[must_use]
pub fn unseen_words(reference: &[&str], current: &[&str]) -> Option<ShareTest> {
    let (first, second) = reference.split_at(reference.len() / 2);
    let known = Vocabulary::of(first.iter().copied());
    let (reference_hits, reference_rows) = known.unseen(second.iter().copied());
    let (current_hits, current_rows) = known.unseen(current.iter().copied());
    if known.known.is_empty() {
        return None;
    }
    compare_shares(Shares {
        reference_hits,
        reference_rows,
        current_hits,
        current_rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_in_characters_and_words() {
        let texts = ["", "Größe 12", "…", "it's late"];
        assert_eq!(lengths(texts), [0.0, 8.0, 1.0, 9.0]);
        assert_eq!(word_counts(texts), [0.0, 2.0, 0.0, 3.0]);
        assert_eq!(
            words("Größe-12, GRÖSSE").collect::<Vec<_>>(),
            ["größe", "12", "grösse"]
        );
    }

    #[test]
    fn another_subject_is_seen_and_more_of_the_same_is_not() {
        let same = ["the flight was late", "the flight was on time"].repeat(20);
        let other = ["invoices remain unpaid", "the invoice was late"].repeat(10);
        let test = unseen_words(&same, &other).expect("words");
        assert!(
            test.difference > 0.5 && test.p_value.value() < 1e-10,
            "{test:?}"
        );
        let test = unseen_words(&same, &same).expect("words");
        assert_eq!((test.difference, test.p_value.value()), (0.0, 1.0));
    }

    #[test]
    fn texts_without_words_have_no_share() {
        assert_eq!(unseen_words(&[], &["a"]), None);
        assert_eq!(unseen_words(&["a b", "b c"], &[]), None);
        assert_eq!(unseen_words(&["a b", "b c"], &["…", ""]), None);
        assert_eq!(unseen_words(&["…", "b c"], &["a"]), None);
    }
}
