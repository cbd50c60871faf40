//! The cap on a model's features: those it was sent first stay, and those its schema expects are always kept. A row
//! that brings more keeps the ones that are known; the values of the others are counted and dropped.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::pack::Pack;
use crate::domain::columns::{Column, Kind};
use crate::services::profiling::Yardstick;
use crate::services::{Bounds, Error, overflow as telling};
use crate::storage::models::Model;
use crate::storage::overflow::{self, OverflowKind};

/// Enters features that new rows bring, and takes out of the pack those there is no room for.
pub(super) async fn keep_known(
    conn: &mut PgConnection,
    model: &Model,
    pack: &mut Pack,
    rows: &[usize],
    (yardstick, bounds): (&Yardstick, Bounds),
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let known = overflow::known_features(conn, model.model_id).await?;
    let known: HashSet<String> = known.into_iter().collect();
    let unknown = pack
        .rows()
        .features
        .iter()
        .filter(|column| !known.contains(&column.name));
    let mut new: Vec<(&str, u64)> = unknown
        .map(|column| (column.name.as_str(), values(column, rows)))
        .filter(|(_, values)| *values > 0)
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    // Whatever the order of the columns, the same of them are kept.
    new.sort_unstable();
    let is_expected = |name: &str| yardstick.expectation(name).is_some();
    new.sort_by_key(|(name, _)| !is_expected(name));
    let expected = new.iter().filter(|(name, _)| is_expected(name)).count();
    let room = bounds.features.saturating_sub(known.len()).max(expected);
    let beyond = new.split_off(room.min(new.len()));
    let kept: Vec<&str> = new.iter().map(|(name, _)| *name).collect();
    if !kept.is_empty() {
        overflow::add_features(conn, model.project_id, model.model_id, &kept, now).await?;
    }
    if beyond.is_empty() {
        return Ok(());
    }
    let dropped = beyond.iter().map(|(_, values)| values).sum();
    telling::note(conn, model, OverflowKind::Features, dropped, now).await?;
    let names: HashSet<String> = beyond.iter().map(|(name, _)| (*name).to_owned()).collect();
    pack.drop_features(&names);
    Ok(())
}

fn values(column: &Column, rows: &[usize]) -> u64 {
    let kinds = column.kinds();
    rows.iter()
        .filter(|row| kinds[**row] != Kind::Absent)
        .count() as u64
}
