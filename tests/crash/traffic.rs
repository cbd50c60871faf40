//! The rows of a made-up world, by a seed: two models, four days, and everything that makes counting hard.
//!
//! `fares` has a baseline, a schema, segments, monitors; `clicks` is a model nobody declared more of than its
//! task, whose versions are registered on sight.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use crate::ledger::{Batch, Feature, Kind, Label, Line, Prediction, Row};

pub const FARES: &str = "fares";
pub const CLICKS: &str = "clicks";

/// How many past days rows belong to.
const DAYS: i64 = 4;
/// How far the labels of `fares` are from the predictions.
const ERROR: f64 = 3.0;

pub struct Traffic {
    pub rng: StdRng,
    /// Midnight of the day the test began on.
    today: DateTime<Utc>,
    serial: i64,
    /// Ids of predictions, with what their label is to be; labels are sent for some, before or after.
    known: Vec<(&'static str, String, f64)>,
    /// Rows whose labels have gone ahead of them.
    held: Vec<Line>,
    /// Good lines of `fares` that were sent, to be sent again.
    past: Vec<Line>,
}

impl Traffic {
    pub fn new(seed: u64, today: DateTime<Utc>) -> Self {
        Self {
            rng: StdRng::seed_from_u64(seed),
            today,
            serial: 0,
            known: Vec::new(),
            held: Vec::new(),
            past: Vec::new(),
        }
    }

    fn next(&mut self) -> i64 {
        self.serial += 1;
        self.serial
    }

    fn moment(&mut self, day: i64) -> DateTime<Utc> {
        let micros = self
            .rng
            .random_range(0..TimeDelta::hours(20).num_milliseconds());
        self.today - TimeDelta::days(day) + TimeDelta::milliseconds(micros)
    }

    /// What a client sends next: predictions of both models, labels, and some of it again.
    pub fn step(&mut self, rows: i64) -> Vec<Batch> {
        let mut batches = vec![self.fares(rows), self.clicks(rows / 2, None, None)];
        batches.push(self.labels(FARES, rows));
        batches.push(self.labels(CLICKS, rows / 2));
        if self.rng.random_range(0..2) == 0 {
            batches.push(self.mixture(rows));
        }
        batches
    }

    /// Predictions of fares that are sent one by one.
    pub fn singles(&mut self, count: usize) -> Vec<Batch> {
        let lines: Vec<Line> = (0..count).map(|_| self.fare()).collect();
        self.past.extend(lines.iter().cloned());
        let single = |line| Batch {
            model: FARES,
            kind: Kind::Predictions,
            lines: vec![line],
        };
        lines.into_iter().map(single).collect()
    }

    /// Predictions of fares, some of them as no service should get them.
    fn fares(&mut self, rows: i64) -> Batch {
        let mut lines = std::mem::take(&mut self.held);
        for _ in 0..rows {
            let line = self.fare();
            match self.rng.random_range(0..10) {
                0 => self.held.push(line),
                1 => {
                    lines.push(line);
                    lines.push(self.bad());
                }
                _ => lines.push(line),
            }
        }
        self.past
            .extend(lines.iter().filter(|line| line.meant.is_ok()).cloned());
        Batch {
            model: FARES,
            kind: Kind::Predictions,
            lines,
        }
    }

    fn fare(&mut self) -> Line {
        let number = self.next();
        let id = format!("fare-{number}");
        let origin = if number % 2 == 0 { "EWR" } else { "JFK" };
        let carrier = ["AA", "UA", "DL"][usize::try_from(number % 3).expect("small")];
        let day = self.rng.random_range(1..=DAYS);
        let value = self.number(50);
        let mut content = Prediction {
            predicted_at: self.moment(day),
            value: Some(value),
            score: None,
            latency_ms: Some(self.number(40)),
            error: None,
            segments: vec![origin.to_owned()],
            features: BTreeMap::from([
                ("distance".to_owned(), Feature::Number(self.number(1_000))),
                (
                    "seats".to_owned(),
                    Feature::Number(f64::from(self.rng.random_range(1..=4))),
                ),
                ("carrier".to_owned(), Feature::Text(carrier.to_owned())),
                ("origin".to_owned(), Feature::Text(origin.to_owned())),
            ]),
        };
        let mut version = "v1";
        let mut sent_segments = Value::Null;
        let mut feature = |name: &str, value| drop(content.features.insert(name.to_owned(), value));
        match self.rng.random_range(0..16) {
            0 => feature("distance", Feature::Null),
            1 => feature("distance", Feature::Text("far".to_owned())),
            2 => feature("distance", Feature::Number(5_000.0)),
            3 => feature("carrier", Feature::Text("ZZ".to_owned())),
            4 => feature("surprise", Feature::Number(1.5)),
            5 => feature("seats", Feature::Number(1.5)),
            6 => drop(content.features.remove("seats")),
            7 => content.latency_ms = None,
            8 => {
                content.value = None;
                content.error = Some("time-out".to_owned());
            }
            9 => version = "v2",
            10 => {
                sent_segments = json!({"origin": "LGA"});
                content.segments = vec!["LGA".to_owned()];
            }
            _ => {}
        }
        self.known.push((FARES, id.clone(), value - ERROR));
        prediction(id, version, content, &sent_segments)
    }

    /// Predictions of clicks; of a version nobody has seen, or of a day nobody has seen, when asked for.
    pub fn clicks(&mut self, rows: i64, version: Option<&str>, day: Option<i64>) -> Batch {
        let mut lines = Vec::new();
        for _ in 0..rows.max(1) {
            let number = self.next();
            let day = day.unwrap_or_else(|| self.rng.random_range(1..=DAYS));
            let score = f64::from(self.rng.random_range(0..=100_u32)) / 100.0;
            let content = Prediction {
                predicted_at: self.moment(day),
                value: None,
                score: Some(score),
                latency_ms: None,
                error: None,
                segments: Vec::new(),
                features: BTreeMap::from([
                    ("age".to_owned(), Feature::Number(self.number(90))),
                    (
                        "page".to_owned(),
                        Feature::Text(format!("page-{}", number % 5)),
                    ),
                ]),
            };
            let id = format!("click-{number}");
            self.known.push((CLICKS, id.clone(), score));
            lines.push(prediction(
                id,
                version.unwrap_or("v1"),
                content,
                &Value::Null,
            ));
        }
        Batch {
            model: CLICKS,
            kind: Kind::Predictions,
            lines,
        }
    }

    /// Labels: of rows that were sent, of rows that are still to come, and corrections.
    fn labels(&mut self, model: &'static str, rows: i64) -> Batch {
        let of_model: Vec<(String, f64)> = self
            .known
            .iter()
            .filter(|(of, _, _)| *of == model)
            .map(|(_, id, truth)| (id.clone(), *truth))
            .collect();
        let mut lines = Vec::new();
        for _ in 0..rows.max(1) {
            // The newest first, as truth comes in; now and then an old one, which is a correction.
            let newest = of_model.len().min(usize::try_from(rows).unwrap_or(1) * 2);
            let from = if self.rng.random_range(0..6) == 0 {
                0
            } else {
                of_model.len() - newest
            };
            let (id, truth) = of_model[self.rng.random_range(from..of_model.len())].clone();
            // Each label of an id has a time of its own, so that it is known which one is in force.
            let observed_at = self.today + TimeDelta::milliseconds(self.next());
            let (wire, value, class) = if model == FARES {
                (json!(truth), Some(truth), None)
            } else {
                let class = if self.rng.random_range(0.0..1.0) < truth {
                    "1"
                } else {
                    "0"
                };
                (json!(class), None, Some(class.to_owned()))
            };
            let text = json!({"prediction_id": id, "label": wire, "observed_at": observed_at});
            let content = Label {
                value,
                class,
                observed_at,
            };
            lines.push(Line {
                text: text.to_string(),
                meant: Ok(Row::Label { id, content }),
            });
            if self.rng.random_range(0..12) == 0 {
                lines.push(Line {
                    text: json!({"prediction_id": "nobody"}).to_string(),
                    meant: Err("missing_field"),
                });
            }
        }
        Batch {
            model,
            kind: Kind::Labels,
            lines,
        }
    }

    /// Rows of several earlier batches in a batch of their own, and rows that contradict earlier ones.
    fn mixture(&mut self, rows: i64) -> Batch {
        let mut lines = Vec::new();
        for _ in 0..rows {
            let old = self.past[self.rng.random_range(0..self.past.len())].clone();
            match self.rng.random_range(0..10) {
                0 => lines.push(changed(&old, |content| {
                    content.value = content.value.map(|value| value + 100.0);
                })),
                1 => lines.push(changed(&old, |content| {
                    content.predicted_at += TimeDelta::minutes(5);
                })),
                _ => {}
            }
            lines.push(old);
        }
        Batch {
            model: FARES,
            kind: Kind::Predictions,
            lines,
        }
    }

    /// Rows that were sent before, as of another time of the day.
    pub fn contradictions(&mut self, rows: i64) -> Batch {
        let lines = (0..rows)
            .map(|_| {
                let old = self.rng.random_range(0..self.past.len());
                changed(&self.past[old], |content| {
                    content.predicted_at += TimeDelta::minutes(5);
                })
            })
            .collect();
        Batch {
            model: FARES,
            kind: Kind::Predictions,
            lines,
        }
    }

    fn bad(&mut self) -> Line {
        let at = self.moment(1);
        let (text, reason) = match self.rng.random_range(0..4) {
            0 => ("{\"prediction_id\": ".to_owned(), "malformed"),
            1 => (
                json!({"timestamp": at, "prediction": 1.0}).to_string(),
                "missing_field",
            ),
            2 => {
                let row = json!({"prediction_id": "b", "timestamp": at, "prediction": "dear"});
                (row.to_string(), "wrong_type")
            }
            _ => {
                let row = json!({"prediction_id": "b", "timestamp": "1999-01-01T00:00:00Z", "prediction": 1});
                (row.to_string(), "time_out_of_bounds")
            }
        };
        Line {
            text,
            meant: Err(reason),
        }
    }

    /// A multiple of a quarter below `limit`, which text and doubles agree on.
    fn number(&mut self, limit: u32) -> f64 {
        f64::from(self.rng.random_range(0..limit * 4)) / 4.0
    }

    /// Rows to fit the baseline of fares on; another `edition` gives other cells.
    pub fn training(edition: u32) -> String {
        let carriers = ["AA", "UA", "DL"];
        let rows: Vec<String> = (0..200_u32)
            .map(|i| {
                let row = json!({
                    "distance": f64::from((i * 37 + edition * 11) % 1_000),
                    "seats": 1 + i % 4,
                    "carrier": carriers[(i % 3) as usize],
                    "origin": if i % 2 == 0 { "EWR" } else { "JFK" },
                    "prediction": f64::from(i % 50 + edition % 7),
                    "label": f64::from(i % 50),
                });
                row.to_string()
            })
            .collect();
        rows.join("\n")
    }
}

/// The same id with another content.
fn changed(old: &Line, change: impl FnOnce(&mut Prediction)) -> Line {
    let Ok(Row::Prediction {
        id,
        version,
        content,
    }) = &old.meant
    else {
        return old.clone();
    };
    let mut content = content.clone();
    change(&mut content);
    let segments = match content.segments.as_slice() {
        [segment] => json!({"origin": segment}),
        _ => Value::Null,
    };
    prediction(id.clone(), version, content, &segments)
}

/// A prediction and the line that says it.
fn prediction(id: String, version: &str, content: Prediction, segments: &Value) -> Line {
    let mut wire = json!({"prediction_id": id, "timestamp": content.predicted_at});
    if version != "v1" || content.score.is_some() {
        wire["version"] = json!(version);
    }
    let optional = [
        ("prediction", json!(content.value)),
        ("score", json!(content.score)),
        ("latency_ms", json!(content.latency_ms)),
        ("error", json!(content.error)),
        ("segments", segments.clone()),
    ];
    for (name, value) in optional.into_iter().filter(|(_, value)| !value.is_null()) {
        wire[name] = value;
    }
    for (name, value) in &content.features {
        wire[name.as_str()] = match value {
            Feature::Null => Value::Null,
            Feature::Number(number) => json!(number),
            Feature::Text(text) => json!(text),
        };
    }
    Line {
        text: wire.to_string(),
        meant: Ok(Row::Prediction {
            id,
            version: version.to_owned(),
            content,
        }),
    }
}
