//! What goes over a cap is counted, told once, and hurts nobody else.
//!
//! What is counted here, by model and day, is on the model's page and in a metric, and the first of a model, kind and
//! day is an audit event with the name that was sent. From the counts [`super::alerting`] makes one alert for each cap
//! of a project, for the receivers that the project names: a sender that invents names cannot send more than that.

use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Error;
use crate::domain::ids::ProjectId;
use crate::domain::window::Grain;
use crate::storage::audit::{self, AuditEvent};
use crate::storage::models::Model;
use crate::storage::overflow::{self, OverflowKind};

/// What this process has counted, for the metric; by place in [`OverflowKind::ALL`].
static COUNTED: [AtomicU64; OverflowKind::ALL.len()] =
    [const { AtomicU64::new(0) }; OverflowKind::ALL.len()];

/// What this process has counted of each kind since its start.
pub fn counted() -> impl Iterator<Item = (OverflowKind, u64)> {
    let kinds = OverflowKind::ALL.into_iter().zip(&COUNTED);
    kinds.map(|(kind, counted)| (kind, counted.load(Ordering::Relaxed)))
}

/// Counts what went over a cap of a model.
pub(super) async fn note(
    conn: &mut PgConnection,
    model: &Model,
    kind: OverflowKind,
    rows: u64,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let subject = ("model", model.model_id.0, model.name.as_str());
    note_of(conn, model.project_id, subject, kind, rows, now).await
}

/// Counts a model that a project had no room for.
pub(super) async fn note_model(
    conn: &mut PgConnection,
    project_id: ProjectId,
    name: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let subject = ("model", project_id.0, name);
    note_of(conn, project_id, subject, OverflowKind::Models, 1, now).await
}

async fn note_of(
    conn: &mut PgConnection,
    project_id: ProjectId,
    (object_kind, subject_id, name): (&str, Uuid, &str),
    kind: OverflowKind,
    rows: u64,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    if rows == 0 {
        return Ok(());
    }
    let day = Grain::Day.window_at(now).start;
    let is_first = overflow::add(conn, project_id, subject_id, kind, day, rows).await?;
    COUNTED[kind as usize].fetch_add(rows, Ordering::Relaxed);
    if is_first {
        tracing::warn!(
            model = name,
            kind = kind.as_str(),
            rows,
            "over a cap; told once a day"
        );
        let event = AuditEvent {
            project_id: Some(project_id),
            at: now,
            actor: "intake",
            action: "intake.overflowed",
            object_kind,
            object_id: name,
            detail: serde_json::json!({"kind": kind.as_str(), "rows": rows}),
        };
        audit::record(conn, &event).await?;
    }
    Ok(())
}
