//! Schema skew between two sets of rows: what a pipeline changed on the way, told apart from what the world did.
//!
//! Everything here is pure: summaries of a feature on both sides in, findings with their words out. Shares (of
//! nulls, of values out of range) are judged per window; what shows only in the order or the digits of the rows
//! (frozen values, rounding, another type) is judged for the whole of them. A finding always says what was seen
//! and what had been expected, because "schema changed" helps nobody.

use super::measurement::Status;
use super::schema::{Evidence, FeatureExpectation, FeatureType};
use crate::stats::profile::FeatureProfile;
use crate::stats::thinning::ThinnedSample;

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
            Self::OutOfOrder => "out_of_order",
            Self::MissingTimestamp => "missing_timestamp",
        }
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

/// What the shares of one window say about a feature.
#[must_use]
pub fn of_window(
    expected: &FeatureExpectation,
    reference: &FeatureProfile,
    current: &FeatureProfile,
    empty_texts: Option<(u64, u64)>,
    tolerance: Tolerance,
) -> Vec<Finding> {
    let (before, now) = (reference.counts(), current.counts());
    let present = now.rows - now.absent;
    let telling = present - now.nulls;
    let numbers = current.valid() + now.nans + now.positive_infinities + now.negative_infinities;
    let share_before = |part: u64| share(part, before.rows - before.absent).unwrap_or(0.0);
    let infinite = now.positive_infinities + now.negative_infinities;
    let infinite_before = before.positive_infinities + before.negative_infinities;
    let rising = |part: u64| (2.0 * share_before(part)).max(tolerance.share);
    let mut found = Vec::new();
    let mut judge = |kind, part, whole, threshold, detail: &dyn Fn() -> String| {
        found.extend(judged(
            kind,
            &expected.feature,
            (part, whole),
            threshold,
            tolerance.min_rows,
            detail,
        ));
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
        tolerance.share,
        &|| format!("values that are no {}", expected.feature_type.as_str()),
    );
    judge(
        FindingKind::NullShare,
        now.nulls,
        present,
        expected.max_null_share,
        &|| {
            format!(
                "nulls; the reference has {}",
                percent(share_before(before.nulls))
            )
        },
    );
    judge(
        FindingKind::NanShare,
        now.nans,
        present,
        rising(before.nans),
        &|| {
            format!(
                "NaN; the reference has {}",
                percent(share_before(before.nans))
            )
        },
    );
    judge(
        FindingKind::InfiniteShare,
        infinite,
        present,
        2.0 * share_before(infinite_before),
        &|| {
            format!(
                "infinite ({} up, {} down); the reference has {}",
                now.positive_infinities,
                now.negative_infinities,
                percent(share_before(infinite_before))
            )
        },
    );
    if let Some((empty_before, empty)) = empty_texts {
        judge(
            FindingKind::EmptyShare,
            empty,
            present,
            rising(empty_before),
            &|| {
                format!(
                    "empty texts; the reference has {}",
                    percent(share_before(empty_before))
                )
            },
        );
    }
    if expected.minimum.is_some() || expected.maximum.is_some() {
        judge(
            FindingKind::OutOfRange,
            now.out_of_range,
            numbers,
            tolerance.share,
            &|| out_of_range(expected, current),
        );
    }
    if expected.categories.is_some() {
        judge(
            FindingKind::UnseenCategory,
            now.unseen,
            current.valid(),
            tolerance.share,
            &|| unseen(expected, current),
        );
    }
    let enough = reference.valid().min(current.valid()) >= tolerance.min_rows.max(2);
    if let Some(change) = unit_change(reference, current).filter(|_| enough) {
        let detail = format!(
            "looks converted ({}): mean {} after {}, standard deviation {} after {}",
            change,
            rounded(current.mean()),
            rounded(reference.mean()),
            rounded(current.standard_deviation()),
            rounded(reference.standard_deviation()),
        );
        found.push(Finding::new(
            FindingKind::UnitChange,
            &expected.feature,
            detail,
        ));
    }
    found
}

fn judged(
    kind: FindingKind,
    feature: &str,
    (part, whole): (u64, u64),
    threshold: f64,
    min_rows: u64,
    detail: &dyn Fn() -> String,
) -> Option<Finding> {
    let value = share(part, whole).filter(|value| *value > threshold)?;
    let status = if whole >= min_rows {
        Status::Drift
    } else {
        Status::Insufficient
    };
    Some(Finding {
        value: Some(value),
        threshold: Some(threshold),
        status,
        ..Finding::new(kind, feature, format!("{part} of {whole}: {}", detail()))
    })
}

fn out_of_range(expected: &FeatureExpectation, current: &FeatureProfile) -> String {
    let end = |end: Option<f64>, open: &str| end.map_or(open.to_owned(), |n| rounded(Some(n)));
    format!(
        "outside {} to {}; seen are {} to {}",
        end(expected.minimum, "−∞"),
        end(expected.maximum, "∞"),
        rounded(current.minimum()),
        rounded(current.maximum())
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

/// A conversion of numbers into another unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct UnitChange {
    factor: f64,
    offset: f64,
    name: &'static str,
}

impl std::fmt::Display for UnitChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

const CONVERSIONS: &[UnitChange] = &[
    conversion(1.8, 32.0, "x × 1.8 + 32, as from Celsius to Fahrenheit"),
    conversion(
        1.0 / 1.8,
        -32.0 / 1.8,
        "(x − 32) ÷ 1.8, as from Fahrenheit to Celsius",
    ),
    conversion(1.0, 273.15, "x + 273.15, as from Celsius to kelvin"),
    conversion(1.0, -273.15, "x − 273.15, as from kelvin to Celsius"),
    conversion(100.0, 0.0, "× 100"),
    conversion(0.01, 0.0, "÷ 100"),
    conversion(1_000.0, 0.0, "× 1000"),
    conversion(0.001, 0.0, "÷ 1000"),
    conversion(1_000_000.0, 0.0, "× 1000000"),
    conversion(0.000_001, 0.0, "÷ 1000000"),
    conversion(60.0, 0.0, "× 60"),
    conversion(1.0 / 60.0, 0.0, "÷ 60"),
    conversion(3_600.0, 0.0, "× 3600"),
    conversion(1.0 / 3_600.0, 0.0, "÷ 3600"),
    conversion(1.609_344, 0.0, "× 1.609, as from miles to kilometres"),
    conversion(1.0 / 1.609_344, 0.0, "÷ 1.609, as from kilometres to miles"),
    conversion(-1.0, 0.0, "× −1"),
];

const fn conversion(factor: f64, offset: f64, name: &'static str) -> UnitChange {
    UnitChange {
        factor,
        offset,
        name,
    }
}

/// How far mean and spread may be from those of the conversion, and how far they must be from the unconverted
/// ones, in standard deviations and logarithms of their ratio. The seasons alone can halve a mean: what moves less
/// than three deviations is left to the measures of drift.
const FITS: f64 = 0.3;
const DOES_NOT_FIT: f64 = 3.0;

/// The conversion of unit that explains why the numbers are not what they were: mean and standard deviation are
/// those of the reference converted, and far from those of the reference itself. `None` when no conversion on
/// the list fits, for categories, and for features without spread.
#[must_use]
pub fn unit_change(reference: &FeatureProfile, current: &FeatureProfile) -> Option<UnitChange> {
    let (mean, deviation) = (reference.mean()?, reference.standard_deviation()?);
    let (mean_now, deviation_now) = (current.mean()?, current.standard_deviation()?);
    if deviation <= 0.0 || deviation_now <= 0.0 {
        return None;
    }
    let misfit = |factor: f64, offset: f64| {
        let spread = factor.abs() * deviation;
        (deviation_now / spread).ln().abs() + (mean_now - (factor * mean + offset)).abs() / spread
    };
    if misfit(1.0, 0.0) < DOES_NOT_FIT {
        return None;
    }
    let fitting = CONVERSIONS.iter().map(|c| (misfit(c.factor, c.offset), *c));
    fitting
        .filter(|(misfit, _)| *misfit < FITS)
        .min_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, conversion)| conversion)
}

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
    /// The most rows in a row with one value, and the number of such runs.
    longest_run: u64,
    runs: u64,
    run: u64,
    last: Option<u64>,
    sample: ThinnedSample,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            evidence: Evidence::default(),
            whole_numbers: 0,
            empty_texts: 0,
            numeric_texts: 0,
            numeric_text: None,
            longest_run: 0,
            runs: 0,
            run: 0,
            last: None,
            sample: ThinnedSample::new(STEP_SAMPLE),
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
        } else if text.trim().parse::<f64>().is_ok_and(f64::is_finite) {
            self.numeric_texts += rows;
            self.numeric_text.get_or_insert_with(|| text.to_owned());
        }
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

    fn rows_with_values(&self) -> u64 {
        self.evidence.rows - self.evidence.absent - self.evidence.nulls
    }

    /// The coarsest power of ten that all but a few of the numbers are multiples of; `None` for numbers finer
    /// than a millionth, and with too few to say.
    fn step(&self) -> Option<i32> {
        const FEWEST: usize = 30;
        let telling: Vec<f64> = self
            .sample
            .values()
            .iter()
            .copied()
            .filter(|n| *n != 0.0)
            .collect();
        if telling.len() < FEWEST {
            return None;
        }
        (-6..=3)
            .rev()
            .find(|exponent| share_between(&telling, *exponent) <= 0.005)
    }
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
        found.push(Finding::new(FindingKind::TypeChange, feature, detail));
        return found;
    }
    if is_constant(current) && !is_constant(reference) && reference.valid() > 0 {
        let value = current
            .minimum()
            .map(|n| rounded(Some(n)))
            .or_else(|| {
                current
                    .categories()
                    .next()
                    .map(|(name, _)| format!("\"{}\"", shortened(name)))
            })
            .unwrap_or_default();
        let detail = format!(
            "all {} values are {value}; the reference varies",
            current.valid()
        );
        found.push(Finding::new(FindingKind::Constant, feature, detail));
    } else if let Some(detail) = frozen(before, now) {
        found.push(Finding::new(FindingKind::Frozen, feature, detail));
    }
    if expected.feature_type == FeatureType::Number
        && let (was, Some(is)) = (before.step(), now.step())
        && was.is_none_or(|was| is > was)
        && share_between(before.sample.values(), is) >= FINER
        && !is_constant(current)
    {
        let was = was.map_or("finer than a millionth".to_owned(), step_name);
        let detail = format!(
            "numbers come in steps of {}; in the reference {was}",
            step_name(is)
        );
        found.push(Finding::new(FindingKind::Granularity, feature, detail));
    }
    found
}

fn step_name(exponent: i32) -> String {
    let digits = usize::try_from(-exponent).unwrap_or(0);
    format!("{:.digits$}", 10_f64.powi(exponent))
}

/// Another type altogether, or fractions where there were only integers.
fn type_change(expected: FeatureType, before: &Habits, now: &Habits) -> Option<String> {
    use FeatureType::{Boolean, Category, Integer, Number, Text, Timestamp};
    let seen = now.evidence.feature_type()?;
    let texts = now.evidence.texts.max(1);
    match (expected, seen) {
        (Number, Integer) | (Category, Text | Integer | Boolean) | (Text, Category | Integer) => {
            return None;
        }
        (expected, seen) if expected == seen => return None,
        // A format without types, or another library, writes whole numbers as 5.0.
        (Integer, Number) if now.whole_numbers >= now.rows_with_values() => {
            return None;
        }
        (Timestamp, Category | Text) if before.evidence.timestamps == 0 => return None,
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

fn is_constant(profile: &FeatureProfile) -> bool {
    match profile.minimum() {
        Some(minimum) => profile.maximum() == Some(minimum),
        None => profile.valid() > 0 && profile.rest() == 0 && profile.categories().count() == 1,
    }
}

/// One value in a row for a fifth of the rows, while the other runs are short and the reference's are, too. In
/// data sorted by the feature all runs are long.
fn frozen(before: &Habits, now: &Habits) -> Option<String> {
    let (rows, rows_before) = (now.rows_with_values(), before.rows_with_values());
    let others = now.runs.checked_sub(1).filter(|others| *others > 0)?;
    let usual = (rows.saturating_sub(now.longest_run)) / others;
    let share_now = share(now.longest_run, rows)?;
    let share_before = share(before.longest_run, rows_before).unwrap_or(0.0);
    (share_now >= 0.2 && now.longest_run > 20 * usual.max(1) && share_before * 4.0 < share_now).then(
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

/// That more rows than in the reference are earlier than the row before them. Data in no order at all, such as
/// a shuffled training set, say nothing: half of their rows are.
#[must_use]
pub fn out_of_order(
    feature: &str,
    before: Option<(u64, u64)>,
    (late, rows): (u64, u64),
    tolerance: Tolerance,
) -> Option<Finding> {
    const UNORDERED: f64 = 0.4;
    let before = before
        .and_then(|(late, rows)| share(late, rows))
        .unwrap_or(0.0);
    let unordered = before > UNORDERED || share(late, rows).is_none_or(|share| share > UNORDERED);
    (!unordered).then_some(())?;
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
