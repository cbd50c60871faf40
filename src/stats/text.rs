//! Drift of texts: what can be counted of them.
//!
//! A text becomes numbers the other measures understand: its length in characters and in words, which are
//! compared like any numeric feature, and the words that the reference never used, whose share is compared by a
//! test of two shares. A word is a run of letters and digits, in lower case. The language of a text is that whose
//! letters and trigrams are most like its own, after W. B. Cavnar and J. M. Trenkle, "N-gram-based text categorization"
//! (1994), as `whatlang` has it for 70 languages.

use std::collections::{BTreeMap, BTreeSet};

use super::beta::student_two_sided;
use super::contingency::{Shares, compare_shares};
use super::tails::PValue;

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

    /// How many words of each of these texts are unknown, and how many words it has.
    #[must_use]
    pub fn unseen<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> Vec<Hits> {
        let of_text = |text| {
            words(text).fold(Hits::default(), |hits, word| Hits {
                unseen: hits.unseen + u64::from(!self.known.contains(&word)),
                words: hits.words + 1,
            })
        };
        texts.into_iter().map(of_text).collect()
    }
}

/// What a text has of words that are not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hits {
    pub unseen: u64,
    pub words: u64,
}

/// The share of unknown words among all words of some texts.
#[derive(Debug, Clone, Copy)]
struct Share {
    all: Hits,
    /// The variance of the share, and its degrees of freedom: words of one text go together, so texts are what is counted
    /// (the ratio estimator of clusters, W. G. Cochran, "Sampling techniques" (1977), section 3.12).
    variance: f64,
    freedom: f64,
}

impl Share {
    /// `None` without words.
    fn of(texts: &[Hits]) -> Option<Self> {
        let all = texts.iter().fold(Hits::default(), |all, text| Hits {
            unseen: all.unseen + text.unseen,
            words: all.words + text.words,
        });
        if all.words == 0 {
            return None;
        }
        let share = all.unseen as f64 / all.words as f64;
        let telling = texts.iter().filter(|text| text.words > 0);
        let squares = telling.map(|text| (text.unseen as f64 - share * text.words as f64).powi(2));
        let (count, squares) = squares.fold((0.0, 0.0), |(count, sum), square| {
            (count + 1.0, sum + square)
        });
        let freedom = count - 1.0;
        let variance = if freedom > 0.0 {
            squares * count / freedom / (all.words as f64).powi(2)
        } else {
            f64::INFINITY
        };
        Some(Self {
            all,
            variance,
            freedom,
        })
    }
}

/// How many more words of the window are new.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct WordTest {
    /// The window's share of new words minus that which the reference has of itself: from −1 to 1, more is worse.
    pub difference: f64,
    /// 95 % interval, the wider of those of the two tests.
    pub interval: (f64, f64),
    /// The greater one of Welch's test of the shares over texts, and of the test of two shares of words.
    pub p_value: PValue,
}

/// Whether the window uses more words that are new than the reference itself does.
///
/// A reference knows all of its own words, so its share of new ones is that which its second half shows against
/// its first: what further text of the same kind brings. `None` when either half or the window has no words.
#[must_use]
pub fn unseen_words(reference: &[&str], current: &[&str]) -> Option<WordTest> {
    let (first, second) = reference.split_at(reference.len() / 2);
    let known = Vocabulary::of(first.iter().copied());
    if known.known.is_empty() {
        return None;
    }
    let before = Share::of(&known.unseen(second.iter().copied()))?;
    let now = Share::of(&known.unseen(current.iter().copied()))?;
    let of_words = compare_shares(Shares {
        reference_hits: before.all.unseen,
        reference_rows: before.all.words,
        current_hits: now.all.unseen,
        current_rows: now.all.words,
    })?;
    let difference = of_words.difference;
    let error = (before.variance + now.variance).sqrt();
    let of_texts = welch(&before, &now, difference / error);
    let half = NORMAL_95 * error;
    let (low, high) = of_words.interval;
    Some(WordTest {
        difference,
        interval: (
            low.min(difference - half).max(-1.0),
            high.max(difference + half).min(1.0),
        ),
        p_value: match of_texts {
            Some(p) if p.ln() > of_words.p_value.ln() => p,
            _ => of_words.p_value,
        },
    })
}

/// The 97.5 % quantile of the normal distribution.
const NORMAL_95: f64 = 1.959_963_984_540_054;

/// Welch's test of a difference of so many standard errors. Nothing where the texts of each side are all alike; of a single
/// text on a side nothing can be said.
fn welch(before: &Share, now: &Share, errors: f64) -> Option<PValue> {
    if before.freedom < 1.0 || now.freedom < 1.0 {
        return Some(PValue::ONE);
    }
    let parts = before.variance.powi(2) / before.freedom + now.variance.powi(2) / now.freedom;
    let freedom = (before.variance + now.variance).powi(2) / parts;
    student_two_sided(errors, freedom)
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
            test.difference > 0.5 && test.p_value.value() < 1e-4,
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
