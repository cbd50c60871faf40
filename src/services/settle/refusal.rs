//! Rows that were acknowledged and must not be stored any more: their day was closed meanwhile, or the prediction was
//! erased. They are counted as rejected, so that the account of the intake stays whole.

use std::collections::{BTreeMap, HashSet};

use sqlx::PgConnection;

use super::Unpacked;
use crate::domain::ids::BatchId;
use crate::domain::window::Grain;
use crate::services::{Error, erasure};
use crate::storage::intake::{BatchKind, Settled};
use crate::storage::models::Model;
use crate::storage::retention;

/// How many rows of each batch were refused.
#[derive(Default)]
pub(super) struct Refusals {
    late: BTreeMap<BatchId, u64>,
    erased: BTreeMap<BatchId, u64>,
}

impl Refusals {
    /// Takes out what must not be stored. Batches that come from the archive may bring rows of closed days, if these
    /// are being given back.
    pub(super) async fn judge(
        &mut self,
        conn: &mut PgConnection,
        model: &Model,
        unpacked: &mut Unpacked,
    ) -> Result<(), Error> {
        self.refuse_late(conn, model, unpacked).await?;
        self.refuse_erased(conn, model, unpacked).await
    }

    async fn refuse_late(
        &mut self,
        conn: &mut PgConnection,
        model: &Model,
        unpacked: &mut Unpacked,
    ) -> Result<(), Error> {
        let pack = &mut unpacked.predictions;
        let marks = retention::marks(conn, model.project_id).await?;
        if !pack
            .rows()
            .predicted_at
            .iter()
            .any(|at| marks.is_closed(*at))
        {
            return Ok(());
        }
        let days = retention::restored_of(conn, model.model_id).await?;
        let restored = pack.restored();
        let keep: Vec<bool> = (pack.rows().predicted_at.iter().zip(restored))
            .map(|(at, restored)| {
                let is_given_back = restored && days.contains(&Grain::Day.window_at(*at).start);
                is_given_back || !marks.is_closed(*at)
            })
            .collect();
        for (batch_id, rows) in pack.keep_rows(&keep) {
            *self.late.entry(batch_id).or_default() += rows;
        }
        Ok(())
    }

    async fn refuse_erased(
        &mut self,
        conn: &mut PgConnection,
        model: &Model,
        unpacked: &mut Unpacked,
    ) -> Result<(), Error> {
        let Some(hasher) = erasure::hasher_if_any(conn, model.model_id).await? else {
            return Ok(());
        };
        let pack = &mut unpacked.predictions;
        let ids = pack.rows().prediction_ids.iter();
        let of_labels = unpacked
            .labels
            .iter()
            .flat_map(|batch| &batch.rows.prediction_ids);
        let all: Vec<&str> = ids.chain(of_labels.map(String::as_str)).collect();
        let erased: HashSet<String> = hasher.erased(conn, &all).await?;
        if erased.is_empty() {
            return Ok(());
        }
        let keep: Vec<bool> = (pack.rows().prediction_ids.iter())
            .map(|id| !erased.contains(id))
            .collect();
        for (batch_id, rows) in pack.keep_rows(&keep) {
            *self.erased.entry(batch_id).or_default() += rows;
        }
        for batch in &mut unpacked.labels {
            let before = batch.rows.len();
            batch.rows.retain(|id| !erased.contains(id));
            let lost = (before - batch.rows.len()) as u64;
            *self.erased.entry(batch.batch_id).or_default() += lost;
        }
        Ok(())
    }

    /// Puts the counts beside what became of the other rows.
    pub(super) fn tell(&self, settled: &mut [(BatchId, BatchKind, Settled)]) {
        for (batch_id, _, of) in settled {
            of.late = self.late.get(batch_id).copied().unwrap_or(0);
            of.erased = self.erased.get(batch_id).copied().unwrap_or(0);
        }
    }
}
