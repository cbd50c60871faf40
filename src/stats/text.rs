//! Drift of texts: what can be counted of them.
//!
//! A text becomes numbers the other measures understand: its length in characters and in words, which are
//! compared like any numeric feature, and the words that the reference never used, whose share is compared by a
//! test of two shares. A word is a run of letters and digits, in lower case. The language of a text is that whose
//! letters and trigrams are most like its own, after W. B. Cavnar and J. M. Trenkle, "N-gram-based text categorization"
//! (1994), as `whatlang` has it for 70 languages.

use std::collections::{BTreeMap, BTreeSet};

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

/// Of texts with fewer letters no language is told: answers on a few words are mostly wrong, and what looks like a change
/// of language would be one of length.
pub const FEWEST_LETTERS: usize = 20;
/// What stands for the language of a text whose language is not told.
pub const UNKNOWN_LANGUAGE: &str = "unknown";

/// The language of a text, as its code of three letters (ISO 639-3), or [`UNKNOWN_LANGUAGE`].
#[must_use]
pub fn language(text: &str) -> &'static str {
    let letters = text.chars().filter(|c| c.is_alphabetic());
    if letters.take(FEWEST_LETTERS).count() < FEWEST_LETTERS {
        return UNKNOWN_LANGUAGE;
    }
    let found = whatlang::detect(text);
    found.map_or(UNKNOWN_LANGUAGE, |found| found.lang().code())
}

/// How many of the texts are in each language.
#[must_use]
pub fn languages<'a>(texts: impl IntoIterator<Item = &'a str>) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    for text in texts {
        *counts.entry(language(text)).or_default() += 1;
    }
    counts
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
    fn a_language_is_told_of_texts_that_are_long_enough() {
        let cases = [
            (
                "The flight was delayed because the crew had not arrived at the gate in time.",
                "eng",
            ),
            (
                "Der Flug hatte Verspätung, weil die Besatzung nicht rechtzeitig am Gate war.",
                "deu",
            ),
            (
                "Рейс был задержан, потому что экипаж не прибыл вовремя к выходу на посадку.",
                "rus",
            ),
            (
                "航空便は乗務員が時間までにゲートに到着しなかったため遅れました。",
                "jpn",
            ),
            ("late again", UNKNOWN_LANGUAGE),
            ("4711 / 0815 / 12345678901234567890", UNKNOWN_LANGUAGE),
            ("", UNKNOWN_LANGUAGE),
        ];
        for (text, expected) in cases {
            assert_eq!(language(text), expected, "{text}");
        }
        let counted = languages(cases.map(|(text, _)| text));
        assert_eq!((counted["eng"], counted[UNKNOWN_LANGUAGE]), (1, 3));
    }

    #[test]
    fn texts_without_words_have_no_share() {
        assert_eq!(unseen_words(&[], &["a"]), None);
        assert_eq!(unseen_words(&["a b", "b c"], &[]), None);
        assert_eq!(unseen_words(&["a b", "b c"], &["…", ""]), None);
        assert_eq!(unseen_words(&["…", "b c"], &["a"]), None);
    }
}
