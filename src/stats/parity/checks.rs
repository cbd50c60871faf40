//! What the tools check beside the distributions: columns that are missing or new, types, missing values, ranges and categories; and
//! what they conclude of all columns together.
//!
//! Each check has the tool's name for it. What is expected is what the tool itself would write down of the reference: TFDV infers a
//! schema, SageMaker suggests constraints, Azure takes the reference's range and categories. Evidently's preset and NannyML's drift
//! calculators check nothing of the kind, but come to a verdict on the data set, or on a chunk of it.

use super::{CategoryCounts, Mode, ParityResult, Threshold, Verdict};

/// One check, and what came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Check {
    /// The tool's name for it.
    pub name: &'static str,
    pub value: f64,
    /// Beyond it the check has failed.
    pub threshold: Threshold,
    pub verdict: Verdict,
    /// What was seen and what had been expected, in words.
    pub detail: String,
}

impl Check {
    fn new(name: &'static str, value: f64, threshold: Threshold, detail: String) -> Self {
        Self {
            name,
            value,
            threshold,
            verdict: threshold.verdict(value),
            detail,
        }
    }

    /// Whether it is about the schema, and not about distributions.
    #[must_use]
    pub fn is_of_schema(&self) -> bool {
        ![OF_DRIFT, OF_COLUMNS, OF_CHUNK].contains(&self.name)
    }

    /// Whether the tool would report it.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.verdict == Verdict::Drift
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Column<'a> {
    pub rows: u64,
    /// Rows without a value.
    pub missing: u64,
    /// Values of another type than most of the reference's.
    pub mismatched: u64,
    pub values: Values<'a>,
}

/// The values of a column that are of its type.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Values<'a> {
    /// The finite numbers; whole ones where all of the reference's are.
    Numbers {
        numbers: &'a [f64],
        whole: bool,
    },
    Categories(&'a CategoryCounts),
}

impl Column<'_> {
    fn share(&self, part: u64, whole: u64) -> f64 {
        if whole == 0 {
            0.0
        } else {
            part as f64 / whole as f64
        }
    }

    fn complete(&self) -> f64 {
        1.0 - self.share(self.missing, self.rows)
    }

    /// The share of other types among the values.
    fn of_other_types(&self) -> f64 {
        self.share(self.mismatched, self.rows - self.missing)
    }
}

/// SageMaker's check of a distribution, Evidently's verdict on the columns, NannyML's on a chunk.
const OF_DRIFT: &str = "baseline_drift_check";
const OF_COLUMNS: &str = "DriftedColumnsCount";
const OF_CHUNK: &str = "alert";

/// More different texts than this are not listed in a schema that TFDV infers.
const TFDV_LARGEST_DOMAIN: usize = 100;
/// Above this share of values of another type, or of an unknown category, SageMaker's suggested constraints are
/// violated: all values have to match.
const SAGEMAKER_TOLERANCE: f64 = 0.0;
/// From this share of columns on a data set drifts with Evidently.
const EVIDENTLY_SHARE: f64 = 0.5;

impl Mode {
    /// Whether the tool checks more than distributions by itself.
    #[must_use]
    pub fn checks_schema(self) -> bool {
        matches!(self, Self::Azure | Self::Tfdv | Self::Sagemaker)
    }

    /// What the tool says of columns that only one of the data sets has.
    #[must_use]
    pub fn check_presence(self, in_reference: bool) -> Option<Check> {
        let name = match (self, in_reference) {
            (Self::Tfdv, true) => "SCHEMA_MISSING_COLUMN",
            (Self::Tfdv, false) => "SCHEMA_NEW_COLUMN",
            (Self::Sagemaker, true) => "missing_column_check",
            (Self::Sagemaker, false) => "extra_column_check",
            (Self::Evidently | Self::Nannyml | Self::Azure, _) => return None,
        };
        let detail = if in_reference {
            "the reference has it, the current data do not"
        } else {
            "the current data have it, the reference does not"
        };
        let threshold = Threshold::Above(0.0);
        Some(Check::new(name, 1.0, threshold, detail.to_owned()))
    }

    /// What the tool checks of a column beside its distribution.
    #[must_use]
    pub fn check_column(self, reference: &Column<'_>, current: &Column<'_>) -> Vec<Check> {
        if current.rows == 0 || reference.rows == 0 {
            return Vec::new();
        }
        match self {
            Self::Evidently | Self::Nannyml => Vec::new(),
            Self::Azure => azure(reference, current),
            Self::Tfdv => tfdv(reference, current),
            Self::Sagemaker => sagemaker(reference, current),
        }
    }

    /// The tool's check of a column's distribution, where it has a name of its own beside the measure's.
    #[must_use]
    pub fn check_drift(self, result: &ParityResult) -> Option<Check> {
        let is_named = self == Self::Sagemaker && result.chosen;
        let (value, threshold) = result.value.zip(result.threshold).filter(|_| is_named)?;
        let detail = format!("{} of the distributions", result.method);
        Some(Check::new(OF_DRIFT, value, threshold, detail))
    }

    /// What the tool concludes from the verdicts on the columns of a data set, or of a chunk: by the measure it takes by itself, by
    /// name of the column.
    #[must_use]
    pub fn check_data_set(self, verdicts: &[(&str, Verdict)]) -> Option<Check> {
        let drifted = verdicts.iter().filter(|(_, v)| *v == Verdict::Drift);
        let names: Vec<&str> = drifted.map(|(name, _)| *name).collect();
        let told = format!("{} of {} columns", names.len(), verdicts.len());
        match self {
            Self::Evidently if verdicts.is_empty() => None,
            Self::Evidently => {
                let share = names.len() as f64 / verdicts.len() as f64;
                let threshold = Threshold::AtLeast(EVIDENTLY_SHARE);
                let mut check = Check::new(OF_COLUMNS, share, threshold, told);
                let fails =
                    |(_, verdict): &&(&str, Verdict)| matches!(verdict, Verdict::NotDefined(_));
                if let Some((name, _)) = verdicts.iter().find(fails) {
                    check.verdict =
                        Verdict::NotDefined("a column without values ends the whole report");
                    check.detail += &format!("; {name} cannot be compared");
                }
                Some(check)
            }
            Self::Nannyml => {
                let count = names.len() as f64;
                let detail = match names.as_slice() {
                    [] => told,
                    names => format!("{told}: {}", names.join(", ")),
                };
                Some(Check::new(OF_CHUNK, count, Threshold::Above(0.0), detail))
            }
            Self::Azure | Self::Tfdv | Self::Sagemaker => None,
        }
    }
}

/// The shares of data quality, whose thresholds are 0: a single value is enough.
fn azure(reference: &Column<'_>, current: &Column<'_>) -> Vec<Check> {
    let none = Threshold::Above(0.0);
    let of_rows = |part: u64| format!("{part} of {} rows", current.rows);
    let (outside, expected) = outside(reference, current);
    vec![
        Check::new(
            "NullValueRate",
            current.share(current.missing, current.rows),
            none,
            of_rows(current.missing),
        ),
        Check::new(
            "DataTypeErrorRate",
            current.share(current.mismatched, current.rows),
            none,
            of_rows(current.mismatched),
        ),
        Check::new(
            "OutOfBoundsRate",
            current.share(outside, current.rows),
            none,
            format!("{}; {expected}", of_rows(outside)),
        ),
    ]
}

/// The values that the reference's range, or its categories, do not hold; and what these are in words.
fn outside(reference: &Column<'_>, current: &Column<'_>) -> (u64, String) {
    match (reference.values, current.values) {
        (
            Values::Numbers {
                numbers: before, ..
            },
            Values::Numbers { numbers, .. },
        ) => {
            let (low, high) = crate::stats::profile::extremes(before);
            let outside = numbers.iter().filter(|n| **n < low || **n > high);
            (
                outside.count() as u64,
                format!("the reference has {low} to {high}"),
            )
        }
        (Values::Categories(before), Values::Categories(now)) => {
            let unknown = || {
                now.iter()
                    .filter(|(name, _)| before.get(*name).is_none_or(|n| *n == 0))
            };
            let named: Vec<&str> = unknown().map(|(name, _)| name.as_str()).take(5).collect();
            let expected = match named.as_slice() {
                [] => format!("the reference has {} categories", before.len()),
                named => format!("the reference has no \"{}\"", named.join("\", \"")),
            };
            (unknown().map(|(_, rows)| rows).sum(), expected)
        }
        _ => (0, "the columns are of different kinds".to_owned()),
    }
}

/// The anomalies against the schema that the tool infers from the reference: the type, that there are values, that none is missing
/// where none was, and the values of texts with few of them. It infers no range of numbers.
fn tfdv(reference: &Column<'_>, current: &Column<'_>) -> Vec<Check> {
    let none = Threshold::Above(0.0);
    let mut checks = vec![Check::new(
        "UNEXPECTED_DATA_TYPE",
        current.of_other_types(),
        none,
        format!("{} values of another type", current.mismatched),
    )];
    if reference.missing == 0 {
        checks.push(Check::new(
            "FEATURE_TYPE_LOW_FRACTION_PRESENT",
            current.complete(),
            Threshold::Below(1.0),
            format!("{} of {} rows have no value", current.missing, current.rows),
        ));
    }
    checks.push(Check::new(
        "FEATURE_TYPE_LOW_NUMBER_PRESENT",
        (current.rows - current.missing) as f64,
        Threshold::Below(1.0),
        "one value at least".to_owned(),
    ));
    if let Values::Categories(before) = reference.values
        && before.len() <= TFDV_LARGEST_DOMAIN
    {
        let (unknown, expected) = outside(reference, current);
        checks.push(Check::new(
            "ENUM_TYPE_UNEXPECTED_STRING_VALUES",
            current.share(unknown, current.rows - current.missing),
            none,
            expected,
        ));
    }
    if let (Values::Numbers { whole: true, .. }, Values::Numbers { numbers, .. }) =
        (reference.values, current.values)
    {
        let fractions = numbers.iter().filter(|n| n.fract() != 0.0).count() as u64;
        if fractions > 0 {
            let detail = format!("{fractions} numbers with a fraction where the schema says INT");
            let share = current.share(
                fractions + current.mismatched,
                current.rows - current.missing,
            );
            checks[0] = Check::new("UNEXPECTED_DATA_TYPE", share, none, detail);
        }
    }
    checks
}

/// The constraints that the tool suggests of the reference: the type, completeness, and the categories.
fn sagemaker(reference: &Column<'_>, current: &Column<'_>) -> Vec<Check> {
    let tolerated = Threshold::Above(SAGEMAKER_TOLERANCE);
    let fractions = match (reference.values, current.values) {
        (Values::Numbers { whole: true, .. }, Values::Numbers { numbers, .. }) => {
            numbers.iter().filter(|n| n.fract() != 0.0).count() as u64
        }
        _ => 0,
    };
    let others = current.mismatched + fractions;
    let mut checks = vec![
        Check::new(
            "data_type_check",
            current.share(others, current.rows - current.missing),
            tolerated,
            format!("{others} values of another type"),
        ),
        Check::new(
            "completeness_check",
            current.complete(),
            Threshold::Below(reference.complete()),
            format!("{} of {} rows have no value", current.missing, current.rows),
        ),
    ];
    if let (Values::Categories(_), Values::Categories(_)) = (reference.values, current.values) {
        let (unknown, expected) = outside(reference, current);
        let share = current.share(unknown, current.rows - current.missing);
        checks.push(Check::new(
            "categorical_values_check",
            share,
            tolerated,
            expected,
        ));
    }
    checks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(names: &[(&str, u64)]) -> CategoryCounts {
        names
            .iter()
            .map(|(name, rows)| ((*name).to_owned(), *rows))
            .collect()
    }

    fn numbers(numbers: &[f64], missing: u64, mismatched: u64) -> Column<'_> {
        Column {
            rows: numbers.len() as u64 + missing + mismatched,
            missing,
            mismatched,
            values: Values::Numbers {
                numbers,
                whole: numbers.iter().all(|n| n.fract() == 0.0),
            },
        }
    }

    fn categories(counts: &CategoryCounts, missing: u64) -> Column<'_> {
        Column {
            rows: counts.values().sum::<u64>() + missing,
            missing,
            mismatched: 0,
            values: Values::Categories(counts),
        }
    }

    fn failed(checks: &[Check]) -> Vec<&'static str> {
        checks
            .iter()
            .filter(|c| c.has_failed())
            .map(|c| c.name)
            .collect()
    }

    #[test]
    fn columns_like_the_reference_pass_every_check() {
        let names = counts(&[("a", 5), ("b", 5)]);
        for mode in Mode::all() {
            for column in [numbers(&[1.0, 2.0, 3.0], 1, 0), categories(&names, 1)] {
                let checks = mode.check_column(&column, &column);
                // Azure lets no value be missing, whatever the reference is like.
                let expected: &[&str] = match mode {
                    Mode::Azure => &["NullValueRate"],
                    _ => &[],
                };
                assert_eq!(failed(&checks), expected, "{mode:?}");
                assert_eq!(checks.is_empty(), !mode.checks_schema(), "{mode:?}");
            }
        }
    }

    #[test]
    fn each_tool_names_what_is_wrong_as_it_does() {
        let before = [1.0, 2.0, 3.0, 4.0];
        let reference = numbers(&before, 0, 0);
        let now = [1.0, 2.5, 9.0];
        let current = numbers(&now, 1, 1);
        let of = |mode: Mode| failed(&mode.check_column(&reference, &current));
        assert_eq!(
            of(Mode::Azure),
            ["NullValueRate", "DataTypeErrorRate", "OutOfBoundsRate"]
        );
        assert_eq!(
            of(Mode::Tfdv),
            ["UNEXPECTED_DATA_TYPE", "FEATURE_TYPE_LOW_FRACTION_PRESENT"]
        );
        assert_eq!(
            of(Mode::Sagemaker),
            ["data_type_check", "completeness_check"]
        );

        let (known, new) = (
            counts(&[("a", 9), ("b", 1)]),
            counts(&[("a", 17), ("c", 2), ("b", 1)]),
        );
        let of = |mode: Mode, new: &CategoryCounts| {
            failed(&mode.check_column(&categories(&known, 0), &categories(new, 0)))
        };
        assert_eq!(of(Mode::Azure, &new), ["OutOfBoundsRate"]);
        assert_eq!(of(Mode::Tfdv, &new), ["ENUM_TYPE_UNEXPECTED_STRING_VALUES"]);
        assert_eq!(of(Mode::Sagemaker, &new), ["categorical_values_check"]);
        let fewer = counts(&[("a", 17)]);
        assert_eq!(of(Mode::Sagemaker, &fewer), [""; 0]);
    }

    #[test]
    fn columns_of_one_side_are_named_by_those_tools_that_look_for_them() {
        let name = |mode: Mode, missing| mode.check_presence(missing).map(|check| check.name);
        assert_eq!(name(Mode::Tfdv, true), Some("SCHEMA_MISSING_COLUMN"));
        assert_eq!(name(Mode::Tfdv, false), Some("SCHEMA_NEW_COLUMN"));
        assert_eq!(name(Mode::Sagemaker, true), Some("missing_column_check"));
        assert_eq!(name(Mode::Sagemaker, false), Some("extra_column_check"));
        assert_eq!(name(Mode::Evidently, true), None);
    }

    #[test]
    fn a_data_set_drifts_with_half_of_its_columns_and_a_chunk_alerts_with_one() {
        use Verdict::{Drift, NoDrift, NotDefined};
        let of = |mode: Mode, verdicts: &[(&str, Verdict)]| {
            let check = mode.check_data_set(verdicts).expect("a verdict");
            (check.value, check.verdict)
        };
        let half = [("a", Drift), ("b", NoDrift)];
        let third = [("a", Drift), ("b", NoDrift), ("c", NoDrift)];
        assert_eq!(of(Mode::Evidently, &half), (0.5, Drift));
        assert_eq!(of(Mode::Evidently, &third).1, NoDrift);
        let empty = [("a", Drift), ("b", NotDefined("no values"))];
        assert!(matches!(of(Mode::Evidently, &empty).1, NotDefined(_)));
        assert_eq!(of(Mode::Nannyml, &third), (1.0, Drift));
        assert_eq!(of(Mode::Nannyml, &third[1..]), (0.0, NoDrift));
        assert_eq!(Mode::Evidently.check_data_set(&[]), None);
        assert_eq!(Mode::Tfdv.check_data_set(&half), None);
    }
}
