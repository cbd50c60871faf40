//! Features only one file has, and which of them are probably the same under another name.
//!
//! A new column is counted by the yardstick of a missing one: if it is of the same type and its distribution is
//! the missing one's, nearer than any other's, it is named. A name that differs only in case and punctuation is
//! enough where the type is the same.

use super::columns::{self, Job, Plan};
use super::error::ComparisonError;
use crate::domain::skew::Finding;
use crate::domain::skew::renames::{Pair, choose, names_match};
use crate::stats::drift::Comparison;

/// Beyond so many columns on either side, files have nothing to do with each other and no pairs are looked for.
const MOST_COLUMNS: usize = 20;
/// Findings about columns that only one of the files has.
pub(super) fn one_sided(job: &Job<'_>, plans: &[Plan]) -> Result<Vec<Finding>, ComparisonError> {
    let missing = plans.iter().filter(|plan| plan.current.is_none());
    let missing: Vec<&Plan> = missing.filter(|plan| is_required(job, plan)).collect();
    let unexpected: Vec<&Plan> = plans
        .iter()
        // What only the model's file names is in neither.
        .filter(|plan| plan.reference.is_none() && plan.current.is_some())
        .collect();
    let pairs = pairs(job, &missing, &unexpected)?;
    let mut findings = Vec::new();
    for (at, plan) in missing.iter().enumerate() {
        let renamed = pairs.iter().find(|pair| pair.missing == at);
        let Some(pair) = renamed else {
            findings.push(if plan.reference.is_some() {
                Finding::missing(&plan.name)
            } else {
                Finding::lacking(&plan.name)
            });
            continue;
        };
        let name = &unexpected[pair.unexpected].name;
        findings.push(Finding::renamed(&plan.name, name, &pair.reason()));
    }
    let taken = |at: usize| pairs.iter().any(|pair| pair.unexpected == at);
    let others = unexpected.iter().enumerate().filter(|(at, _)| !taken(*at));
    findings.extend(others.map(|(_, plan)| Finding::unexpected(&plan.name)));
    Ok(findings)
}

/// Whether rows of the current file have to have a feature: what the reference has they do, unless it is said otherwise.
fn is_required(job: &Job<'_>, plan: &Plan) -> bool {
    let settings = job.settings;
    let said = settings.overrides.get(&plan.name);
    let by_itself = plan.reference.is_some() || (said.is_some() && settings.closed);
    said.map_or(by_itself, |said| {
        said.is_required_in(settings.environment.iter().map(String::as_str), by_itself)
    })
}

/// The likely pairs, each column in one of them at the most.
fn pairs(
    job: &Job<'_>,
    missing: &[&Plan],
    unexpected: &[&Plan],
) -> Result<Vec<Pair>, ComparisonError> {
    let in_file = |plan: &&&Plan| plan.reference.is_some();
    if missing.len().max(unexpected.len()) > MOST_COLUMNS || unexpected.is_empty() {
        return Ok(Vec::new());
    }
    let readable = |plan: &Plan| {
        let refused = plan
            .current
            .and_then(|at| job.current.columns()[at].refused.as_ref());
        refused.is_none()
    };
    let mut candidates = Vec::new();
    for (at, plan) in missing.iter().enumerate().filter(|(_, plan)| in_file(plan)) {
        let refused = plan
            .reference
            .and_then(|at| job.reference.columns()[at].refused.as_ref());
        if refused.is_some() {
            continue;
        }
        for (other, candidate) in unexpected
            .iter()
            .enumerate()
            .filter(|(_, plan)| readable(plan))
        {
            if let Some(distance) = distance(job, plan, candidate)? {
                candidates.push(Pair {
                    missing: at,
                    unexpected: other,
                    same_name: names_match(&plan.name, &candidate.name),
                    distance,
                });
            }
        }
    }
    Ok(choose(candidates))
}

/// The distance between a missing column and a new one; `None` when they are not of one type.
fn distance(
    job: &Job<'_>,
    missing: &Plan,
    unexpected: &Plan,
) -> Result<Option<f64>, ComparisonError> {
    let Some(column) = unexpected.current else {
        return Ok(None);
    };
    let fitted = columns::fit(job, std::slice::from_ref(missing), 1)?;
    let counted = columns::count_current(job, &[column], &fitted, 1)?;
    let (Some(fitted), Some(counted)) = (fitted.first(), counted.first()) else {
        return Ok(None);
    };
    let expected = fitted
        .yardstick
        .expectation
        .as_ref()
        .map(|e| e.feature_type);
    let seen = expected.and_then(|expected| counted.habits.type_beside(expected));
    let (Some(expected), Some(seen)) = (expected, seen) else {
        return Ok(None);
    };
    if expected != seen && !(expected.is_numeric() && seen.is_numeric()) {
        return Ok(None);
    }
    let (reference, current) = (fitted.whole(job), counted.whole(job.in_current));
    let (Some(reference), Some(current)) = (reference, current) else {
        return Ok(None);
    };
    let comparison = Comparison::of(&reference, &current, fitted.yardstick.grid.as_ref());
    Ok(comparison
        .ok()
        .map(|comparison| comparison.jensen_shannon().value))
}
