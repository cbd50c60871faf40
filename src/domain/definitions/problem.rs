//! What is wrong with a configuration, said so that a newcomer can mend it.

use std::fmt;

/// A line and a column of a file, from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub line: u32,
    pub column: u32,
}

impl Place {
    pub const START: Self = Self { line: 1, column: 1 };
}

/// One mistake in a file.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    pub file: String,
    pub line: u32,
    pub column: u32,
    /// What is wrong and, where we know it, what was probably meant.
    pub cause: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}:{}: {}",
            self.file, self.line, self.column, self.cause
        )
    }
}

/// The problems as `bellwether check` prints them: one a line, `file:line:column: cause`.
#[must_use]
pub fn check_report(problems: &[Problem]) -> String {
    problems
        .iter()
        .map(|problem| format!("{problem}\n"))
        .collect()
}

/// Collects the problems of one file.
#[derive(Debug)]
pub(super) struct Sink {
    file: String,
    pub problems: Vec<Problem>,
}

impl Sink {
    pub fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            problems: Vec::new(),
        }
    }

    pub fn file(&self) -> &str {
        &self.file
    }

    pub fn note(&mut self, place: Place, cause: impl Into<String>) {
        self.problems.push(Problem {
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            cause: cause.into(),
        });
    }
}

/// The word of `known` that `word` is probably a misspelling of, as the end of a sentence; empty when none is
/// near.
#[must_use]
pub fn did_you_mean<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map_or_else(String::new, |(_, candidate)| {
            format!("; did you mean `{candidate}`?")
        })
}

/// How many single-letter mistakes lie between two words: letters left out, added, changed or swapped with
/// their neighbour. Case, and `-` for `_`, do not count.
fn distance(a: &str, b: &str) -> usize {
    let folded = |word: &str| -> Vec<char> {
        word.chars()
            .take(100)
            .flat_map(char::to_lowercase)
            .map(|letter| if letter == '-' { '_' } else { letter })
            .collect()
    };
    let (a, b) = (folded(a), folded(b));
    let mut before = vec![0; b.len() + 1];
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut current = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = previous[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            current[j] = change.min(previous[j] + 1).min(current[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                current[j] = current[j].min(before[j - 2] + 1);
            }
        }
        before = std::mem::replace(&mut previous, current);
    }
    previous[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let known = ["monitors", "models", "baselines", "min_rows"];
        let cases = [
            ("monitor", "; did you mean `monitors`?"),
            ("mdoels", "; did you mean `models`?"),
            ("min-rows", "; did you mean `min_rows`?"),
            ("Models", "; did you mean `models`?"),
            ("threshold", ""),
            ("", ""),
        ];
        for (word, expected) in cases {
            assert_eq!(did_you_mean(word, known), expected, "{word:?}");
        }
    }

    #[test]
    fn a_report_has_one_line_per_problem() {
        let problem = Problem {
            file: "rules.yaml".into(),
            line: 3,
            column: 7,
            cause: "there is no model `x`".into(),
        };
        assert_eq!(
            check_report(&[problem]),
            "rules.yaml:3:7: there is no model `x`\n"
        );
        assert_eq!(check_report(&[]), "");
    }
}
