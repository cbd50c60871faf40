//! Schema skew between two sets of rows: what a pipeline changed on the way, told apart from what the world did.
//!
//! Everything here is pure: summaries of a feature on both sides in, findings with their words out. Shares (of
//! nulls, of values out of range) are judged per window; what shows only in the order or the digits of the rows
//! (frozen values, rounding, another type) is judged for the whole of them. A finding always says what was seen
//! and what had been expected, because "schema changed" helps nobody.

mod constancy;
mod habits;
mod profiles;
pub mod renames;
mod units;

use super::measurement::Measure;
use super::measurement::Status;
use super::schema::{FeatureExpectation, FeatureType};
use crate::stats::profile::{Counts, FeatureProfile};
use crate::stats::quality::wilson_interval;
pub use constancy::{Past, Stillness, Stillnesses};
pub use habits::{Habits, of_column};
pub use profiles::{STEP_RANKS, Stills, judge_profiles};
pub use units::{UnitChange, unit_change};

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// The feature is gone.
    MissingFeature,
    /// The feature is new.
    UnexpectedFeature,
    /// The feature is gone, and a new one looks just like it.
    RenamedFeature,
    /// Most values are of another type.
    TypeChange,
    /// The file has the feature in a form that cannot be compared.
    Unreadable,
    /// Some values are of another type.
    WrongType,
    NullShare,
    NanShare,
    InfiniteShare,
    EmptyShare,
    OutOfRange,
    UnseenCategory,
    /// It varied, and has a single value now.
    Constant,
    /// It goes on changing, but stood still for a large part of the rows.
    Frozen,
    /// Its numbers are rounded to another step.
    Granularity,
    /// Its numbers look converted into another unit.
    UnitChange,
    /// Rows that equal another one in every column.
    DuplicateRows,
    /// Values that repeat an earlier one, where they should not.
    DuplicateValues,
    /// Fewer or more different values than there should be.
    DistinctValues,
    /// Rows earlier than the one before them.
    OutOfOrder,
    /// Rows without a time, which are in no window.
    MissingTimestamp,
}

impl FindingKind {
    /// The word used in JSON and messages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MissingFeature => "missing_feature",
            Self::UnexpectedFeature => "unexpected_feature",
            Self::RenamedFeature => "renamed_feature",
            Self::TypeChange => "type_change",
            Self::Unreadable => "unreadable",
            Self::WrongType => "wrong_type",
            Self::NullShare => "null_share",
            Self::NanShare => "nan_share",
            Self::InfiniteShare => "infinite_share",
            Self::EmptyShare => "empty_share",
            Self::OutOfRange => "out_of_range",
            Self::UnseenCategory => "unseen_category",
            Self::Constant => "constant",
            Self::Frozen => "frozen",
            Self::Granularity => "granularity",
            Self::UnitChange => "unit_change",
            Self::DuplicateRows => "duplicate_rows",
            Self::DuplicateValues => "duplicate_values",
            Self::DistinctValues => "distinct_values",
            Self::OutOfOrder => "out_of_order",
            Self::MissingTimestamp => "missing_timestamp",
        }
    }
}

impl FindingKind {
    /// The measure by which the service's monitors tell of it; none for what only files can have.
    #[must_use]
    pub fn measure(self) -> Option<Measure> {
        self.as_str().parse().ok()
    }
}

/// A finding about one feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    pub kind: FindingKind,
    /// Empty for findings about whole rows.
    pub feature: String,
    /// The share of rows it is about, where it is about a share.
    pub value: Option<f64>,
    /// The share up to which it would be no finding.
    pub threshold: Option<f64>,
    /// Drift, or insufficient where there are too few rows to be sure.
    pub status: Status,
    /// What was seen and what had been expected, in words.
    pub detail: String,
}

impl Finding {
    fn new(kind: FindingKind, feature: &str, detail: String) -> Self {
        Self {
            kind,
            feature: feature.to_owned(),
            value: None,
            threshold: None,
            status: Status::Drift,
            detail,
        }
    }

    /// That a feature of the reference is not there.
    #[must_use]
    pub fn missing(feature: &str) -> Self {
        let detail = "the reference has it, the current data do not".to_owned();
        Self::new(FindingKind::MissingFeature, feature, detail)
    }

    /// That a feature is not there which the schema requires, and the reference does not have either.
    #[must_use]
    pub fn lacking(feature: &str) -> Self {
        let detail = "the schema requires it, and no file has it".to_owned();
        Self::new(FindingKind::MissingFeature, feature, detail)
    }

    /// That there is a feature the reference does not have.
    #[must_use]
    pub fn unexpected(feature: &str) -> Self {
        let detail = "the current data have it, the reference does not".to_owned();
        Self::new(FindingKind::UnexpectedFeature, feature, detail)
    }

    /// That a missing feature probably goes by another name, and why that is likely.
    #[must_use]
    pub fn renamed(feature: &str, name: &str, reason: &str) -> Self {
        let detail = format!("probably renamed to \"{name}\": {reason}");
        Self::new(FindingKind::RenamedFeature, feature, detail)
    }

    /// That a column cannot be read, and why.
    #[must_use]
    pub fn unreadable(feature: &str, cause: &str) -> Self {
        Self::new(FindingKind::Unreadable, feature, cause.to_owned())
    }
}

/// What is let pass.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tolerance {
    /// The share of rows that may be wrong.
    pub share: f64,
    /// Below this many rows nothing is certain.
    pub min_rows: u64,
}

/// The share of rows from which on a value that stands still is frozen, and how many times rarer it must have been.
const FROZEN_SHARE: f64 = 0.2;
const RARER: f64 = 4.0;

/// How some rows stand to one kind of finding, whether it is found or not.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    pub kind: FindingKind,
    pub sight: Sight,
    /// Whether there are rows enough to be sure.
    pub enough: bool,
    /// What was seen and what had been expected, in words; empty where nothing is found.
    pub detail: String,
}

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Sight {
    /// A share of rows, and the one up to which it is no finding.
    Share {
        part: u64,
        whole: u64,
        threshold: f64,
    },
    /// Something that is so or not, of so many rows.
    Sign { seen: bool, rows: u64 },
}

impl Judgement {
    fn share(
        kind: FindingKind,
        (part, whole): (u64, u64),
        threshold: f64,
        min_rows: u64,
        detail: impl FnOnce() -> String,
    ) -> Self {
        let mut judged = Self {
            kind,
            sight: Sight::Share {
                part,
                whole,
                threshold,
            },
            enough: whole >= min_rows,
            detail: String::new(),
        };
        if judged.is_found() {
            judged.detail = format!("{part} of {whole}: {}", detail());
        }
        judged
    }

    fn sign(kind: FindingKind, rows: u64, min_rows: u64, detail: Option<String>) -> Self {
        Self {
            kind,
            sight: Sight::Sign {
                seen: detail.is_some(),
                rows,
            },
            enough: rows >= min_rows,
            detail: detail.unwrap_or_default(),
        }
    }

    /// Whether it is beyond what is let pass.
    #[must_use]
    pub fn is_found(&self) -> bool {
        match self.sight {
            Sight::Share { threshold, .. } => self.value().is_some_and(|value| value > threshold),
            Sight::Sign { seen, .. } => seen,
        }
    }

    /// The share; 1 or 0 for a sign; nothing without rows.
    #[must_use]
    pub fn value(&self) -> Option<f64> {
        match self.sight {
            Sight::Share { part, whole, .. } => share(part, whole),
            Sight::Sign { seen, rows } => (rows > 0).then(|| f64::from(u8::from(seen))),
        }
    }

    /// Wilson's 95 % interval of a share of rows, as if each row were so by itself; `None` of what concerns rows beside each other,
    /// and of what is so or not. How often values repeat depends on how many there are: it is a fact about the window.
    #[must_use]
    pub fn interval(&self) -> Option<(f64, f64)> {
        match (self.kind, self.sight) {
            (
                FindingKind::Frozen
                | FindingKind::DuplicateRows
                | FindingKind::DuplicateValues
                | FindingKind::OutOfOrder,
                _,
            ) => None,
            (_, Sight::Share { part, whole, .. }) => wilson_interval(part.min(whole), whole),
            (_, Sight::Sign { .. }) => None,
        }
    }

    /// The value up to which it is no finding.
    #[must_use]
    pub fn threshold(&self) -> f64 {
        match self.sight {
            Sight::Share { threshold, .. } => threshold,
            Sight::Sign { .. } => 0.0,
        }
    }

    /// The rows it is about.
    #[must_use]
    pub fn rows(&self) -> u64 {
        match self.sight {
            Sight::Share { whole, .. } => whole,
            Sight::Sign { rows, .. } => rows,
        }
    }

    /// How the value stands.
    #[must_use]
    pub fn status(&self) -> Status {
        match (self.enough, self.value()) {
            (true, Some(_)) if self.is_found() => Status::Drift,
            (true, Some(_)) => Status::Ok,
            _ => Status::Insufficient,
        }
    }

    /// The finding, if there is one. A share among too few rows is told as uncertain; a sign among too few is none.
    fn finding(self, feature: &str) -> Option<Finding> {
        let told = match self.sight {
            Sight::Share { .. } => self.is_found(),
            Sight::Sign { .. } => self.is_found() && self.enough,
        };
        let is_share = matches!(self.sight, Sight::Share { .. });
        told.then(|| Finding {
            value: self.value().filter(|_| is_share),
            threshold: Some(self.threshold()).filter(|_| is_share),
            status: self.status(),
            ..Finding::new(self.kind, feature, self.detail.clone())
        })
    }
}

/// What the shares of one window say about a feature.
#[must_use]
pub fn of_window(
    expected: &FeatureExpectation,
    reference: &FeatureProfile,
    current: &FeatureProfile,
    empty_texts: Option<(u64, u64)>,
    tolerance: Tolerance,
) -> Vec<Finding> {
    judge_window(expected, Some(reference), current, empty_texts, tolerance)
        .into_iter()
        .filter_map(|judged| judged.finding(&expected.feature))
        .collect()
}

/// How one window of a feature stands to every kind of finding that is about shares of its rows, and to a change of
/// unit. What the reference has too is a finding only where there is more than twice as much of it; but values out of range and
/// categories unseen in the reference itself are against a schema that somebody wrote, and stay findings. Categories are new where
/// three times as many rows have them as chance gives those that the reference missed. Where there is no
/// reference, it is taken to have had neither NaN nor infinities nor empty texts nor values of a wrong type; and nothing is
/// said of units.
#[must_use]
pub fn judge_window(
    expected: &FeatureExpectation,
    reference: Option<&FeatureProfile>,
    current: &FeatureProfile,
    empty_texts: Option<(u64, u64)>,
    tolerance: Tolerance,
) -> Vec<Judgement> {
    let before = reference.map_or_else(Counts::default, |reference| *reference.counts());
    let now = current.counts();
    let present = now.rows - now.absent;
    let telling = present - now.nulls;
    let telling_before = before.rows - before.absent - before.nulls;
    let share_before = |part: u64| share(part, before.rows - before.absent).unwrap_or(0.0);
    let infinite = now.positive_infinities + now.negative_infinities;
    let infinite_before = before.positive_infinities + before.negative_infinities;
    let rising = |part: u64| {
        let seen = share_before(part);
        (seen + seen * (1.0 - seen)).max(tolerance.share)
    };
    let mismatched_before = share(before.mismatched, telling_before).unwrap_or(0.0);
    let the_reference = |part: u64| format!("the reference has {}", percent(share_before(part)));
    let outside = expected.max_outside_share.unwrap_or(tolerance.share);
    let mut judged = Vec::new();
    let mut judge = |kind, part, whole, threshold, detail: &dyn Fn() -> String| {
        let counts = (part, whole);
        let min_rows = tolerance.min_rows;
        judged.push(Judgement::share(kind, counts, threshold, min_rows, detail));
    };
    if expected.required {
        judge(
            FindingKind::MissingFeature,
            now.absent,
            now.rows,
            tolerance.share,
            &|| "rows without the feature".to_owned(),
        );
    }
    judge(
        FindingKind::WrongType,
        now.mismatched,
        telling,
        (mismatched_before * (2.0 - mismatched_before)).max(tolerance.share),
        &|| format!("values that are no {}", expected.feature_type.as_str()),
    );
    judge(
        FindingKind::NullShare,
        now.nulls,
        present,
        expected.max_null_share,
        &|| format!("nulls; {}", the_reference(before.nulls)),
    );
    if expected.feature_type.is_numeric() {
        judge(
            FindingKind::NanShare,
            now.nans,
            present,
            rising(before.nans),
            &|| format!("NaN; {}", the_reference(before.nans)),
        );
        judge(
            FindingKind::InfiniteShare,
            infinite,
            present,
            2.0 * share_before(infinite_before),
            &|| {
                format!(
                    "infinite ({} up, {} down); {}",
                    now.positive_infinities,
                    now.negative_infinities,
                    the_reference(infinite_before)
                )
            },
        );
    }
    if let Some((empty_before, empty)) = empty_texts {
        judge(
            FindingKind::EmptyShare,
            empty,
            present,
            rising(empty_before),
            &|| format!("empty texts; {}", the_reference(empty_before)),
        );
    }
    if expected.minimum.is_some() || expected.maximum.is_some() {
        judge(
            FindingKind::OutOfRange,
            now.out_of_range,
            current.valid(),
            outside,
            &|| out_of_range(expected, current),
        );
    }
    if expected.categories.is_some() {
        judge(
            FindingKind::UnseenCategory,
            now.unseen,
            current.valid(),
            outside.max(reference.map_or(0.0, unseen_by_chance)),
            &|| unseen(expected, current),
        );
    }
    judged.extend(uniqueness(expected, reference, current, tolerance));
    if let Some(reference) = reference
        && expected.feature_type.is_numeric()
        && expected.feature_type != FeatureType::Vector
    {
        let values = reference.valid().min(current.valid());
        let detail =
            unit_change(reference, current).map(|change| unit_detail(change, reference, current));
        let least = tolerance.min_rows.max(2);
        judged.push(Judgement::sign(
            FindingKind::UnitChange,
            values,
            least,
            detail,
        ));
    }
    judged
}

/// How a window stands to what is said of how often its values repeat each other. More rows than the reference has repeat each other
/// more often, where any do at all.
fn uniqueness(
    expected: &FeatureExpectation,
    reference: Option<&FeatureProfile>,
    current: &FeatureProfile,
    tolerance: Tolerance,
) -> Vec<Judgement> {
    let (Some((repeated, kept)), Some(distinct)) = (current.repeated(), current.distinct()) else {
        return Vec::new();
    };
    let values = current.valid();
    let is_sample = kept < values;
    let mut judged = Vec::new();
    if let Some(most) = expected.max_duplicate_share {
        let before = reference.map_or(0, FeatureProfile::valid);
        let growth = share(values, before).map_or(1.0, |times| times.max(1.0));
        let sample = || match is_sample {
            true => format!(", of a sample by content of all {values}"),
            false => String::new(),
        };
        judged.push(Judgement {
            enough: values >= tolerance.min_rows,
            ..Judgement::share(
                FindingKind::DuplicateValues,
                (repeated, kept),
                (most * growth).min(1.0),
                tolerance.min_rows,
                || format!("values that repeat an earlier one{}", sample()),
            )
        });
    }
    let limits = (expected.min_distinct, expected.max_distinct);
    if limits != (None, None) {
        // What is estimated is outside only where that is no rounding of the estimate.
        let slack = if is_sample { DISTINCT_SLACK } else { 0.0 };
        let fewer = limits
            .0
            .is_some_and(|least| distinct * (1.0 + slack) < least as f64);
        let more = limits
            .1
            .is_some_and(|most| distinct * (1.0 - slack) > most as f64);
        let about = if is_sample { "about " } else { "" };
        let allowed = match limits {
            (Some(least), Some(most)) => format!("{least} to {most}"),
            (Some(least), None) => format!("{least} or more"),
            (_, most) => format!("up to {}", most.unwrap_or_default()),
        };
        let detail = format!("{about}{distinct:.0} different values; the schema allows {allowed}");
        judged.push(Judgement::sign(
            FindingKind::DistinctValues,
            values,
            tolerance.min_rows,
            (fewer || more).then_some(detail),
        ));
    }
    judged
}

/// How far an estimated number of different values may be off: three standard errors.
const DISTINCT_SLACK: f64 = 0.1;

/// The share of values of categories that the reference has not met that is no finding: about three times what chance alone gives
/// these, which is as many as it met once (Good 1953); and all values only where it met each once.
fn unseen_by_chance(reference: &FeatureProfile) -> f64 {
    let once = reference.categories().filter(|(_, rows)| *rows == 1);
    let expected = share(once.count() as u64, reference.valid()).unwrap_or(0.0);
    1.0 - (1.0 - expected).powi(3)
}

fn unit_detail(change: UnitChange, reference: &FeatureProfile, current: &FeatureProfile) -> String {
    format!(
        "looks converted ({change}): mean {} after {}, standard deviation {} after {}",
        rounded(current.mean()),
        rounded(reference.mean()),
        rounded(current.standard_deviation()),
        rounded(reference.standard_deviation()),
    )
}

fn judged(
    kind: FindingKind,
    feature: &str,
    counts: (u64, u64),
    threshold: f64,
    min_rows: u64,
    detail: &dyn Fn() -> String,
) -> Option<Finding> {
    Judgement::share(kind, counts, threshold, min_rows, detail).finding(feature)
}

fn is_constant(profile: &FeatureProfile) -> bool {
    match profile.minimum() {
        Some(minimum) => profile.maximum() == Some(minimum),
        None => profile.valid() > 0 && profile.rest() == 0 && profile.categories().count() == 1,
    }
}

/// The value of a profile that has a single one, in words.
fn single_value(profile: &FeatureProfile) -> String {
    let number = profile.minimum().map(|n| rounded(Some(n)));
    let category = || {
        let (name, _) = profile.categories().next()?;
        Some(format!("\"{}\"", shortened(name)))
    };
    number.or_else(category).unwrap_or_default()
}

fn out_of_range(expected: &FeatureExpectation, current: &FeatureProfile) -> String {
    let end = |end: Option<f64>| match end.and_then(|end| expected.feature_type.date(end)) {
        Some(date) => date,
        None => rounded(end),
    };
    let limits = match (expected.minimum, expected.maximum) {
        (Some(_), None) => format!("before {}", end(expected.minimum)),
        (None, Some(_)) => format!("beyond {}", end(expected.maximum)),
        _ => format!(
            "outside {} to {}",
            end(expected.minimum),
            end(expected.maximum)
        ),
    };
    let (least, most) = (end(current.minimum()), end(current.maximum()));
    let what = match expected.feature_type {
        FeatureType::Vector => "vectors with a length ",
        _ => "",
    };
    format!("{what}{limits}; seen are {least} to {most}")
}

/// That vectors of a file have other lengths than those of the reference, or than its schema allows. `lengths` are those of drawn
/// rows, and `unseen` the share of them that may lie outside because the reference was drawn from, too.
#[must_use]
pub fn vector_lengths(
    expected: &FeatureExpectation,
    lengths: &[f64],
    unseen: f64,
    tolerance: Tolerance,
) -> Option<Finding> {
    let is_outside = |length: f64| {
        expected.minimum.is_some_and(|least| length < least)
            || expected.maximum.is_some_and(|most| length > most)
    };
    let outside = lengths.iter().filter(|length| is_outside(**length));
    let counts = (outside.count() as u64, lengths.len() as u64);
    let share = expected.max_outside_share.unwrap_or(tolerance.share);
    let threshold = share.max(unseen);
    judged(
        FindingKind::OutOfRange,
        &expected.feature,
        counts,
        threshold,
        tolerance.min_rows,
        &|| {
            let (least, most) = (
                lengths.iter().copied().reduce(f64::min),
                lengths.iter().copied().reduce(f64::max),
            );
            format!(
                "vectors with a length outside {} to {}; seen are {} to {}",
                rounded(expected.minimum),
                rounded(expected.maximum),
                rounded(least),
                rounded(most)
            )
        },
    )
}

/// The unseen categories with the most rows, as far as they are counted by name.
fn unseen(expected: &FeatureExpectation, current: &FeatureProfile) -> String {
    const SHOWN: usize = 5;
    let known = expected.categories.as_deref().unwrap_or_default();
    let mut unseen: Vec<(&str, u64)> = current
        .categories()
        .filter(|(name, _)| !known.iter().any(|known| known == name))
        .collect();
    unseen.sort_by_key(|(_, rows)| std::cmp::Reverse(*rows));
    let named = unseen.iter().take(SHOWN);
    let named: Vec<String> = named
        .map(|(name, rows)| format!("\"{}\" ({rows})", shortened(name)))
        .collect();
    let more = match unseen.len().saturating_sub(SHOWN) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "categories the reference does not have: {}{more}",
        named.join(", ")
    )
}

/// That more rows than in the reference equal another one in every column.
#[must_use]
pub fn duplicate_rows(
    (duplicates_before, rows_before): (u64, u64),
    (duplicates, rows): (u64, u64),
    tolerance: Tolerance,
) -> Option<Finding> {
    let before = share(duplicates_before, rows_before).unwrap_or(0.0);
    judged(
        FindingKind::DuplicateRows,
        "",
        (duplicates, rows),
        (2.0 * before).max(tolerance.share),
        tolerance.min_rows,
        &|| {
            format!(
                "rows that repeat an earlier one in every column; the reference has {}",
                percent(before)
            )
        },
    )
}

/// How rows stand of which so many repeat an earlier one; twice the reference's share is tolerated, as of files.
#[must_use]
pub fn judge_duplicates(
    (duplicates_before, rows_before): (u64, u64),
    (duplicates, rows): (u64, u64),
    tolerance: Tolerance,
) -> Judgement {
    let before = share(duplicates_before, rows_before).unwrap_or(0.0);
    let threshold = (2.0 * before).max(tolerance.share);
    Judgement::share(
        FindingKind::DuplicateRows,
        (duplicates, rows),
        threshold,
        tolerance.min_rows,
        || {
            format!(
                "rows that repeat an earlier one; the reference has {}",
                percent(before)
            )
        },
    )
}

/// Beyond this share, rows are in no order at all.
const UNORDERED: f64 = 0.4;
/// So many rows are not in order by chance.
const FEWEST_ORDERED: u64 = 10;

/// That more rows than in the reference are earlier than the row before them. A reference in no order at all, such as
/// a shuffled training set, says nothing: half of its rows are. Where it is in order, rows in no order at all are a finding as
/// well; where nothing is known of it, they are not.
#[must_use]
pub fn out_of_order(
    feature: &str,
    before: Option<(u64, u64)>,
    (late, rows): (u64, u64),
    tolerance: Tolerance,
) -> Option<Finding> {
    let before = before.filter(|(_, rows)| *rows >= FEWEST_ORDERED);
    let is_known = before.is_some();
    let before = before
        .and_then(|(late, rows)| share(late, rows))
        .unwrap_or(0.0);
    let is_shuffled = share(late, rows).is_none_or(|share| share > UNORDERED);
    let says_nothing = before > UNORDERED || (is_shuffled && !is_known);
    (!says_nothing).then_some(())?;
    judged(
        FindingKind::OutOfOrder,
        feature,
        (late, rows),
        2.0 * before,
        tolerance.min_rows,
        &|| {
            format!(
                "rows earlier than the one before them; the reference has {}",
                percent(before)
            )
        },
    )
}

/// How rows stand that were sent one after the other, of which so many were earlier than the one before.
#[must_use]
pub fn judge_order((late, rows): (u64, u64), tolerance: Tolerance) -> Judgement {
    let unordered = share(late, rows).is_some_and(|share| share > UNORDERED);
    let threshold = if unordered { 1.0 } else { tolerance.share };
    Judgement::share(
        FindingKind::OutOfOrder,
        (late, rows),
        threshold,
        tolerance.min_rows,
        || "rows earlier than the one sent before them in the same request".to_owned(),
    )
}

/// That rows have no time, and so are left out of what is split by time. One is enough, and there is no doubt
/// about it among few rows either.
#[must_use]
pub fn missing_timestamp(feature: &str, (untimed, rows): (u64, u64)) -> Option<Finding> {
    judged(
        FindingKind::MissingTimestamp,
        feature,
        (untimed, rows),
        0.0,
        0,
        &|| "rows without a time, which are in no window and in no measurement".to_owned(),
    )
}

/// That values are of another type, and so are left out of what is compared.
#[must_use]
pub fn wrong_type(
    feature: &str,
    expected: FeatureType,
    (mismatched, values): (u64, u64),
) -> Option<Finding> {
    judged(
        FindingKind::WrongType,
        feature,
        (mismatched, values),
        0.0,
        0,
        &|| format!("values that are no {}, and are left out", expected.as_str()),
    )
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn percent(share: f64) -> String {
    match share {
        0.0 => "none".to_owned(),
        share if share < 0.001 => "less than 0.1 %".to_owned(),
        share => format!("{:.1} %", share * 100.0),
    }
}

/// A number with the digits a person reads.
fn rounded(number: Option<f64>) -> String {
    let Some(number) = number else {
        return "nothing".to_owned();
    };
    let text = match number.abs() {
        0.0 => return "0".to_owned(),
        0.001..1e9 => {
            let digits = (4.0 - number.abs().log10().ceil()).clamp(0.0, 6.0) as usize;
            format!("{number:.digits$}")
        }
        _ => return format!("{number:.3e}"),
    };
    match text.split_once('.') {
        Some(_) => text.trim_end_matches('0').trim_end_matches('.').to_owned(),
        None => text,
    }
}

fn shortened(text: &str) -> String {
    const SHOWN: usize = 40;
    let mut shown: String = text
        .chars()
        .take(SHOWN)
        .filter(|c| !c.is_control())
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests;
