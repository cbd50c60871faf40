//! Recipes as they are read: with the bins a value was computed over.
//!
//! The bins are the baseline's, the same for thousands of values, so they are not stored with each of them. What is stored is how
//! many there were and which edges lie beside the baseline's; the others are put in here, when somebody reads a value. Where they do
//! not make up the number that was compared, nothing is put in: a value is better off without edges than with wrong ones.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;
use sqlx::PgConnection;

use super::Error;
use crate::domain::ids::{BaselineId, ModelId};
use crate::domain::measurement::{Measure, Segment};
use crate::stats::DriftMeasure;
use crate::stats::profile::FeatureProfile;
use crate::storage::baselines::{self, PastGrid};
use crate::storage::measurements::StoredMeasurement;

/// Puts the edges, or the categories of the baseline, into the recipes of values over bins; with `cells`, also the edges of the cells
/// into those over cells, about 256 numbers each.
///
/// # Errors
/// When the database fails.
pub async fn complete(
    conn: &mut PgConnection,
    model_id: ModelId,
    values: &mut [StoredMeasurement],
    cells: bool,
) -> Result<(), Error> {
    let over = |value: &StoredMeasurement| {
        let drift = value.measure.parse().ok().and_then(Measure::drift)?;
        let is_wanted = drift.is_over_bins() || (cells && drift.needs_order());
        is_wanted.then_some(drift)
    };
    let wanted = values.iter().filter(|value| over(value).is_some());
    let features: BTreeSet<String> = wanted.map(|value| value.feature.clone()).collect();
    if features.is_empty() {
        return Ok(());
    }
    let features: Vec<String> = features.into_iter().collect();
    let grids = baselines::grids_of(conn, model_id, &features).await?;
    let of_categories = |value: &&StoredMeasurement| {
        over(value).is_some_and(DriftMeasure::is_over_bins) && grid_of(&grids, value).is_none()
    };
    let named: BTreeSet<BaselineId> = (values.iter().filter(of_categories))
        .filter_map(|value| value.baseline_id)
        .collect();
    let mut categories = Categories::new();
    for baseline_id in named {
        for stored in baselines::profiles(conn, baseline_id, Some(&features)).await? {
            // What is damaged is told where it is measured.
            let Ok(profile) = FeatureProfile::decode(&stored.profile) else {
                continue;
            };
            let names = profile.categories().map(|(name, _)| name.to_owned());
            let names: Vec<String> = names.collect();
            categories.insert((baseline_id, stored.segment, stored.feature), names);
        }
    }
    for value in values {
        let Some(drift) = over(value) else { continue };
        let found = match grid_of(&grids, value) {
            Some(grid) if drift.is_over_bins() => {
                bins(grid, value).map(|edges| ("edges", json!(edges)))
            }
            Some(grid) => Some(("edges", json!(grid.edges)))
                .filter(|_| compared(value) == Some(grid.edges.len() + 1)),
            None => of_baseline(&categories, value).map(|names| ("categories", json!(names))),
        };
        if let (Some((name, bins)), Some(recipe)) = (found, value.recipe.as_object_mut()) {
            recipe.insert(name.to_owned(), bins);
        }
    }
    Ok(())
}

/// The categories of a baseline's features, by segment.
type Categories = BTreeMap<(BaselineId, Segment, String), Vec<String>>;

/// The grid that was in force when the value was measured.
fn grid_of<'g>(grids: &'g [PastGrid], value: &StoredMeasurement) -> Option<&'g PastGrid> {
    grids.iter().find(|grid| {
        grid.feature == value.feature
            && grid.created_at <= value.measured_at
            && grid
                .retired_at
                .is_none_or(|retired| value.measured_at < retired)
    })
}

/// How many bins or cells were compared.
fn compared(value: &StoredMeasurement) -> Option<usize> {
    usize::try_from(value.recipe["bins"].as_u64()?).ok()
}

/// The baseline's deciles and the edges beside them.
fn bins(grid: &PastGrid, value: &StoredMeasurement) -> Option<Vec<f64>> {
    let outer = value.recipe["outer_edges"].as_array();
    let outer = outer
        .into_iter()
        .flatten()
        .filter_map(serde_json::Value::as_f64);
    let mut edges: Vec<f64> = grid.decile_edges.iter().copied().chain(outer).collect();
    edges.sort_by(f64::total_cmp);
    edges.dedup();
    (compared(value) == Some(edges.len() + 1)).then_some(edges)
}

fn of_baseline<'c>(categories: &'c Categories, value: &StoredMeasurement) -> Option<&'c [String]> {
    let baseline_id = value.baseline_id?;
    let names = categories.get(&(baseline_id, value.segment.clone(), value.feature.clone()))?;
    (!names.is_empty()).then_some(names)
}
