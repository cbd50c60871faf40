//! Changes of a schema before they are in force: what is to be different, what that would have meant for the rows
//! of the last days, and what the service itself would change after having seen them.
//!
//! A proposal holds the features it changes, each with what is expected now and what is to be expected. So several
//! proposals can be open side by side, and one only goes out of date when somebody changes a feature that it
//! changes, too.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::schema::{Evidence, FeatureExpectation};
use crate::stats::profile::FeatureProfile;

/// Where a proposal stands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum ProposalState {
    /// Waits for a decision.
    Proposed,
    /// Somebody has accepted it; it is in force once the stored rows have been counted by it.
    Accepting,
    /// In force, or was, as the version it names.
    Accepted,
    Declined,
    /// Another one took its place, or what it was made against has changed.
    Superseded,
}

impl ProposalState {
    /// The word used in SQL, JSON and pages.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Proposed => "proposed",
            Self::Accepting => "accepting",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Superseded => "superseded",
        }
    }
}

/// Where a proposal comes from.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type, utoipa::ToSchema,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Origin {
    /// A configuration file that was applied.
    File,
    /// A baseline that was fitted.
    Baseline,
    /// Another tool's description of the features.
    Import,
    /// Somebody, through the API.
    Api,
    /// The service itself, after what it has seen.
    Observed,
}

impl Origin {
    /// The word used in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Baseline => "baseline",
            Self::Import => "import",
            Self::Api => "api",
            Self::Observed => "observed",
        }
    }
}

/// A part of what is expected of a feature.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Whether the schema knows the feature at all.
    Feature,
    Type,
    Required,
    /// Minimum and maximum.
    Range,
    Categories,
    MaxNullShare,
    /// The share of values that may repeat an earlier one.
    MaxDuplicateShare,
    /// The smallest and the largest number of different values.
    Distinct,
    /// The share of values that may lie outside the range or the categories.
    MaxOutsideShare,
    /// Where the feature is required.
    Environments,
}

/// How many rows of the last days a part of the schema flags, and how many it would flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Effect {
    pub part: Part,
    /// The rows that were looked at.
    pub rows: u64,
    pub flagged_now: u64,
    /// Nothing where the counts do not tell.
    pub flagged_then: Option<u64>,
}

/// What is to be expected of a feature instead of what is expected now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct FeatureChange {
    pub feature: String,
    /// Nothing for a feature the schema does not know yet.
    pub from: Option<FeatureExpectation>,
    /// Nothing for a feature that is no longer to be in the schema.
    pub to: Option<FeatureExpectation>,
    /// What it would have meant for the last days; empty where there were no rows.
    #[serde(default)]
    pub effects: Vec<Effect>,
}

impl FeatureChange {
    /// The parts that differ.
    #[must_use]
    pub fn parts(&self) -> Vec<Part> {
        let (Some(from), Some(to)) = (&self.from, &self.to) else {
            return vec![Part::Feature];
        };
        let ranges = (from.minimum, from.maximum) != (to.minimum, to.maximum);
        [
            (Part::Type, from.feature_type != to.feature_type),
            (Part::Required, from.required != to.required),
            (Part::Range, ranges),
            (Part::Categories, from.categories != to.categories),
            (Part::MaxNullShare, from.max_null_share != to.max_null_share),
            (
                Part::MaxDuplicateShare,
                from.max_duplicate_share != to.max_duplicate_share,
            ),
            (
                Part::Distinct,
                (from.min_distinct, from.max_distinct) != (to.min_distinct, to.max_distinct),
            ),
            (
                Part::MaxOutsideShare,
                from.max_outside_share != to.max_outside_share,
            ),
            (Part::Environments, from.environments != to.environments),
        ]
        .into_iter()
        .filter_map(|(part, differs)| differs.then_some(part))
        .collect()
    }

    /// How many rows each changed part flags and would flag. `profile` counts the feature in the last days by what is
    /// expected now; `rows` is how many rows there were in all, whether they have the feature or not.
    #[must_use]
    pub fn effects(&self, profile: &FeatureProfile, rows: u64) -> Vec<Effect> {
        let counts = profile.counts();
        let carrying = counts.rows - counts.absent;
        let effect = |part, flagged_now, flagged_then| Effect {
            part,
            rows,
            flagged_now,
            flagged_then,
        };
        let (from, to) = match (&self.from, &self.to) {
            (None, None) => return Vec::new(),
            (None, Some(_)) => return vec![effect(Part::Feature, carrying, Some(0))],
            (Some(_), None) => return vec![effect(Part::Feature, 0, Some(carrying))],
            (Some(from), Some(to)) => (from, to),
        };
        let beyond = |share: f64| {
            let is_beyond = counts.nulls as f64 > share * carrying as f64;
            if is_beyond { counts.nulls } else { 0 }
        };
        let absent = |required: bool| if required { counts.absent } else { 0 };
        let of_part = |part| match part {
            // Rows do not say where they came from, nor what the monitor tolerates; and days together do not say how often values
            // repeat in one window.
            Part::Feature
            | Part::Environments
            | Part::MaxOutsideShare
            | Part::MaxDuplicateShare
            | Part::Distinct => None,
            // What the values are, the counts do not say.
            Part::Type => Some(effect(part, counts.mismatched, None)),
            Part::Required => Some(effect(
                part,
                absent(from.required),
                Some(absent(to.required)),
            )),
            Part::Range => Some(effect(part, counts.out_of_range, out_of_range(to, profile))),
            Part::Categories => Some(effect(part, counts.unseen, unseen(to, profile))),
            Part::MaxNullShare => Some(effect(
                part,
                beyond(from.max_null_share),
                Some(beyond(to.max_null_share)),
            )),
        };
        self.parts().into_iter().filter_map(of_part).collect()
    }
}

/// None, where all numbers seen are in range; otherwise the counts do not say how many are not.
fn out_of_range(expected: &FeatureExpectation, profile: &FeatureProfile) -> Option<u64> {
    let (Some(smallest), Some(largest)) = (profile.minimum(), profile.maximum()) else {
        return Some(0);
    };
    let inside = expected.minimum.is_none_or(|minimum| minimum <= smallest)
        && expected.maximum.is_none_or(|maximum| maximum >= largest);
    inside.then_some(0)
}

fn unseen(expected: &FeatureExpectation, profile: &FeatureProfile) -> Option<u64> {
    let Some(known) = &expected.categories else {
        return Some(0);
    };
    let known: BTreeSet<&str> = known.iter().map(String::as_str).collect();
    let unseen = profile
        .categories()
        .filter(|(name, _)| !known.contains(name))
        .map(|(_, rows)| rows)
        .sum();
    // Those that are counted together have no names.
    (profile.rest() == 0).then_some(unseen)
}

/// What changes between two schemas, by name of the feature.
#[must_use]
pub fn difference(from: &[FeatureExpectation], to: &[FeatureExpectation]) -> Vec<FeatureChange> {
    let by_name = |features: &[FeatureExpectation]| -> BTreeMap<String, FeatureExpectation> {
        features
            .iter()
            .map(|f| (f.feature.clone(), f.clone()))
            .collect()
    };
    let (mut before, after) = (by_name(from), by_name(to));
    let mut changes: Vec<FeatureChange> = after
        .into_iter()
        .map(|(feature, to)| FeatureChange {
            from: before.remove(&feature),
            to: Some(to),
            feature,
            effects: Vec::new(),
        })
        .filter(|change| change.from != change.to)
        .collect();
    changes.extend(before.into_iter().map(|(feature, from)| FeatureChange {
        feature,
        from: Some(from),
        to: None,
        effects: Vec::new(),
    }));
    changes.sort_by(|a, b| a.feature.cmp(&b.feature));
    changes
}

/// A change that was made against something else than what is expected now.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("what is expected of {feature:?} has changed since this was proposed")]
pub struct Outdated {
    pub feature: String,
}

/// The schema once changes are made to it.
///
/// # Errors
/// When a changed feature is no longer what the change was made against, and not yet what it asks for either.
pub fn changed(
    schema: &[FeatureExpectation],
    changes: &[FeatureChange],
) -> Result<Vec<FeatureExpectation>, Outdated> {
    let mut features: BTreeMap<String, FeatureExpectation> = schema
        .iter()
        .map(|f| (f.feature.clone(), f.clone()))
        .collect();
    for change in changes {
        let present = features.remove(&change.feature);
        if present != change.from && present != change.to {
            return Err(Outdated {
                feature: change.feature.clone(),
            });
        }
        if let Some(to) = &change.to {
            features.insert(change.feature.clone(), to.clone());
        }
    }
    Ok(features.into_values().collect())
}

/// From what on the service proposes to change a schema.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Patience {
    /// Below this many rows nothing is proposed.
    pub min_rows: u64,
    /// The share of values beyond which a range is widened or categories are added: the monitor's tolerance.
    pub tolerance: f64,
}

/// A feature the schema does not know is proposed when at least this share of rows has it.
pub const NEW_FEATURE_SHARE: f64 = 0.5;
/// A category is proposed when at least this share of values is of it.
pub const NEW_CATEGORY_SHARE: f64 = 0.01;
/// Another type is proposed when at least this share of values is not of the expected one.
pub const NEW_TYPE_SHARE: f64 = 0.5;

/// What was seen of a feature in the last days.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    pub profile: &'a FeatureProfile,
    /// All rows, whether they have the feature or not.
    pub rows: u64,
    /// What some of the newest rows say, value by value.
    pub newest: Option<&'a Evidence>,
}

/// What the service would expect of a feature instead, and why; `None` when what was seen gives no reason.
#[must_use]
pub fn suggested(
    feature: &str,
    expected: Option<&FeatureExpectation>,
    seen: Seen<'_>,
    patience: Patience,
) -> Option<(FeatureExpectation, String)> {
    if seen.rows < patience.min_rows {
        return None;
    }
    match expected {
        None => new_feature(feature, seen),
        Some(expected) => new_type(expected, seen).or_else(|| new_limits(expected, seen, patience)),
    }
}

fn new_feature(feature: &str, seen: Seen<'_>) -> Option<(FeatureExpectation, String)> {
    let counts = seen.profile.counts();
    let carrying = counts.rows - counts.absent;
    let share = share(carrying, seen.rows)?;
    if share < NEW_FEATURE_SHARE {
        return None;
    }
    let mut expected = seen.newest?.expectation(feature)?;
    expected.required = carrying >= seen.rows;
    if expected.feature_type.is_numeric() {
        expected.minimum = lesser(expected.minimum, seen.profile.minimum());
        expected.maximum = greater(expected.maximum, seen.profile.maximum());
    }
    let reason = format!("new, in {} of rows", percent(share));
    Some((expected, reason))
}

fn new_type(expected: &FeatureExpectation, seen: Seen<'_>) -> Option<(FeatureExpectation, String)> {
    let counts = seen.profile.counts();
    let telling = counts.rows - counts.absent - counts.nulls;
    let share = share(counts.mismatched, telling)?;
    if share < NEW_TYPE_SHARE {
        return None;
    }
    let newest = seen.newest?.expectation(&expected.feature)?;
    if newest.feature_type == expected.feature_type {
        return None;
    }
    let reason = format!(
        "{} of values are no {}; the newest are of type {}",
        percent(share),
        expected.feature_type.as_str(),
        newest.feature_type.as_str()
    );
    let wanted = FeatureExpectation {
        required: expected.required,
        max_null_share: expected.max_null_share,
        max_outside_share: expected.max_outside_share,
        ..newest
    };
    Some((wanted, reason))
}

fn new_limits(
    expected: &FeatureExpectation,
    seen: Seen<'_>,
    patience: Patience,
) -> Option<(FeatureExpectation, String)> {
    let counts = seen.profile.counts();
    let valid = seen.profile.valid();
    let mut wanted = expected.clone();
    let mut reasons = Vec::new();
    let tolerance = expected.max_outside_share.unwrap_or(patience.tolerance);
    if let Some(outside) = share(counts.out_of_range, valid).filter(|s| *s > tolerance) {
        let within = |limit: Option<f64>,
                      extreme: Option<f64>,
                      pick: fn(Option<f64>, Option<f64>) -> Option<f64>| {
            limit.and_then(|_| pick(limit, extreme))
        };
        wanted.minimum = within(expected.minimum, seen.profile.minimum(), lesser);
        wanted.maximum = within(expected.maximum, seen.profile.maximum(), greater);
        reasons.push(format!("{} of values out of range", percent(outside)));
    }
    if let Some(known) = &expected.categories
        && share(counts.unseen, valid).is_some_and(|s| s > tolerance)
    {
        let all: BTreeSet<&str> = known.iter().map(String::as_str).collect();
        let new: Vec<(&str, f64)> = seen
            .profile
            .categories()
            .filter(|(name, _)| !all.contains(name))
            .filter_map(|(name, rows)| Some((name, share(rows, valid)?)))
            .filter(|(_, share)| *share >= NEW_CATEGORY_SHARE)
            .collect();
        if !new.is_empty() {
            let named: Vec<String> = new
                .iter()
                .take(5)
                .map(|(name, share)| format!("{name:?} ({})", percent(*share)))
                .collect();
            let more = new.len() - named.len();
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            reasons.push(format!("new categories {}{more}", named.join(", ")));
            let mut categories: Vec<String> = all.iter().map(|name| (*name).to_owned()).collect();
            categories.extend(new.into_iter().map(|(name, _)| name.to_owned()));
            categories.sort();
            wanted.categories = Some(categories);
        }
    }
    (wanted != *expected).then(|| (wanted, reasons.join("; ")))
}

fn lesser(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    [a, b].into_iter().flatten().min_by(f64::total_cmp)
}

fn greater(a: Option<f64>, b: Option<f64>) -> Option<f64> {
    [a, b].into_iter().flatten().max_by(f64::total_cmp)
}

fn share(part: u64, whole: u64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", share * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::columns::Value;
    use crate::domain::schema::FeatureType;

    fn number(feature: &str, minimum: f64, maximum: f64) -> FeatureExpectation {
        FeatureExpectation {
            minimum: Some(minimum),
            maximum: Some(maximum),
            max_null_share: 0.05,
            ..FeatureExpectation::of_type(feature, FeatureType::Number)
        }
    }

    fn category(feature: &str, known: &[&str]) -> FeatureExpectation {
        FeatureExpectation {
            feature_type: FeatureType::Category,
            minimum: None,
            maximum: None,
            categories: Some(known.iter().map(|name| (*name).to_owned()).collect()),
            ..number(feature, 0.0, 0.0)
        }
    }

    fn change(from: Option<FeatureExpectation>, to: Option<FeatureExpectation>) -> FeatureChange {
        let either = from.as_ref().or(to.as_ref()).expect("one of them");
        FeatureChange {
            feature: either.feature.clone(),
            from,
            to,
            effects: Vec::new(),
        }
    }

    const PATIENCE: Patience = Patience {
        min_rows: 10,
        tolerance: 0.01,
    };

    #[test]
    fn a_difference_names_every_feature_that_is_new_gone_or_other_and_leads_back() {
        let before = [
            number("a", 0.0, 1.0),
            number("b", 0.0, 1.0),
            category("c", &["x"]),
        ];
        let after = [
            number("b", 0.0, 2.0),
            category("c", &["x"]),
            number("d", 0.0, 1.0),
        ];
        let changes = difference(&before, &after);
        let told: Vec<_> = changes
            .iter()
            .map(|c| (c.feature.as_str(), c.parts()))
            .collect();
        assert_eq!(
            told,
            [
                ("a", vec![Part::Feature]),
                ("b", vec![Part::Range]),
                ("d", vec![Part::Feature])
            ]
        );
        assert_eq!(changed(&before, &changes).as_deref(), Ok(&after[..]));
        assert_eq!(
            changed(&after, &changes).as_deref(),
            Ok(&after[..]),
            "made already"
        );
        assert_eq!(difference(&after, &after), []);
    }

    #[test]
    fn a_change_of_something_that_is_no_longer_so_is_outdated() {
        let changes = [change(
            Some(number("b", 0.0, 1.0)),
            Some(number("b", 0.0, 2.0)),
        )];
        for schema in [vec![number("b", 0.0, 5.0)], vec![]] {
            let outdated = changed(&schema, &changes).expect_err("something else is in force");
            assert_eq!(outdated.feature, "b");
        }
        // Another feature does not matter.
        let schema = [number("a", 0.0, 9.0), number("b", 0.0, 1.0)];
        assert!(changed(&schema, &changes).is_ok());
    }

    #[test]
    fn effects_count_what_is_flagged_and_say_where_the_counts_do_not_tell() {
        let mut profile = FeatureProfile::numeric(None);
        profile
            .observe_numbers(&[0.5, 3.0, 9.0], None)
            .expect("numbers");
        profile.note_out_of_range(2);
        profile.observe_null(3);
        profile.observe_absent(4);
        let from = number("a", 0.0, 1.0);
        let effects = |to: FeatureExpectation| {
            let effects = change(Some(from.clone()), Some(to)).effects(&profile, 10);
            let told: Vec<_> = effects
                .iter()
                .map(|e| (e.part, e.flagged_now, e.flagged_then))
                .collect();
            told
        };
        assert_eq!(effects(number("a", 0.0, 9.0)), [(Part::Range, 2, Some(0))]);
        assert_eq!(effects(number("a", 0.0, 5.0)), [(Part::Range, 2, None)]);
        let mut lenient = from.clone();
        (lenient.required, lenient.max_null_share) = (false, 0.5);
        assert_eq!(
            effects(lenient),
            [
                (Part::Required, 4, Some(0)),
                (Part::MaxNullShare, 3, Some(0))
            ]
        );
        let new = change(None, Some(from.clone())).effects(&profile, 10);
        assert_eq!((new[0].flagged_now, new[0].flagged_then), (6, Some(0)));

        let mut places = FeatureProfile::categorical();
        for (name, rows) in [("EWR", 5), ("LGA", 3), ("???", 1)] {
            places.observe_category(name, rows).expect("a category");
        }
        places.note_unseen(4);
        let wider = change(
            Some(category("origin", &["EWR"])),
            Some(category("origin", &["EWR", "LGA"])),
        );
        let effect = wider.effects(&places, 9)[0];
        assert_eq!((effect.flagged_now, effect.flagged_then), (4, Some(1)));
    }

    #[test]
    fn a_range_is_widened_to_what_was_seen_beyond_the_tolerance() {
        let expected = number("a", 0.0, 100.0);
        let mut profile = FeatureProfile::numeric(None);
        profile.observe_numbers(&[5.0; 95], None).expect("numbers");
        profile.observe_numbers(&[120.0; 5], None).expect("numbers");
        profile.note_out_of_range(5);
        let seen = Seen {
            profile: &profile,
            rows: 100,
            newest: None,
        };
        let (wanted, reason) = suggested("a", Some(&expected), seen, PATIENCE).expect("a reason");
        assert_eq!((wanted.minimum, wanted.maximum), (Some(0.0), Some(120.0)));
        assert_eq!(reason, "5.0 % of values out of range");
        let tolerant = Patience {
            tolerance: 0.1,
            ..PATIENCE
        };
        assert_eq!(suggested("a", Some(&expected), seen, tolerant), None);
        let few = Patience {
            min_rows: 101,
            ..PATIENCE
        };
        assert_eq!(suggested("a", Some(&expected), seen, few), None);
    }

    #[test]
    fn categories_are_added_that_have_a_share_and_single_ones_are_not() {
        let expected = category("origin", &["EWR"]);
        let mut profile = FeatureProfile::categorical();
        for (name, rows) in [("EWR", 900), ("LGA", 98), ("typo", 2)] {
            profile.observe_category(name, rows).expect("a category");
        }
        profile.note_unseen(100);
        let seen = Seen {
            profile: &profile,
            rows: 1_000,
            newest: None,
        };
        let (wanted, reason) =
            suggested("origin", Some(&expected), seen, PATIENCE).expect("a reason");
        assert_eq!(wanted, category("origin", &["EWR", "LGA"]));
        assert_eq!(reason, "new categories \"LGA\" (9.8 %)");
    }

    #[test]
    fn a_new_feature_or_type_is_what_most_rows_have() {
        let mut evidence = Evidence::default();
        for value in [Value::Integer(3), Value::Integer(8)] {
            evidence.observe(&value);
        }
        let mut profile = FeatureProfile::numeric(None);
        profile.observe_numbers(&[1.0; 60], None).expect("numbers");
        let seen = Seen {
            profile: &profile,
            rows: 100,
            newest: Some(&evidence),
        };
        let (wanted, reason) = suggested("gate", None, seen, PATIENCE).expect("in most rows");
        assert_eq!(wanted.feature_type, FeatureType::Integer);
        assert_eq!(
            (wanted.minimum, wanted.maximum, wanted.required),
            (Some(1.0), Some(8.0), false)
        );
        assert_eq!(reason, "new, in 60.0 % of rows");
        assert_eq!(
            suggested("gate", None, Seen { rows: 200, ..seen }, PATIENCE),
            None
        );

        let mut mismatched = FeatureProfile::categorical();
        mismatched.observe_mismatch(70);
        mismatched.observe_category("EWR", 30).expect("a category");
        let seen = Seen {
            profile: &mismatched,
            ..seen
        };
        let expected = category("origin", &["EWR"]);
        let (wanted, reason) = suggested("origin", Some(&expected), seen, PATIENCE).expect("most");
        assert_eq!(
            (wanted.feature_type, wanted.max_null_share),
            (FeatureType::Integer, 0.05)
        );
        assert!(
            reason.starts_with("70.0 % of values are no category"),
            "{reason}"
        );
    }
}
