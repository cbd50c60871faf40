//! Late data: what a window that is long over says now changes the record, and wakes nobody.
//!
//! A window speaks late when it was due longer ago than `alerting.annotate_after_hours`. Labels come when they come,
//! often days after their predictions, so for quality only a window that has been judged before speaks late: its
//! first verdict is news, however old the window.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{Reading, VALUES, condition_text, judge};
use crate::domain::alert::Verdict;
use crate::domain::ids::VersionId;
use crate::domain::measurement::Measure;
use crate::domain::rule::{Condition, MeasuredCondition, Rule};
use crate::domain::window::Window;
use crate::services::{Error, Services, configuration};
use crate::storage::alerts::{self, AlertEvent};
use crate::storage::measurements::{self, Selection, StoredMeasurement};
use crate::storage::models::Model;

/// Whether what a rule's windows say now is about a time that is long over.
pub(super) async fn is_late(
    services: &Services,
    conn: &mut PgConnection,
    model: &Model,
    rule: &Rule,
    reading: &Reading,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let Condition::Measured(condition) = &rule.condition else {
        return Ok(false);
    };
    let (Some(window), Some(version_id)) = (reading.newest, reading.version_id) else {
        return Ok(false);
    };
    let declared = configuration::model_definition(conn, model).await?;
    let due = window.end + declared.map_or(TimeDelta::zero(), |model| model.predictions_take());
    if due + services.bounds.annotate_after >= now {
        return Ok(false);
    }
    if !needs_labels(condition) {
        return Ok(true);
    }
    let earlier = earlier_verdicts(conn, condition, version_id, window).await?;
    Ok(earlier
        .iter()
        .any(|verdict| !matches!(verdict, Verdict::Insufficient)))
}

fn needs_labels(condition: &MeasuredCondition) -> bool {
    condition
        .measures
        .iter()
        .any(|measure| measure.needs_labels())
}

/// What a window said each time it was measured before, oldest first.
async fn earlier_verdicts(
    conn: &mut PgConnection,
    condition: &MeasuredCondition,
    version_id: VersionId,
    window: Window,
) -> Result<Vec<Verdict>, Error> {
    let superseded = measurements::superseded(
        conn,
        version_id,
        &condition.monitor,
        window.start,
        &measures_read(condition),
        !condition.segments,
        VALUES,
    )
    .await?;
    let same_time =
        |a: &Superseded, b: &Superseded| (a.0, a.1.measured_at) == (b.0, b.1.measured_at);
    Ok(superseded
        .chunk_by(same_time)
        .map(|together| {
            let values: Vec<&StoredMeasurement> = together.iter().map(|(_, value)| value).collect();
            judge(condition, &values).0
        })
        .collect())
}

type Superseded = (DateTime<Utc>, StoredMeasurement);

/// The measures that a condition is judged by.
pub(super) fn measures_read(condition: &MeasuredCondition) -> Vec<String> {
    let measures = condition.measures.iter().map(|m| m.as_str().to_owned());
    measures
        .chain([Measure::LabelCoverage.as_str().to_owned()])
        .collect()
}

/// Notes in the history of resolved alerts that a window they were about says something else than it did. Called
/// when a window has been measured again, in the same transaction.
pub(in crate::services) async fn annotate_resolved(
    conn: &mut PgConnection,
    model: &Model,
    (version_id, monitor, window): (VersionId, &str, Window),
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let resolved = alerts::resolved_about(conn, version_id, window).await?;
    if resolved.is_empty() {
        return Ok(());
    }
    let rules = configuration::rules(conn, model).await?;
    for (alert_id, rule) in resolved {
        let Some(rule) = rules.iter().find(|known| known.name == rule) else {
            continue;
        };
        let Condition::Measured(condition) = &rule.condition else {
            continue;
        };
        if condition.monitor != monitor {
            continue;
        }
        let earlier = earlier_verdicts(conn, condition, version_id, window).await?;
        let verdict = present_verdict(conn, model, condition, version_id, window).await?;
        let before = earlier.last().map_or("nothing", word);
        if before == word(&verdict) {
            continue;
        }
        let now_says = match verdict {
            Verdict::Breach { value, threshold } | Verdict::Fine { value, threshold } => format!(
                "{} ({})",
                word(&verdict),
                condition_text(model, rule, value, threshold)
            ),
            Verdict::Insufficient => word(&verdict).to_owned(),
        };
        let text = format!(
            "the {} from {} was measured again with data that came late: it said {before}, and says {now_says} now",
            window.grain.as_str(),
            window.start.format("%Y-%m-%d %H:%M"),
        );
        let event = AlertEvent {
            kind: "late_data",
            text: &text,
            detail: serde_json::json!({"window_start": window.start, "window_end": window.end}),
            actor: "bellwether",
        };
        alerts::add_event(conn, alert_id, event, now).await?;
    }
    Ok(())
}

async fn present_verdict(
    conn: &mut PgConnection,
    model: &Model,
    condition: &MeasuredCondition,
    version_id: VersionId,
    window: Window,
) -> Result<Verdict, Error> {
    let measures = measures_read(condition);
    let selection = Selection {
        version_id: Some(version_id),
        monitor: Some(&condition.monitor),
        measures: Some(&measures),
        from: Some(window.start),
        to: Some(window.end),
        overall_only: !condition.segments,
        ..Selection::default()
    };
    let values = measurements::of_newest_windows(conn, model.model_id, selection, VALUES).await?;
    let of_window: Vec<&StoredMeasurement> = values.iter().collect();
    Ok(judge(condition, &of_window).0)
}

fn word(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Breach { .. } => "in breach",
        Verdict::Fine { .. } => "fine",
        Verdict::Insufficient => "too little",
    }
}
