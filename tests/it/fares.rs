//! The model most stories are about: a regression of fares, with a number, an integer and a category as
//! features and the place of departure as segment.

use bellwether::domain::clock::Clock;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::app::TestApp;

/// The model's declaration, for `name`.
pub fn declared(name: &str) -> String {
    format!(
        "  - name: {name}
    task: regression
    unit: euros
    window: day
    segments: [origin]
    baselines:
      training: {{file: training.ndjson}}
    schema:
      from: training
      features:
        distance: {{min: 0, max: 1000}}
    monitors:
      - {{name: schema, kind: schema, window: day, tolerance: 0.05, min_rows: 10}}
      - {{name: drift, kind: drift, window: day, baseline: training, min_rows: 10, thresholds: {{psi: 0.25}}}}
      - {{name: quality, kind: quality, window: day, baseline: training, min_labels: 5}}
      - {{name: traffic, kind: traffic, window: day}}
"
    )
}

/// A configuration with nothing but the model.
pub fn configuration(name: &str) -> String {
    format!("models:\n{}", declared(name))
}

/// Two hundred rows of training data whose predictions are off by one.
pub fn training() -> Vec<Value> {
    (0..200)
        .map(|i| {
            let mut row = features(i);
            row["prediction"] = json!(f64::from(i % 50) + 1.0);
            row["label"] = json!(f64::from(i % 50));
            row
        })
        .collect()
}

/// The features of the `i`th row.
pub fn features(i: i32) -> Value {
    let carriers = ["AA", "UA", "DL"];
    json!({
        "distance": f64::from(i * 37 % 1000),
        "seats": 1 + i % 4,
        "carrier": carriers[usize::try_from(i % 3).expect("small")],
        "origin": if i % 2 == 0 { "EWR" } else { "JFK" },
    })
}

/// The `i`th prediction of a day, at noon and as many minutes.
pub fn prediction(day: DateTime<Utc>, i: i32) -> Value {
    let mut row = features(i);
    row["prediction_id"] = json!(id(day, i));
    row["timestamp"] = json!(day + TimeDelta::hours(12) + TimeDelta::minutes(i.into()));
    row["prediction"] = json!(f64::from(i % 50) + 1.0);
    row["latency_ms"] = json!(10.0 + f64::from(i % 7));
    row
}

/// The label of that prediction, if the prediction is off by `error`.
pub fn label(day: DateTime<Utc>, i: i32, error: f64) -> Value {
    json!({
        "prediction_id": id(day, i),
        "label": f64::from(i % 50) + 1.0 - error,
        "observed_at": day + TimeDelta::hours(20),
    })
}

/// The id of the `i`th prediction of a day.
pub fn id(day: DateTime<Utc>, i: i32) -> String {
    format!("{}-{i}", day.format("%Y%m%d"))
}

/// The predictions of a day.
pub fn day(day: DateTime<Utc>, rows: i32) -> Vec<Value> {
    (0..rows).map(|i| prediction(day, i)).collect()
}

/// The labels of a day.
pub fn labels(day: DateTime<Utc>, rows: i32, error: f64) -> Vec<Value> {
    (0..rows).map(|i| label(day, i, error)).collect()
}

impl TestApp {
    /// The model with its champion v1 and its training data, and rules where the story has some.
    pub async fn with_fares(&self, more: &str) {
        self.apply(&format!("{}{more}", configuration("fares")))
            .await;
        self.version("fares", "v1").await;
        self.fit("fares", "training", &training()).await;
    }

    /// Lives through the present day: predictions and labels that are off by `error`, then midnight.
    pub async fn live_day(&self, error: f64) {
        let today = self.clock.now();
        self.predict("fares", &day(today, 40)).await;
        self.label("fares", &labels(today, 40, error)).await;
        self.tick_at(today + TimeDelta::days(1)).await;
    }
}
