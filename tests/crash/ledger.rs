//! What the client sent and what it was told: the side of the story that the service has no hand in.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Predictions or labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Predictions,
    Labels,
}

impl Kind {
    pub const BOTH: [Self; 2] = [Self::Predictions, Self::Labels];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Predictions => "predictions",
            Self::Labels => "labels",
        }
    }
}

/// A feature that is there; integers are numbers like any other.
#[derive(Debug, Clone, PartialEq)]
pub enum Feature {
    Null,
    Number(f64),
    Text(String),
}

/// Everything in a prediction but its id and version.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    pub predicted_at: DateTime<Utc>,
    pub value: Option<f64>,
    pub score: Option<f64>,
    pub latency_ms: Option<f64>,
    pub error: Option<String>,
    /// The value of each declared segment, in the model's order.
    pub segments: Vec<String>,
    pub features: BTreeMap<String, Feature>,
}

/// A label.
#[derive(Debug, Clone, PartialEq)]
pub struct Label {
    pub value: Option<f64>,
    pub class: Option<String>,
    pub observed_at: DateTime<Utc>,
}

/// What a good line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    Prediction {
        id: String,
        version: String,
        content: Prediction,
    },
    Label {
        id: String,
        content: Label,
    },
}

/// A line as it is sent, and what should become of it: a row, or a refusal for a reason.
#[derive(Debug, Clone)]
pub struct Line {
    pub text: String,
    pub meant: Result<Row, &'static str>,
}

/// Lines that are sent together.
#[derive(Debug, Clone)]
pub struct Batch {
    pub model: &'static str,
    pub kind: Kind,
    pub lines: Vec<Line>,
}

impl Batch {
    pub fn body(&self) -> String {
        let lines: Vec<&str> = self.lines.iter().map(|line| line.text.as_str()).collect();
        lines.join("\n")
    }

    pub fn received(&self) -> i64 {
        i64::try_from(self.lines.len()).expect("a small batch")
    }

    pub fn rejected(&self) -> BTreeMap<String, i64> {
        let mut reasons = BTreeMap::new();
        for reason in self
            .lines
            .iter()
            .filter_map(|line| line.meant.as_ref().err())
        {
            *reasons.entry((*reason).to_owned()).or_insert(0) += 1;
        }
        reasons
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.lines
            .iter()
            .filter_map(|line| line.meant.as_ref().ok())
    }
}

/// A batch that was sent, with the id of its acknowledgement if one was heard.
#[derive(Debug, Clone)]
pub struct Sent {
    pub batch: Arc<Batch>,
    pub acknowledged: Option<Uuid>,
}

/// Everything that was sent, in order.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    pub sent: Vec<Sent>,
}

/// What may be stored of one prediction.
#[derive(Debug, Clone, Default)]
pub struct Promise {
    /// The contents sent up to the first that was acknowledged; the first to land stands.
    pub possible: Vec<Prediction>,
    /// Whether one was acknowledged, so that it must be stored.
    pub is_due: bool,
}

impl Ledger {
    pub fn note(&mut self, batch: &Arc<Batch>, acknowledged: Option<Uuid>) {
        self.sent.push(Sent {
            batch: batch.clone(),
            acknowledged,
        });
    }

    fn of<'a>(&'a self, model: &'a str, kind: Kind) -> impl Iterator<Item = &'a Sent> {
        self.sent
            .iter()
            .filter(move |sent| sent.batch.model == model && sent.batch.kind == kind)
    }

    /// How many rows were acknowledged as durable.
    pub fn acknowledged_rows(&self) -> usize {
        let heard = self.sent.iter().filter(|sent| sent.acknowledged.is_some());
        heard.map(|sent| sent.batch.rows().count()).sum()
    }

    /// How many requests landed in a batch that another one landed in as well.
    pub fn shared(&self) -> usize {
        let mut landed: BTreeMap<Uuid, usize> = BTreeMap::new();
        for batch_id in self.sent.iter().filter_map(|sent| sent.acknowledged) {
            *landed.entry(batch_id).or_default() += 1;
        }
        landed.into_values().filter(|requests| *requests > 1).sum()
    }

    /// What is promised of a model's predictions, by version and id.
    pub fn predictions(&self, model: &str) -> BTreeMap<(String, String), Promise> {
        let mut promises: BTreeMap<(String, String), Promise> = BTreeMap::new();
        for sent in self.of(model, Kind::Predictions) {
            for row in sent.batch.rows() {
                let Row::Prediction {
                    id,
                    version,
                    content,
                } = row
                else {
                    continue;
                };
                let promise = promises.entry((version.clone(), id.clone())).or_default();
                if !promise.is_due {
                    promise.possible.push(content.clone());
                    promise.is_due = sent.acknowledged.is_some();
                }
            }
        }
        promises
    }

    /// Labels sent for a model by prediction id, each with whether it was acknowledged.
    pub fn labels(&self, model: &str) -> BTreeMap<String, Vec<(Label, bool)>> {
        let mut labels: BTreeMap<String, Vec<(Label, bool)>> = BTreeMap::new();
        for sent in self.of(model, Kind::Labels) {
            for row in sent.batch.rows() {
                let Row::Label { id, content } = row else {
                    continue;
                };
                let known = labels.entry(id.clone()).or_default();
                let heard = sent.acknowledged.is_some();
                match known.iter_mut().find(|(label, _)| label == content) {
                    Some((_, is_due)) => *is_due |= heard,
                    None => known.push((content.clone(), heard)),
                }
            }
        }
        labels
    }

    /// What was acknowledged of a model and kind, by the id of the batch it landed in, which requests may share; and what
    /// nobody heard about again.
    pub fn receipts<'a>(
        &'a self,
        model: &'a str,
        kind: Kind,
    ) -> (BTreeMap<Uuid, Vec<&'a Batch>>, Vec<&'a Batch>) {
        let mut heard: BTreeMap<Uuid, Vec<&Batch>> = BTreeMap::new();
        let mut unheard = Vec::new();
        for sent in self.of(model, kind) {
            match sent.acknowledged {
                Some(batch_id) => heard.entry(batch_id).or_default().push(&sent.batch),
                None => unheard.push(&*sent.batch),
            }
        }
        (heard, unheard)
    }

    /// The models anything was sent for.
    pub fn models(&self) -> BTreeSet<&'static str> {
        self.sent.iter().map(|sent| sent.batch.model).collect()
    }
}
