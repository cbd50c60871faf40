//! What profiles alone say of a feature beyond the shares of its rows: what files are judged by row by row, judged
//! where the rows have long been settled. The order of rows is not in a profile; that of its base windows is.

use super::constancy::{Past, constant};
use super::habits::granularity;
use super::{
    FROZEN_SHARE, FindingKind, Judgement, RARER, Sight, Tolerance, is_constant, percent, share,
    single_value,
};
use crate::domain::schema::{FeatureExpectation, FeatureType};
use crate::stats::profile::FeatureProfile;

/// How many numbers of either side the step is judged by.
pub const STEP_RANKS: usize = 256;
/// As many base windows in a row must have one value for a feature to be frozen.
const FROZEN_WINDOWS: usize = 3;
/// When most values are of a wrong type, the type has changed.
const MOST: f64 = 0.5;

/// How long a feature has stood still, base window by base window.
#[derive(Debug, Clone, Default)]
pub struct Stills {
    windows: usize,
    rows: u64,
    run: Run,
    longest: Run,
}

#[derive(Debug, Clone, Default)]
struct Run {
    value: String,
    windows: usize,
    rows: u64,
    /// An upper bound of how many of the reference's rows have the value is found by it.
    example: Option<FeatureProfile>,
}

impl Stills {
    /// Takes the next base window into account; one without values says nothing.
    pub fn observe(&mut self, profile: &FeatureProfile) {
        let rows = profile.valid();
        if rows == 0 {
            return;
        }
        self.windows += 1;
        self.rows += rows;
        if !is_constant(profile) {
            self.run = Run::default();
            return;
        }
        let value = single_value(profile);
        if self.run.windows == 0 || self.run.value != value {
            self.run = Run {
                value,
                windows: 0,
                rows: 0,
                example: Some(profile.clone().without_quantiles()),
            };
        }
        self.run.windows += 1;
        self.run.rows += rows;
        if self.run.rows > self.longest.rows {
            self.longest = self.run.clone();
        }
    }

    /// The rows of the longest run of base windows with one value, if that is unusual: the feature varies elsewhere,
    /// and its reference had the value far less often.
    fn unusual(&self, reference: &FeatureProfile) -> u64 {
        let run = &self.longest;
        let Some(example) = &run.example else {
            return 0;
        };
        let before = usual_share(reference, example).unwrap_or(1.0);
        let now = share(run.rows, self.rows).unwrap_or(0.0);
        let unusual =
            run.windows >= FROZEN_WINDOWS && run.windows < self.windows && before * RARER < now;
        if unusual { run.rows } else { 0 }
    }
}

/// The share of the reference's rows that may have the single value of a profile: those of its category or cell.
pub(super) fn usual_share(reference: &FeatureProfile, single: &FeatureProfile) -> Option<f64> {
    let rows = match (reference.cells(), single.cells()) {
        (Some(before), Some(now)) => {
            let cell = now.iter().position(|count| *count > 0)?;
            *before.get(cell)?
        }
        _ => reference.category(single.categories().next()?.0)?,
    };
    share(rows, reference.valid())
}

/// How a feature stands to the kinds of finding that take more than shares: another type, a single value, a value that
/// stood still, coarser steps. `steps` are numbers of the reference and of the window, `stills` its base windows,
/// `past` says how often the reference has a single value.
#[must_use]
pub fn judge_profiles(
    expected: &FeatureExpectation,
    reference: Option<&FeatureProfile>,
    current: &FeatureProfile,
    steps: Option<(&[f64], &[f64])>,
    (stills, past): (Option<&Stills>, Past),
    tolerance: Tolerance,
) -> Vec<Judgement> {
    let min_rows = tolerance.min_rows;
    let mut judged = vec![type_change(expected, current, min_rows)];
    // The lengths of vectors stand still as they should.
    let of_lengths = expected.feature_type == FeatureType::Vector;
    let Some(reference) = reference.filter(|_| !of_lengths) else {
        return judged;
    };
    judged.push(Judgement::sign(
        FindingKind::Constant,
        current.valid(),
        min_rows,
        constant(reference, current, past),
    ));
    if let Some(stills) = stills.filter(|stills| stills.windows > FROZEN_WINDOWS) {
        let rows = (stills.unusual(reference), stills.rows);
        let run = &stills.longest;
        judged.push(Judgement::share(
            FindingKind::Frozen,
            rows,
            FROZEN_SHARE,
            min_rows,
            || {
                format!(
                    "{} in {} base windows in a row; elsewhere it varies",
                    run.value, run.windows
                )
            },
        ));
    }
    if let Some((before, now)) = steps
        && expected.feature_type == FeatureType::Number
        && !is_constant(current)
    {
        judged.push(Judgement::sign(
            FindingKind::Granularity,
            current.valid(),
            min_rows,
            granularity(before, now),
        ));
    }
    judged
}

fn type_change(
    expected: &FeatureExpectation,
    current: &FeatureProfile,
    min_rows: u64,
) -> Judgement {
    let counts = current.counts();
    let telling = counts.rows - counts.absent - counts.nulls;
    let noted = current.mismatches();
    let kinds = [
        (noted.texts, "text"),
        (noted.numbers, "numbers"),
        (noted.booleans, "booleans"),
        (noted.timestamps, "timestamps"),
    ];
    let detail = || {
        let most = kinds.iter().max_by_key(|(values, _)| *values);
        let seen = most
            .filter(|(values, _)| *values > 0)
            .map_or("another type", |(_, word)| *word);
        let written = if expected.feature_type.is_numeric() && noted.numeric_texts * 2 > noted.texts
        {
            let of_texts = share(noted.numeric_texts, noted.texts).unwrap_or(0.0);
            format!(
                ": numbers written as text ({} of the texts)",
                percent(of_texts)
            )
        } else {
            String::new()
        };
        format!(
            "{seen} where the schema expects {}{written}",
            expected.feature_type.as_str()
        )
    };
    Judgement::share(
        FindingKind::TypeChange,
        (counts.mismatched, telling),
        MOST,
        min_rows,
        detail,
    )
}

impl Judgement {
    /// That a missing feature probably goes by another name.
    #[must_use]
    pub fn renamed(rows: u64, min_rows: u64, name: &str, reason: &str) -> Self {
        let detail = format!("probably renamed to \"{name}\": {reason}");
        Self::sign(FindingKind::RenamedFeature, rows, min_rows, Some(detail))
    }

    /// The counts of a share.
    #[must_use]
    pub fn counts(&self) -> Option<(u64, u64)> {
        match self.sight {
            Sight::Share { part, whole, .. } => Some((part, whole)),
            Sight::Sign { .. } => None,
        }
    }
}
