//! Traffic: how many predictions, how many of them failed, how long they took.

use super::scene::Gathered;
use super::share;
use super::subject::Subject;
use crate::domain::measurement::{Measure, Measurement, Recipe, Segment, Status};
use crate::services::profiling::{LATENCY, PREDICTION};
use crate::stats::quality::wilson_interval;

const QUANTILES: [(Measure, f64); 3] = [
    (Measure::LatencyP50, 0.5),
    (Measure::LatencyP95, 0.95),
    (Measure::LatencyP99, 0.99),
];

/// Traffic per segment, error rate overall, latency quantiles per segment that reports latencies.
#[expect(clippy::cast_precision_loss, reason = "a count of rows as a value")]
pub(super) fn measure(subject: &Subject<'_>, current: &Gathered) -> Vec<Measurement> {
    let mut values = vec![error_rate(subject)];
    for (segment, feature) in &current.unknown {
        let measures: Vec<Measure> = match feature.as_str() {
            PREDICTION => vec![Measure::Traffic],
            LATENCY => QUANTILES.map(|(measure, _)| measure).to_vec(),
            _ => continue,
        };
        values.extend((measures.iter()).map(|measure| subject.unknown(segment, "", *measure)));
    }
    for (segment, features) in &current.profiles {
        if let Some(predictions) = features.get(PREDICTION) {
            let rows = predictions.counts().rows;
            values.push(Measurement {
                value: Some(rows as f64),
                status: Status::Ok,
                current_rows: rows,
                recipe: method("number of predictions by event time"),
                ..subject.blank(segment, "", Measure::Traffic)
            });
        }
        if let Some(latency) = features.get(LATENCY) {
            values.extend(QUANTILES.into_iter().map(|(measure, q)| Measurement {
                value: latency.quantile(q),
                status: if latency.valid() > 0 {
                    Status::Ok
                } else {
                    Status::Insufficient
                },
                current_rows: latency.valid(),
                recipe: Recipe {
                    error_bound: Some(0.0133),
                    ..method("quantile sketch (KLL, k = 200); the bound is of its rank, at 99 %")
                },
                ..subject.blank(segment, "", measure)
            }));
        }
    }
    values
}

fn error_rate(subject: &Subject<'_>) -> Measurement {
    let predictions = u64::try_from(subject.totals.predictions).unwrap_or(0);
    let errors = u64::try_from(subject.totals.errors).unwrap_or(0);
    let value = share(errors, predictions);
    Measurement {
        value,
        interval: wilson_interval(errors.min(predictions), predictions),
        status: if value.is_some() {
            Status::Ok
        } else {
            Status::Insufficient
        },
        current_rows: predictions,
        recipe: method(&format!(
            "{errors} of {predictions} predictions report an error"
        )),
        ..subject.blank(&Segment::overall(), "", Measure::ErrorRate)
    }
}

fn method(text: &str) -> Recipe {
    Recipe {
        method: text.to_owned(),
        ..Recipe::default()
    }
}
