//! Retraining pipelines: what Bellwether has to know to start one and follow it.

use serde::{Deserialize, Serialize};

/// A pipeline that runs elsewhere and is started by a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PipelineDef {
    pub name: String,
    /// Where a run is asked for.
    pub url: String,
    /// The bearer token sent with every call, by where it is kept.
    pub token: Option<SecretRef>,
    /// Whether asking twice with the same run key starts one run, so that a lost answer may be asked for again.
    pub idempotent: bool,
    /// How long one call may take.
    pub timeout_seconds: u64,
    /// How long to wait before the state of a run is asked for again.
    pub poll_seconds: u64,
}

/// Where a secret is kept. The secret itself is never part of a configuration. Exactly one is given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecretRef {
    /// The environment variable that holds it.
    pub env: Option<String>,
    /// The file that holds it.
    pub file: Option<String>,
}
