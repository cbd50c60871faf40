//! Retraining connectors: how a pipeline is started and followed. A connector says what became of one
//! request; whether, when and how often to ask again is decided by whoever holds the run.
//!
//! The distinction that matters is between "was not started" and "may have been started": a retraining is
//! expensive and changes what is deployed, so an unknown outcome is not repeated blindly but shown to people.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use serde::Serialize;

use crate::domain::pipeline::{PipelineDef, PipelineStatus};

pub mod http;

/// A way to talk to a pipeline.
pub trait Pipeline: Send + Sync {
    /// Asks once for a run.
    fn start<'a>(
        &'a self,
        definition: &'a PipelineDef,
        request: &'a StartRequest,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Started, StartError>>;

    /// Asks once where a run stands.
    fn poll<'a>(
        &'a self,
        definition: &'a PipelineDef,
        status_url: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<PipelineStatus, PollError>>;
}

/// What is asked of a pipeline.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct StartRequest {
    /// The same on every attempt: a pipeline that knows it already has the run.
    pub run_key: String,
    pub model: String,
    pub parameters: BTreeMap<String, String>,
    pub requested_at: DateTime<Utc>,
    pub callback: Callback,
}

/// Where and with which one-run token the pipeline reports.
#[derive(Clone, PartialEq, Eq, Serialize)]
pub struct Callback {
    pub url: String,
    pub token: String,
}

impl std::fmt::Debug for StartRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StartRequest")
            .field("run_key", &self.run_key)
            .field("model", &self.model)
            .finish_non_exhaustive()
    }
}

/// The pipeline has the run.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Started {
    /// The pipeline's own name of the run.
    pub external_id: Option<String>,
    /// Where to ask for its status; without it, only the callback tells.
    pub status_url: Option<String>,
    /// Where people can look at it.
    pub link: Option<String>,
    /// When the pipeline thinks it will be done.
    pub expected_at: Option<DateTime<Utc>>,
}

/// The pipeline did not say that it has the run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// It will not take this request; asking again changes nothing.
    #[error("the pipeline was not started: {cause}")]
    Refused { cause: String },
    /// It has not started the run, or starting twice does no harm; asking again is safe.
    #[error("the pipeline cannot be started for the moment: {cause}")]
    Retry {
        after: Option<Duration>,
        cause: String,
    },
    /// It may have started the run. Not to be asked again without a person's word.
    #[error("it is not known whether the pipeline was started: {cause}")]
    Unknown { cause: String },
}

/// The pipeline did not say where the run stands.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PollError {
    /// It may later.
    #[error("the pipeline's status cannot be had for the moment: {cause}")]
    Retry {
        after: Option<Duration>,
        cause: String,
    },
    /// It never will under this address.
    #[error("the pipeline's status cannot be had: {cause}")]
    Permanent { cause: String },
}
