//! The demo's flights, embedded in the binary. `demo/data/air-time/README.md` says where they come from.

use std::collections::HashMap;

use anyhow::Context;
use bytes::Bytes;
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::{Map, Value as Json, json};

use crate::domain::batch::{LabelValue, PredictionBatch};
use crate::domain::columns::Value;
use crate::domain::mapping::NO_COLUMNS;
use crate::domain::model::Task;
use crate::formats::{self, Expectations, Format, Limits};

/// What the champion was trained on.
pub(super) const TRAINING: &[u8] =
    include_bytes!("../../../demo/data/air-time/training-v1.parquet");
/// The configuration that the demo applies.
pub(super) const CONFIGURATION: &str = include_str!("../../../demo/bellwether.yaml");

const PREDICTIONS: [(&str, &[u8]); 3] = [
    (
        "v1",
        include_bytes!("../../../demo/data/air-time/predictions-v1.parquet"),
    ),
    (
        "v2",
        include_bytes!("../../../demo/data/air-time/predictions-v2.parquet"),
    ),
    (
        "v3",
        include_bytes!("../../../demo/data/air-time/predictions-v3.parquet"),
    ),
];
const LABELS: &[u8] = include_bytes!("../../../demo/data/air-time/labels.parquet");

/// The feature that goes wrong for three days in August, and what it is sent as then.
const SKEWED_FEATURE: &str = "wind_direction";
const COMPASS: [&str; 16] = [
    "N", "NNE", "NE", "ENE", "E", "ESE", "SE", "SSE", "S", "SSW", "SW", "WSW", "W", "WNW", "NW",
    "NNW",
];

/// When the replay begins.
pub(super) fn start() -> DateTime<Utc> {
    day(2013, 2, 15)
}

/// The last instant of the replay.
pub(super) fn end() -> DateTime<Utc> {
    day(2014, 1, 1) - TimeDelta::seconds(1)
}

/// The first and the day after the last day on which the wind's direction is sent as text.
pub(super) fn skewed_days() -> (DateTime<Utc>, DateTime<Utc>) {
    (day(2013, 8, 12), day(2013, 8, 15))
}

pub(super) fn day(year: i32, month: u32, day: u32) -> DateTime<Utc> {
    NaiveDate::from_ymd_opt(year, month, day)
        .unwrap_or_default()
        .and_time(chrono::NaiveTime::MIN)
        .and_utc()
}

/// All flights, ready to be sent.
#[derive(Debug)]
pub(super) struct Flights {
    /// The champion's predictions, with the features of every flight, in order of time.
    champion: PredictionBatch,
    /// Per version: its predictions as rows of the champion's batch and values, in order of time.
    versions: Vec<(&'static str, Vec<(usize, f64)>)>,
    /// Labels in the order they were observed: when, whose, what.
    labels: Vec<(DateTime<Utc>, String, f64)>,
}

impl Flights {
    /// Decodes the embedded files.
    pub(super) fn load() -> anyhow::Result<Self> {
        let mut batches = PREDICTIONS
            .iter()
            .map(|(version, file)| {
                let decoded =
                    formats::decode_predictions(Format::Parquet, file, &expectations(version))?;
                Ok((*version, decoded.batch))
            })
            .collect::<anyhow::Result<Vec<_>>>()
            .context("read the demo's predictions")?;
        let champion = batches[0].1.clone();
        let rows: HashMap<&str, usize> = champion
            .prediction_ids
            .iter()
            .enumerate()
            .map(|(row, id)| (id, row))
            .collect();
        let versions = batches
            .drain(..)
            .map(|(version, batch)| {
                let mut values: Vec<(usize, f64)> = batch
                    .prediction_ids
                    .iter()
                    .zip(&batch.outputs)
                    .filter_map(|(id, output)| Some((*rows.get(id)?, output.value?)))
                    .collect();
                values.sort_by_key(|(row, _)| champion.predicted_at[*row]);
                (version, values)
            })
            .collect();
        drop(rows);
        let decoded = formats::decode_labels(Format::Parquet, LABELS, &expectations("v1"))
            .context("read the demo's labels")?;
        let mut labels: Vec<(DateTime<Utc>, String, f64)> = decoded
            .batch
            .prediction_ids
            .into_iter()
            .zip(decoded.batch.labels)
            .zip(decoded.batch.observed_at)
            .filter_map(|((id, label), at)| match label {
                LabelValue::Number(value) => Some((at, id, value)),
                LabelValue::Class(_) => None,
            })
            .collect();
        labels.sort_by_key(|(at, _, _)| *at);
        Ok(Self {
            champion,
            versions,
            labels,
        })
    }

    /// The predictions of a version made in `[from, to)`, as NDJSON.
    pub(super) fn predictions(
        &self,
        version: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
    ) -> Option<Bytes> {
        let (_, values) = self.versions.iter().find(|(name, _)| *name == version)?;
        let at = |entry: &(usize, f64)| self.champion.predicted_at[entry.0];
        let first = values.partition_point(|entry| at(entry) < from);
        let last = values.partition_point(|entry| at(entry) < to);
        let lines = values[first..last].iter().map(|(row, value)| {
            json!({
                "prediction_id": self.champion.prediction_ids[*row],
                "timestamp": self.champion.predicted_at[*row],
                "version": version,
                "prediction": value,
                "features": self.features(*row),
            })
        });
        ndjson(lines)
    }

    /// The labels observed in `[from, to)`, as NDJSON.
    pub(super) fn labels(&self, from: DateTime<Utc>, to: DateTime<Utc>) -> Option<Bytes> {
        let first = self.labels.partition_point(|(at, _, _)| *at < from);
        let last = self.labels.partition_point(|(at, _, _)| *at < to);
        let lines = self.labels[first..last]
            .iter()
            .map(|(at, id, value)| json!({"prediction_id": id, "label": value, "observed_at": at}));
        ndjson(lines)
    }

    fn features(&self, row: usize) -> Map<String, Json> {
        let (from, to) = skewed_days();
        let skewed = (from..to).contains(&self.champion.predicted_at[row]);
        self.champion
            .features
            .iter()
            .filter_map(|column| {
                let value = match column.get(row) {
                    Value::Absent => return None,
                    Value::Null => Json::Null,
                    Value::Number(degrees) if skewed && column.name == SKEWED_FEATURE => {
                        json!(compass(degrees))
                    }
                    Value::Number(n) => json!(n),
                    Value::Integer(n) => json!(n),
                    Value::Boolean(b) => json!(b),
                    Value::Text(text) => json!(text),
                    Value::Timestamp(at) => json!(at),
                    Value::Vector(vector) => json!(vector),
                };
                Some((column.name.clone(), value))
            })
            .collect()
    }
}

fn expectations(version: &str) -> Expectations<'_> {
    Expectations {
        task: Task::Regression,
        default_version: Some(version),
        earliest: day(2013, 1, 1),
        latest: day(2014, 1, 3),
        received_at: day(2013, 1, 1),
        columns: &NO_COLUMNS,
        limits: Limits::default(),
    }
}

fn ndjson(lines: impl Iterator<Item = Json>) -> Option<Bytes> {
    let mut body = String::new();
    for line in lines {
        body.push_str(&line.to_string());
        body.push('\n');
    }
    (!body.is_empty()).then(|| Bytes::from(body))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "sixteenths of a circle, taken modulo sixteen"
)]
fn compass(degrees: f64) -> &'static str {
    let sixteenth = (degrees.rem_euclid(360.0) / 22.5).round() as usize;
    COMPASS[sixteenth % COMPASS.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn degrees_become_the_points_of_the_compass() {
        let cases = [
            (0.0, "N"),
            (11.0, "N"),
            (12.0, "NNE"),
            (90.0, "E"),
            (315.0, "NW"),
            (350.0, "N"),
            (360.0, "N"),
        ];
        for (degrees, point) in cases {
            assert_eq!(compass(degrees), point, "{degrees}");
        }
    }
}
