//! Which name fills which field. The names of flat rows are the same in every format.

use std::borrow::Cow;
use std::collections::HashMap;

use super::raw::{Fault, canonical_name, check_name};
use crate::domain::model::Task;

/// Fields with a name of their own. The order is that in which faults are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Fixed {
    PredictionId,
    Timestamp,
    Version,
    Error,
    Prediction,
    Score,
    Probabilities,
    Query,
    Rank,
    Quantiles,
    NaiveError,
    Segments,
    LatencyMs,
    Deployment,
    Features,
    Label,
    ObservedAt,
}

impl Fixed {
    pub const COUNT: usize = 17;

    pub fn name(self) -> &'static str {
        match self {
            Self::PredictionId => "prediction_id",
            Self::Timestamp => "timestamp",
            Self::Version => "version",
            Self::Error => "error",
            Self::Prediction => "prediction",
            Self::Score => "score",
            Self::Probabilities => "probabilities",
            Self::Query => "query",
            Self::Rank => "rank",
            Self::Quantiles => "quantiles",
            Self::NaiveError => "naive_error",
            Self::Segments => "segments",
            Self::LatencyMs => "latency_ms",
            Self::Deployment => "deployment",
            Self::Features => "features",
            Self::Label => "label",
            Self::ObservedAt => "observed_at",
        }
    }

    /// The field of a name in predictions of a task. Some fields only one task has; elsewhere their names are free for
    /// features.
    fn of_prediction(name: &str, task: Task) -> Option<Self> {
        match (name, task) {
            ("query", Task::Ranking) => return Some(Self::Query),
            ("rank", Task::Ranking) => return Some(Self::Rank),
            ("quantiles", Task::Forecast) => return Some(Self::Quantiles),
            ("naive_error", Task::Forecast) => return Some(Self::NaiveError),
            _ => {}
        }
        match name {
            "prediction_id" => Some(Self::PredictionId),
            "timestamp" => Some(Self::Timestamp),
            "version" => Some(Self::Version),
            "error" => Some(Self::Error),
            "prediction" => Some(Self::Prediction),
            "score" => Some(Self::Score),
            "probabilities" => Some(Self::Probabilities),
            "segments" => Some(Self::Segments),
            "latency_ms" => Some(Self::LatencyMs),
            "deployment" => Some(Self::Deployment),
            "features" => Some(Self::Features),
            _ => None,
        }
    }

    /// A field that a column of predictions can be said to be.
    pub fn of_said(field: &str, task: Task) -> Option<Self> {
        match field {
            "label" => Some(Self::Label),
            "observed_at" => Some(Self::ObservedAt),
            field => Self::of_prediction(field, task),
        }
    }

    pub fn of_label(name: &str) -> Option<Self> {
        match name {
            "prediction_id" => Some(Self::PredictionId),
            "label" => Some(Self::Label),
            "observed_at" => Some(Self::ObservedAt),
            _ => None,
        }
    }
}

/// What a name stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Field {
    Fixed(Fixed),
    /// The feature at this position of the batch's features.
    Feature(usize),
    /// The probability of the class, or the quantile of the level, at this position of the batch's classes.
    Probability(usize),
}

/// What a name in a row of predictions means, before features and classes have positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Meaning<'n> {
    Fixed(Fixed),
    /// A feature that says it is one.
    Feature(&'n str),
    /// The probability of this class, of a forecast the quantile of this level.
    Probability(&'n str),
    /// A name of the sender's own: a feature, unless the row has an object of features.
    Other(&'n str),
}

impl<'n> Meaning<'n> {
    pub fn of(name: &'n str, task: Task) -> Self {
        if let Some(fixed) = Fixed::of_prediction(name, task) {
            return Self::Fixed(fixed);
        }
        if let Some(feature) = name.strip_prefix("feature.") {
            return Self::Feature(feature);
        }
        let prefixes: &[&str] = match task {
            Task::Forecast => &["quantile.", "quantiles."],
            _ => &["probability.", "probabilities.", "proba_"],
        };
        prefixes
            .iter()
            .find_map(|prefix| name.strip_prefix(prefix))
            .map_or(Self::Other(name), Self::Probability)
    }
}

/// Whose names they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Noun {
    /// Kept in their canonical form.
    Features,
    /// Kept as they are: a class is also sent as a value, of predictions and of labels, and must meet itself there.
    Classes,
    /// Kept in their canonical form.
    Segments,
}

impl Noun {
    fn plural(self) -> &'static str {
        match self {
            Self::Features => "features",
            Self::Classes => "classes",
            Self::Segments => "segments",
        }
    }
}

/// Names in order of their first sight, so that a column is found by position and its name is kept once.
#[derive(Debug)]
pub(super) struct Positions {
    names: Vec<String>,
    positions: HashMap<String, usize>,
    /// The last row, by its serial number, that had the name.
    last_seen: Vec<u64>,
    /// The position behind the one that was asked for last: rows name their features in one order.
    expected: usize,
    limit: usize,
    noun: Noun,
}

impl Positions {
    pub fn new(noun: Noun, limit: usize) -> Self {
        Self {
            names: Vec::new(),
            positions: HashMap::new(),
            last_seen: Vec::new(),
            expected: 0,
            limit,
            noun,
        }
    }

    /// The position of a name, new or known.
    pub fn of(&mut self, name: &str) -> Result<usize, Fault> {
        let expected = self.names.get(self.expected);
        let known = match expected {
            Some(expected) if expected == name => Some(self.expected),
            _ => self.positions.get(name).copied(),
        };
        if let Some(position) = known {
            self.expected = position + 1;
            return Ok(position);
        }
        let kept = match self.noun {
            Noun::Features | Noun::Segments => canonical_name(name),
            Noun::Classes => check_name(name).map(|()| Cow::Borrowed(name)),
        };
        let kept = kept.map_err(|fault| Fault {
            cause: format!("the name {}", fault.cause),
            ..fault.in_field(name)
        })?;
        if let Some(position) = self.positions.get(kept.as_ref()) {
            return Ok(*position);
        }
        if self.names.len() == self.limit {
            let (limit, noun) = (self.limit, self.noun.plural());
            return Err(
                Fault::too_large(format!("one body names at most {limit} {noun}")).in_field(name),
            );
        }
        let position = self.names.len();
        self.names.push(kept.clone().into_owned());
        self.positions.insert(kept.into_owned(), position);
        self.last_seen.push(0);
        Ok(position)
    }

    /// Notes that a row (numbered from 1) has the name.
    pub fn see(&mut self, position: usize, row: u64) -> Result<(), Fault> {
        if std::mem::replace(&mut self.last_seen[position], row) == row {
            return Err(Fault::duplicate(&self.names[position]));
        }
        Ok(())
    }

    pub fn name(&self, position: usize) -> &str {
        &self.names[position]
    }

    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Forgets the names after the first `len`: those that only a refused row had.
    pub fn truncate(&mut self, len: usize) {
        for name in self.names.drain(len.min(self.names.len())..) {
            self.positions.remove(&name);
        }
        self.last_seen.truncate(len);
    }
}
