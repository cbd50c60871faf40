//! Inferences as serving platforms log them: request and response are two events, in any order, and a prediction is
//! both of them together.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

/// Which event it is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type,
)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Half {
    Request,
    Response,
}

impl Half {
    /// The word used in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::Response => "response",
        }
    }
}

/// One event, its body unread: whoever logs from the path of inference needs an answer, not a judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InferenceEvent {
    /// The same for the request and its response.
    pub pair: String,
    pub half: Half,
    pub content: Content,
}

/// What an event says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// When it happened, if the event says so, in microseconds since 1970.
    pub at: Option<i64>,
    pub received_at: i64,
    /// The version that the platform was told to name.
    pub version: Option<String>,
    pub data: Vec<u8>,
}

impl Content {
    /// When it happened, as far as is known.
    #[must_use]
    pub fn time(&self) -> DateTime<Utc> {
        let micros = self.at.unwrap_or(self.received_at);
        DateTime::from_timestamp_micros(micros).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

/// Events of one model, in the order of their arrival.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct EventBatch {
    pub events: Vec<InferenceEvent>,
}

/// Both halves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inference {
    pub pair: String,
    pub request: Content,
    pub response: Content,
}

/// How a model is served, where its requests and answers do not say it themselves.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Serving {
    /// Names under which telemetry and events of the model come, beside its own.
    #[serde(default)]
    pub names: Vec<String>,
    /// Names of the columns of tensors and rows without names, in their order.
    #[serde(default)]
    pub inputs: Vec<String>,
    /// What its answer is; by the task and the type of the answer when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub answer: Option<Answer>,
    /// The classes that probabilities are of, in their order.
    #[serde(default)]
    pub classes: Vec<String>,
}

/// What a served answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// The value or class itself.
    Prediction,
    /// The probability of the positive class.
    Score,
    /// A probability of each class.
    Probabilities,
}
