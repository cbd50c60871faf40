//! What shows only in the rows themselves: in their order, in their digits, in the types they came in.

use super::constancy::{Past, constant};
use super::{
    FROZEN_SHARE, Finding, FindingKind, RARER, Tolerance, is_constant, percent, share, shortened,
};
use crate::domain::schema::{Evidence, FeatureExpectation, FeatureType};
use crate::domain::times;
use crate::domain::yardstick::is_numeric_text;
use crate::stats::profile::FeatureProfile;
use crate::stats::thinning::ThinnedSample;

/// The share of the reference's numbers that must lie between the steps of the current ones, for these to be
/// rounded and not just rarer.
const FINER: f64 = 0.2;
/// How many values the step of a feature's numbers is judged by.
const STEP_SAMPLE: usize = 4_096;
/// How many values of a batch are looked at for it.
const LOOKED_AT: usize = 512;

/// What shows only in the rows themselves, in their order.
#[derive(Debug, Clone)]
pub struct Habits {
    pub evidence: Evidence,
    /// Numbers without a fraction.
    pub whole_numbers: u64,
    pub empty_texts: u64,
    /// Texts that are numbers, and the first of them.
    pub numeric_texts: u64,
    pub numeric_text: Option<String>,
    /// Texts that are times, and the first and the last of these in seconds since 1970.
    pub time_texts: u64,
    times: (f64, f64),
    /// The most rows in a row with one value, and the number of such runs.
    longest_run: u64,
    runs: u64,
    run: u64,
    last: Option<u64>,
    sample: ThinnedSample,
    /// Whether the values come from text whose types are guessed: then a text that is a number is none.
    pub are_guessed: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            evidence: Evidence::default(),
            whole_numbers: 0,
            empty_texts: 0,
            numeric_texts: 0,
            numeric_text: None,
            time_texts: 0,
            times: (f64::INFINITY, f64::NEG_INFINITY),
            longest_run: 0,
            runs: 0,
            run: 0,
            last: None,
            sample: ThinnedSample::new(STEP_SAMPLE),
            are_guessed: false,
        }
    }
}

impl Habits {
    /// Takes the next numbers into account; the infinite and NaN are passed over.
    pub fn observe_numbers(&mut self, numbers: &[f64]) {
        self.whole_numbers += numbers.iter().filter(|n| is_whole(**n)).count() as u64;
        if numbers.len() <= LOOKED_AT {
            self.sample.observe(numbers);
        } else {
            let step = numbers.len().div_ceil(LOOKED_AT);
            let some: Vec<f64> = numbers.iter().copied().step_by(step).collect();
            self.sample.observe(&some);
        }
    }

    /// Takes so many rows with a text into account.
    pub fn observe_text(&mut self, text: &str, rows: u64) {
        self.evidence.observe_text(text);
        if text.is_empty() {
            self.empty_texts += rows;
        } else if is_numeric_text(text) {
            self.numeric_texts += rows;
            self.numeric_text.get_or_insert_with(|| text.to_owned());
        } else if let Some(time) = times::instant(text) {
            let (first, last) = self.times;
            let seconds = time.timestamp() as f64;
            self.time_texts += rows;
            self.times = (first.min(seconds), last.max(seconds));
        }
    }

    /// Whether all values are texts that are times: formats without types have no other way to write them.
    fn are_times(&self) -> bool {
        self.time_texts > 0 && self.time_texts == self.rows_with_values()
    }

    /// The type that the values are of where this one is expected: texts that are all times are what is expected of times, and
    /// texts like others where texts are expected.
    #[must_use]
    pub fn type_beside(&self, expected: FeatureType) -> Option<FeatureType> {
        let times = expected == FeatureType::Timestamp && self.are_times();
        times
            .then_some(FeatureType::Timestamp)
            .or_else(|| self.evidence.feature_type())
    }

    /// What to expect of a feature with these values; `None` without a single telling value.
    #[must_use]
    pub fn expectation(&self, feature: &str) -> Option<FeatureExpectation> {
        if !self.are_times() {
            return self.evidence.expectation(feature);
        }
        let times = self.evidence.of_times(self.time_texts, self.times);
        times.expectation(feature)
    }

    /// Takes the values of the next rows into account, each as a key that equal values share.
    pub fn observe_order(&mut self, keys: impl IntoIterator<Item = u64>) {
        let (mut last, mut run) = (self.last, self.run);
        for key in keys {
            if last == Some(key) {
                run += 1;
                continue;
            }
            self.longest_run = self.longest_run.max(run);
            self.runs += 1;
            (last, run) = (Some(key), 1);
        }
        self.longest_run = self.longest_run.max(run);
        (self.last, self.run) = (last, run);
    }

    /// The share of values that are of another type than this one, where that is most of them: fractions among integers, or times
    /// that are written in an unknown way, are not.
    fn share_of_others(&self, expected: FeatureType) -> Option<f64> {
        let own = match expected {
            FeatureType::Number | FeatureType::Integer => {
                self.evidence.numbers + self.evidence.integers
            }
            FeatureType::Boolean => self.evidence.booleans,
            FeatureType::Timestamp => self.evidence.timestamps + self.time_texts,
            FeatureType::Category | FeatureType::Text => self.evidence.texts,
            FeatureType::Vector => self.evidence.vectors,
        };
        let values = self.rows_with_values();
        share(values.saturating_sub(own), values).filter(|share| *share > 0.5)
    }

    fn rows_with_values(&self) -> u64 {
        self.evidence.rows - self.evidence.absent - self.evidence.nulls
    }
}

/// The coarsest power of ten that all but a few of the numbers are multiples of; `None` for numbers finer
/// than a millionth, and with too few to say.
fn step(numbers: &[f64]) -> Option<i32> {
    const FEWEST: usize = 30;
    /// One in two hundred.
    const EXCEPTIONS: usize = 200;
    let telling: Vec<f64> = numbers.iter().copied().filter(|n| *n != 0.0).collect();
    if telling.len() < FEWEST {
        return None;
    }
    let most = telling.len() / EXCEPTIONS;
    (-6..=3).rev().find(|exponent| {
        let step = 10_f64.powi(*exponent);
        let between = telling.iter().filter(|n| !is_multiple(**n, step));
        // Few steps fit, and the others are known not to after a few numbers.
        between.take(most + 1).count() <= most
    })
}

/// The share of numbers that are no multiples of a power of ten.
fn share_between(numbers: &[f64], exponent: i32) -> f64 {
    let step = 10_f64.powi(exponent);
    let between = numbers.iter().filter(|n| !is_multiple(**n, step)).count();
    between as f64 / numbers.len().max(1) as f64
}

/// Quicker than asking for the fraction; numbers beyond 64 bits, which have none, are few.
#[expect(
    clippy::cast_precision_loss,
    reason = "a whole number comes back as it was"
)]
fn is_whole(number: f64) -> bool {
    (number as i64) as f64 == number
}

fn is_multiple(number: f64, step: f64) -> bool {
    let times = number / step;
    (times - times.round()).abs() <= 1e-6_f64.max(times.abs() * 1e-12)
}

/// What the rows as a whole say about a feature that both sides have.
#[must_use]
pub fn of_column(
    expected: &FeatureExpectation,
    (reference, before): (&FeatureProfile, &Habits),
    (current, now): (&FeatureProfile, &Habits),
    tolerance: Tolerance,
) -> Vec<Finding> {
    let mut found = Vec::new();
    if now.rows_with_values() < tolerance.min_rows {
        return found;
    }
    let feature = &expected.feature;
    if let Some(detail) = type_change(expected.feature_type, before, now) {
        found.push(Finding {
            value: now.share_of_others(expected.feature_type),
            ..Finding::new(FindingKind::TypeChange, feature, detail)
        });
        return found;
    }
    let past = Past {
        windows: None,
        longest_run: before.longest_run,
    };
    if let Some(detail) = constant(reference, current, past) {
        found.push(Finding::new(FindingKind::Constant, feature, detail));
    } else if let Some(detail) = frozen(before, now) {
        found.push(Finding::new(FindingKind::Frozen, feature, detail));
    }
    if expected.feature_type == FeatureType::Number
        && !is_constant(current)
        && let Some(detail) = granularity(before.sample.values(), now.sample.values())
    {
        found.push(Finding::new(FindingKind::Granularity, feature, detail));
    }
    found
}

/// That numbers come in coarser steps than before, of samples of both.
pub(super) fn granularity(before: &[f64], now: &[f64]) -> Option<String> {
    let is = step(now)?;
    let was = step(before);
    let coarser = was.is_none_or(|was| is > was) && share_between(before, is) >= FINER;
    coarser.then(|| {
        let was = was.map_or("finer than a millionth".to_owned(), step_name);
        format!(
            "numbers come in steps of {}; in the reference {was}",
            step_name(is)
        )
    })
}

fn step_name(exponent: i32) -> String {
    let digits = usize::try_from(-exponent).unwrap_or(0);
    format!("{:.digits$}", 10_f64.powi(exponent))
}

/// Another type altogether, or fractions where there were only integers.
fn type_change(expected: FeatureType, before: &Habits, now: &Habits) -> Option<String> {
    use FeatureType::{Boolean, Category, Integer, Number, Text, Timestamp};
    let seen = now.type_beside(expected)?;
    let whole = now.whole_numbers >= now.rows_with_values();
    let texts = now.evidence.texts.max(1);
    let were_texts = before.evidence.texts == before.rows_with_values();
    match (expected, seen) {
        // A model takes "7" for another category than 7.
        (Category | Text, Integer | Boolean) if were_texts && !now.are_guessed => {}
        (Number, Integer) | (Category, Text | Integer | Boolean) | (Text, Category | Integer) => {
            return None;
        }
        (expected, seen) if expected == seen => return None,
        // Numbers stand among the texts of the reference, too.
        (Category | Text, Number) if before.evidence.numbers > 0 => return None,
        (Text, Boolean) if before.evidence.booleans > 0 => return None,
        // Flags, written as 0 and 1 where nobody says what is what, or as they always were.
        (Boolean, Integer | Number)
            if whole
                && (now.are_guessed || before.evidence.booleans == 0)
                && now.evidence.minimum >= 0.0
                && now.evidence.maximum <= 1.0 =>
        {
            return None;
        }
        // Most are what they should be: the others are of a wrong type.
        (Number | Integer, Category | Text)
            if 2 * (now.evidence.numbers + now.evidence.integers) >= now.rows_with_values() =>
        {
            return None;
        }
        (Boolean, Category | Text) if 2 * now.evidence.booleans >= now.rows_with_values() => {
            return None;
        }
        // A format without types, or another library, writes whole numbers as 5.0.
        (Integer, Number) if whole => return None,
        // Times are texts where a format has no others; which of them are none, their share says.
        (Timestamp, Category | Text) if now.time_texts * 2 > texts => return None,
        // The schema says that they are times, and they are written in a way that is not known, as they were.
        (Timestamp, Category | Text)
            if before.evidence.timestamps == 0 && before.time_texts == 0 =>
        {
            return None;
        }
        _ => {}
    }
    let mut detail = format!(
        "{} where the reference has {}",
        seen.as_str(),
        expected.as_str()
    );
    if expected.is_numeric()
        && now.numeric_texts * 2 > texts
        && let Some(example) = &now.numeric_text
    {
        detail += &format!(
            ": numbers written as text, such as \"{}\" ({} of the texts)",
            shortened(example),
            percent(now.numeric_texts as f64 / texts as f64)
        );
    } else if seen.is_numeric() && before.numeric_texts * 2 > before.evidence.texts.max(1) {
        detail += ": there they are numbers written as text";
    }
    Some(detail)
}

/// One value in a row for a fifth of the rows, while the other runs are short and the reference's are, too. In
/// data sorted by the feature all runs are long.
fn frozen(before: &Habits, now: &Habits) -> Option<String> {
    let (rows, rows_before) = (now.rows_with_values(), before.rows_with_values());
    let others = now.runs.checked_sub(1).filter(|others| *others > 0)?;
    let usual = (rows.saturating_sub(now.longest_run)) / others;
    let share_now = share(now.longest_run, rows)?;
    let share_before = share(before.longest_run, rows_before).unwrap_or(0.0);
    (share_now >= FROZEN_SHARE && now.longest_run > 20 * usual.max(1)
        && share_before * RARER < share_now).then(
        || {
            format!(
                "the same value in {} rows in a row, {} of all; elsewhere it changes every {} rows or so",
                now.longest_run,
                percent(share_now),
                usual.max(1)
            )
        },
    )
}
