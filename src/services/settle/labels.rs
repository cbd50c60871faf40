//! Labels: the one observed last is in force, every other that came is kept.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::{LandedLabels, WindowAdditions, WindowRepeats, add_to_windows, outcomes};
use crate::services::Error;
use crate::storage::intake::Settled;
use crate::storage::keys::KeyFilters;
use crate::storage::labels::{self, StoredLabel};
use crate::storage::models::Model;

/// Puts labels into force, keeps those they replace, and joins them with their predictions.
pub(super) async fn settle(
    conn: &mut PgConnection,
    filters: &KeyFilters,
    model: &Model,
    landed: &LandedLabels,
    now: DateTime<Utc>,
) -> Result<Settled, Error> {
    let (batch_id, batch, received_at) = (landed.batch_id, &landed.rows, landed.received_at);
    let ids: Vec<String> = batch
        .prediction_ids
        .iter()
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .cloned()
        .collect();
    let mut in_force: HashMap<String, StoredLabel> = labels::find(conn, model.model_id, &ids)
        .await?
        .into_iter()
        .map(|label| (label.prediction_id.clone(), label))
        .collect();
    // Every label that ever came, because a correction must survive that what it corrected is sent again.
    let (of_rows, times) = (&batch.prediction_ids, &batch.observed_at);
    let revisions = labels::revisions_observed_at(conn, model.model_id, of_rows, times).await?;
    let mut known: HashSet<Known> = in_force.values().chain(&revisions).map(known).collect();
    let mut settled = Settled::default();
    let mut changed: BTreeMap<String, StoredLabel> = BTreeMap::new();
    let mut outdated = Vec::new();
    for row in 0..batch.len() {
        let id = batch.prediction_ids[row].clone();
        let label = labels::stored(
            id.clone(),
            batch.labels[row].clone(),
            batch.observed_at[row],
            batch_id,
        );
        if !known.insert(self::known(&label)) {
            settled.duplicate += 1;
            continue;
        }
        match in_force.get(&id) {
            Some(present) if present.observed_at > label.observed_at => {
                settled.accepted += 1;
                outdated.push(label);
            }
            _ => {
                settled.accepted += 1;
                if let Some(replaced) = changed.insert(id.clone(), label.clone()) {
                    outdated.push(replaced);
                }
                in_force.insert(id, label);
            }
        }
    }
    labels::keep_revisions(
        conn,
        model.project_id,
        model.model_id,
        &outdated,
        batch_id,
        received_at,
    )
    .await?;
    crate::faults::crash_point("labels.revisions_kept");
    if changed.is_empty() {
        return Ok(settled);
    }
    let changed: Vec<StoredLabel> = changed.into_values().collect();
    labels::put(
        conn,
        model.project_id,
        model.model_id,
        &changed,
        received_at,
    )
    .await?;
    crate::faults::crash_point("labels.put");

    let mut additions = WindowAdditions::new();
    let joined = outcomes::of_labels(conn, filters, model, &changed).await?;
    // Labels that come back from the archive were counted when they came first.
    for joined in joined.iter().filter(|_| !landed.restored) {
        outcomes::note_label(&mut additions, model, joined);
    }
    crate::faults::crash_point("labels.joined");
    add_to_windows(conn, model, additions, WindowRepeats::new(), now).await?;
    Ok(settled)
}

/// What makes a label the one that came before: its prediction, when it was observed, and what it says.
type Known = (String, DateTime<Utc>, Option<u64>, Option<String>);

fn known(label: &StoredLabel) -> Known {
    // 0 and −0 are one label.
    let value = label.value.map(|value| (value + 0.0).to_bits());
    let (id, class) = (label.prediction_id.clone(), label.class.clone());
    (id, label.observed_at, value, class)
}
