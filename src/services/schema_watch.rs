//! Changes of a schema that the service itself proposes, after what it has seen: a feature that most rows bring, a
//! range that is too narrow, categories that are new, a type that is another. Proposed is what the findings of the last
//! days give reason for; whether the world has changed or a pipeline is broken is for a person to say.
//!
//! It looks only after a window of the champion has been measured in which something was found, so a fleet that is
//! well costs nothing. What was declined is not proposed again until something else is expected of the feature.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::profiling::{LATENCY, PREDICTION};
use super::schemas::{self, LISTED, LOOKED_BACK, New};
use super::{Error, Services};
use crate::domain::definitions::MonitorDef;
use crate::domain::ids::VersionId;
use crate::domain::measurement::Measure;
use crate::domain::proposal::{
    FeatureChange, Origin, Part, Patience, ProposalState, Seen, suggested,
};
use crate::domain::schema::Evidence;
use crate::storage::models::{self, Model};
use crate::storage::predictions::{self, ColumnKind, Read};
use crate::storage::proposals::{self, Proposal};
use crate::storage::{baselines, measurements};

/// How long an open proposal stands before one with other limits of the same features takes its place: the limits
/// move with every window.
const STANDS: TimeDelta = TimeDelta::days(1);
/// Findings that a change of the schema could answer.
const ANSWERED: [Measure; 4] = [
    Measure::UnexpectedFeature,
    Measure::WrongType,
    Measure::OutOfRange,
    Measure::UnseenCategory,
];

/// Looks at what a schema monitor has found of a version in the last days, and proposes what follows. Returns whether
/// there is a new proposal.
///
/// # Errors
/// When the database fails.
pub(super) async fn look(
    services: &Services,
    model: &Model,
    version_id: VersionId,
    monitor: &MonitorDef,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let mut tx = services.pool.begin().await?;
    let mut features = found(&mut tx, version_id, monitor, now).await?;
    features.retain(|feature| feature != PREDICTION && feature != LATENCY);
    if features.is_empty() {
        return Ok(false);
    }
    models::lock(&mut tx, model.model_id).await?;
    let Some(present) = baselines::schema(&mut tx, model.model_id).await? else {
        return Ok(false);
    };
    let seen = schemas::seen_lately(&mut tx, model, version_id, &features, now).await?;
    let newest = newest_rows(&mut tx, version_id, &features, now).await?;
    let patience = Patience {
        min_rows: monitor.min_rows,
        tolerance: monitor.tolerance,
    };
    let earlier = proposals::of_model(&mut tx, model.model_id, LISTED).await?;
    let mut changes = Vec::new();
    let mut reasons = Vec::new();
    for feature in features {
        let Some(profile) = seen.profiles.get(&feature) else {
            continue;
        };
        let expected = present.features.iter().find(|f| f.feature == feature);
        let of_newest = newest.iter().find(|(name, _)| *name == feature);
        let seen = Seen {
            profile,
            rows: seen.rows,
            newest: of_newest.map(|(_, evidence)| evidence),
        };
        let Some((wanted, reason)) = suggested(&feature, expected, seen, patience) else {
            continue;
        };
        let change = FeatureChange {
            from: expected.cloned(),
            to: Some(wanted),
            effects: Vec::new(),
            feature,
        };
        if !was_declined(&earlier, &change) {
            reasons.push(format!("{}: {reason}", change.feature));
            changes.push(change);
        }
    }
    // What is about to be in force may be just this.
    if (earlier.iter()).any(|p| p.state == ProposalState::Accepting) {
        return Ok(false);
    }
    let open = earlier
        .iter()
        .find(|p| p.origin == Origin::Observed && p.state == ProposalState::Proposed);
    if changes.is_empty() || open.is_some_and(|open| still_stands(open, &changes, now)) {
        return Ok(false);
    }
    if let Some(open) = open {
        schemas::supersede(&mut tx, model, open, "a newer look at the data", now).await?;
    }
    let new = New {
        origin: Origin::Observed,
        source: format!(
            "what came in during the last {} days",
            LOOKED_BACK.num_days()
        ),
        reason: reasons.join("\n"),
        notes: Vec::new(),
        changes,
    };
    schemas::add(&mut tx, model, Some(&present), new, "bellwether", now).await?;
    tx.commit().await?;
    Ok(true)
}

async fn found(
    conn: &mut PgConnection,
    version_id: VersionId,
    monitor: &MonitorDef,
    now: DateTime<Utc>,
) -> Result<Vec<String>, Error> {
    let measures = ANSWERED.map(|measure| measure.as_str().to_owned());
    let days = (now - LOOKED_BACK, now);
    Ok(measurements::drifted_features(conn, version_id, &monitor.name, &measures, days).await?)
}

/// What the rows of the newest chunk say of some features, value by value: profiles know neither the type of what
/// they do not expect nor that of what does not fit.
async fn newest_rows(
    conn: &mut PgConnection,
    version_id: VersionId,
    features: &[String],
    now: DateTime<Utc>,
) -> Result<Vec<(String, Evidence)>, Error> {
    let chunks = predictions::chunks_between(conn, version_id, now - LOOKED_BACK, now).await?;
    let Some((day, chunk)) = chunks.last() else {
        return Ok(Vec::new());
    };
    let read = Read::Rows { features };
    let chunk = predictions::chunk(conn, version_id, *day, *chunk, read).await?;
    let evidence = chunk.columns(ColumnKind::Feature).map(|column| {
        let mut evidence = Evidence::default();
        for value in column.iter() {
            evidence.observe(&value);
        }
        (column.name.clone(), evidence)
    });
    Ok(evidence.collect())
}

/// Whether somebody has declined this much already: the same parts of a feature of which the same was expected.
fn was_declined(earlier: &[Proposal], change: &FeatureChange) -> bool {
    let declined = earlier
        .iter()
        .filter(|p| p.origin == Origin::Observed && p.state == ProposalState::Declined);
    let mut changes = declined.flat_map(|p| p.changes.iter());
    changes.any(|before| {
        before.feature == change.feature
            && before.from == change.from
            && change
                .parts()
                .iter()
                .all(|part| before.parts().contains(part))
    })
}

/// Whether an open proposal is about the same, or is so young that it does not matter.
fn still_stands(open: &Proposal, changes: &[FeatureChange], now: DateTime<Utc>) -> bool {
    let about = |changes: &[FeatureChange]| -> Vec<(String, Vec<Part>)> {
        changes
            .iter()
            .map(|c| (c.feature.clone(), c.parts()))
            .collect()
    };
    let targets =
        |changes: &[FeatureChange]| -> Vec<_> { changes.iter().map(|c| c.to.clone()).collect() };
    about(&open.changes) == about(changes)
        && (targets(&open.changes) == targets(changes) || now - open.proposed_at < STANDS)
}
