//! Comparing two versions on the predictions that both made and whose label is known.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::Error;
use super::quality::{self, QualityOutcome, QualityValue, Wanted};
use crate::domain::gate::{self, Comparison};
use crate::domain::ids::VersionId;
use crate::domain::measurement::{Measure, Segment};
use crate::domain::quality::QualityChoice;
use crate::domain::runbook::Gate;
use crate::domain::window::Grain;
use crate::storage::models::Model;
use crate::storage::{labels, windows};

/// The window a gate compares on: whole days, from the first one the candidate has predicted in full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GateWindow {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// When the labels have had their time.
    pub decidable_at: DateTime<Utc>,
}

/// The window for a candidate delivered at `delivered_at`; nothing before its first prediction.
///
/// # Errors
/// When the database fails.
pub async fn window(
    conn: &mut PgConnection,
    candidate: VersionId,
    gate: &Gate,
    delivered_at: DateTime<Utc>,
) -> Result<Option<GateWindow>, Error> {
    let Some((first, _)) = windows::span(conn, candidate).await? else {
        return Ok(None);
    };
    let from = first_whole_day(first.max(delivered_at));
    let to = from + TimeDelta::days(i64::from(gate.days));
    Ok(Some(GateWindow {
        from,
        to,
        decidable_at: to + TimeDelta::seconds(gate.label_wait_seconds),
    }))
}

fn first_whole_day(at: DateTime<Utc>) -> DateTime<Utc> {
    let day = Grain::Day.window_at(at);
    if day.start == at { day.start } else { day.end }
}

/// Both versions' values of a measure, overall and per segment.
///
/// # Errors
/// When the database fails.
pub async fn compare(
    conn: &mut PgConnection,
    model: &Model,
    (candidate, champion): (VersionId, VersionId),
    measure: Measure,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> Result<Vec<Comparison>, Error> {
    let shared = labels::shared_outcomes(conn, candidate, champion, from, to).await?;
    let (mut of_candidate, mut of_champion) = (
        Vec::with_capacity(shared.len()),
        Vec::with_capacity(shared.len()),
    );
    for (a, b) in shared {
        let segments = a.segments.clone();
        of_candidate.push((QualityOutcome::of_stored(a), segments.clone()));
        of_champion.push((QualityOutcome::of_stored(b), segments));
    }
    let wanted = Wanted {
        measures: &[measure],
        choice: &QualityChoice::default(),
    };
    let champion_values = quality::by_segment(model, wanted, &of_champion);
    Ok(quality::by_segment(model, wanted, &of_candidate)
        .into_iter()
        .map(|(segment, values)| {
            let candidate = value_of(&values, measure);
            let champion = champion_values
                .get(&segment)
                .and_then(|values| value_of(values, measure));
            Comparison {
                segment: segment_words(&segment),
                measure,
                champion: champion.and_then(QualityValue::value),
                candidate: candidate.and_then(QualityValue::value),
                labels: candidate.map_or(0, |c| c.labels),
                judged: false,
                better: false,
            }
        })
        .collect())
}

fn value_of(values: &[QualityValue], measure: Measure) -> Option<&QualityValue> {
    values.iter().find(|value| value.measure == measure)
}

fn segment_words(segment: &Segment) -> String {
    if segment.is_overall() {
        String::new()
    } else {
        format!("{}={}", segment.name, segment.value)
    }
}

/// Compares and rules.
///
/// # Errors
/// When the database fails.
pub async fn decide(
    conn: &mut PgConnection,
    model: &Model,
    versions: (VersionId, VersionId),
    (gate, measure): (&Gate, Measure),
    window: GateWindow,
) -> Result<(gate::Ruling, Vec<Comparison>), Error> {
    let mut comparisons = compare(conn, model, versions, measure, (window.from, window.to)).await?;
    gate::mark(gate, &mut comparisons);
    Ok((gate::rule(gate, &comparisons), comparisons))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_begins_with_a_whole_day() {
        let at = |text: &str| text.parse::<DateTime<Utc>>().expect("valid");
        assert_eq!(
            first_whole_day(at("2013-03-15T00:00:00Z")),
            at("2013-03-15T00:00:00Z")
        );
        assert_eq!(
            first_whole_day(at("2013-03-15T00:00:01Z")),
            at("2013-03-16T00:00:00Z")
        );
    }
}
