//! Realised quality, with label coverage beside it.

use std::collections::{BTreeMap, HashSet};

use chrono::TimeDelta;
use sqlx::PgConnection;

use super::quality_reference::QualityReference;
use super::share;
use super::subject::Subject;
use crate::domain::measurement::{Measure, Measurement, Projected, Recipe, Segment, Status};
use crate::services::Error;
use crate::services::maturity::{self, LabelReference, Outlook};
use crate::services::profiling::PREDICTION;
use crate::services::quality::{self, QualityValue, Wanted, why_insufficient};
use crate::stats::quality::Maturity;
use crate::storage::labels::{self, Outcomes};
use crate::storage::profiles;

/// The monitor's measures of quality, overall and per segment.
pub(super) async fn measure(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
) -> Result<Vec<Measurement>, Error> {
    let window = subject.window;
    let Outcomes { rows, seen, one_in } =
        labels::outcomes(conn, subject.version_id, window.start, window.end).await?;
    let outcomes = quality::with_segments(rows);
    let choice = &subject.monitor.quality;
    let wanted = Wanted {
        measures: choice.measures(subject.model.task),
        choice,
    };
    let reference = QualityReference::load(conn, subject, wanted).await?;
    let mut by_segment: BTreeMap<Segment, Vec<QualityValue>> =
        quality::by_segment(subject.model, wanted, &outcomes);
    // Values of segments beyond the cap have no profiles, and are not measured either.
    let counted: HashSet<Segment> = profiles::segments(
        conn,
        subject.version_id,
        subject.window.start,
        subject.window.end,
        PREDICTION,
    )
    .await?
    .into_iter()
    .collect();
    by_segment.retain(|segment, _| segment.is_overall() || counted.contains(segment));
    by_segment.entry(Segment::overall()).or_default();
    let mut values = vec![coverage(subject, seen)];
    let outlook = match choice.labels_within_seconds {
        Some(within) => {
            let (measurement, outlook) = completeness(conn, subject, wanted, within, seen).await?;
            values.push(measurement);
            outlook
        }
        None => None,
    };
    for (segment, qualities) in by_segment {
        for quality in qualities {
            let projected = outlook
                .as_ref()
                .and_then(|outlook| outlook.project(&segment, &quality));
            let drawn = (quality, one_in);
            values.push(of_value(subject, &segment, drawn, &reference, projected));
        }
    }
    Ok(values)
}

fn of_value(
    subject: &Subject<'_>,
    segment: &Segment,
    (quality, one_in): (QualityValue, u64),
    reference: &QualityReference,
    projected: Option<Projected>,
) -> Measurement {
    let before = reference.of(subject, segment, &quality);
    let cause = why_insufficient(&quality, subject.monitor.min_rows);
    let cause = cause.or_else(|| reference.lack.clone());
    let mut over = format!(
        "over the {} predictions of the window whose label is known",
        quality.labels
    );
    if one_in > 1 {
        over = format!(
            "over {} predictions of the window whose label is known, one in {one_in}",
            quality.labels
        );
    }
    Measurement {
        value: quality.value(),
        interval: quality.interval(),
        reference: before.map(|(value, _)| value),
        status: if cause.is_none() {
            Status::Ok
        } else {
            Status::Insufficient
        },
        current_rows: quality.labels,
        reference_rows: before.map_or(0, |(_, labels)| labels),
        baseline_id: subject.baseline_id(),
        recipe: Recipe {
            method: match &quality.note {
                Some(note) => format!("{over}; {note}"),
                None => over,
            },
            cause,
            projected,
            reference: reference.used.clone(),
            ..Recipe::default()
        },
        ..subject.blank(segment, &quality.feature, quality.measure)
    }
}

/// How many of the window's answers have their label. Predictions that failed never get one.
fn coverage(subject: &Subject<'_>, labels: u64) -> Measurement {
    let answered = maturity::answered(subject.totals);
    let value = share(labels, answered);
    Measurement {
        value,
        status: if value.is_some() {
            Status::Ok
        } else {
            Status::Insufficient
        },
        current_rows: answered,
        recipe: Recipe {
            method: format!("{labels} of {answered} predictions without an error"),
            ..Recipe::default()
        },
        ..subject.blank(&Segment::overall(), "", Measure::LabelCoverage)
    }
}

/// How far the window's labels have come by what those of the past took, and what the past says about the values.
async fn completeness(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
    wanted: Wanted<'_>,
    within_seconds: i64,
    labels: u64,
) -> Result<(Measurement, Option<Outlook>), Error> {
    let span = (subject.window.start, subject.window.end);
    let within = TimeDelta::seconds(within_seconds);
    let of = (subject.model, subject.version_id);
    let reference = LabelReference::load(conn, of, span, within, subject.now).await?;
    let outlook = reference.map(|reference| {
        let of = (subject.model, wanted);
        reference.outlook(of, span, (subject.totals, labels), subject.now)
    });
    let blank = Measurement {
        current_rows: maturity::answered(subject.totals),
        ..subject.blank(&Segment::overall(), "", Measure::LabelCompleteness)
    };
    let method = "the share of the labels that came, by the time they took, at the age of the window's predictions";
    let insufficient = |cause: String| Measurement {
        recipe: Recipe {
            method: method.to_owned(),
            cause: Some(cause),
            ..Recipe::default()
        },
        ..blank.clone()
    };
    Ok(match outlook {
        None => (
            insufficient("the version has no labels of predictions that are old enough".to_owned()),
            None,
        ),
        Some(Err(undefined)) => (insufficient(undefined.to_string()), None),
        Some(Ok(outlook)) => (of_outlook(&blank, &outlook, method), Some(outlook)),
    })
}

fn of_outlook(blank: &Measurement, outlook: &Outlook, method: &str) -> Measurement {
    let Maturity {
        coverage,
        expected,
        at_maturity,
        completeness,
        ..
    } = outlook.maturity;
    let matured = if outlook.maturity.is_mature() {
        "the window is mature".to_owned()
    } else {
        format!(
            "it matures at {}",
            outlook.matures_at.format("%Y-%m-%d %H:%M")
        )
    };
    Measurement {
        value: Some(completeness.min(1.0)),
        status: Status::Ok,
        reference_rows: outlook.labels,
        recipe: Recipe {
            method: format!(
                "{method}: by the predictions of {} to {}, of which {at_maturity:.3} got a label, {expected:.3} of the \
                 window's should have one, and {coverage:.3} do; {matured}",
                outlook.from.format("%Y-%m-%d %H:%M"),
                outlook.to.format("%Y-%m-%d %H:%M"),
            ),
            ..Recipe::default()
        },
        ..blank.clone()
    }
}
