//! Which of the features that are new are probably missing ones under another name.

/// The Jensen–Shannon distance up to which two features look alike; with noise of a hundred rows between equal
/// ones it is about 0.2.
const ALIKE: f64 = 0.1;
/// By how much the next best must be further away.
const CLEARLY: f64 = 2.0;

/// How well a new feature fits a missing one of its type.
#[derive(Debug, Clone, PartialEq)]
pub struct Pair {
    /// Places in the caller's lists.
    pub missing: usize,
    pub unexpected: usize,
    /// Whether the names differ in case and punctuation only.
    pub same_name: bool,
    /// The Jensen–Shannon distance of their distributions.
    pub distance: f64,
}

impl Pair {
    /// Why they are taken for one.
    #[must_use]
    pub fn reason(&self) -> String {
        if self.same_name {
            "the names differ in case and punctuation only".to_owned()
        } else {
            format!(
                "same type and distribution, Jensen–Shannon distance {:.3}",
                self.distance
            )
        }
    }
}

/// The likely pairs, each feature in one of them at the most: equal names first, then the nearest; a distribution
/// must be alike, and clearly nearer than any other.
#[must_use]
pub fn choose(mut candidates: Vec<Pair>) -> Vec<Pair> {
    candidates.sort_by(|a, b| {
        b.same_name
            .cmp(&a.same_name)
            .then(a.distance.total_cmp(&b.distance))
    });
    let mut chosen: Vec<Pair> = Vec::new();
    // What was too near to another to be chosen leaves that other just as doubtful.
    let mut doubtful: Vec<Pair> = Vec::new();
    while !candidates.is_empty() {
        let pair = candidates.remove(0);
        let rival = candidates
            .iter()
            .chain(&doubtful)
            .filter(|other| other.missing == pair.missing || other.unexpected == pair.unexpected)
            .map(|other| other.distance)
            .fold(f64::INFINITY, f64::min);
        if pair.same_name || (pair.distance < ALIKE && rival > pair.distance * CLEARLY) {
            let is_other =
                |other: &Pair| other.missing != pair.missing && other.unexpected != pair.unexpected;
            candidates.retain(is_other);
            doubtful.retain(is_other);
            chosen.push(pair);
        } else {
            doubtful.push(pair);
        }
    }
    chosen
}

/// Why a new feature could be a missing one under another name.
#[must_use]
pub fn names_match(missing: &str, unexpected: &str) -> bool {
    let plain = |name: &str| -> String {
        let letters = name.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect()
    };
    let (a, b) = (plain(missing), plain(unexpected));
    !a.is_empty() && a == b
}
