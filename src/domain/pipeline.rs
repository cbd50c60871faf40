//! Retraining pipelines: what a definition says, and what a pipeline reports about a run. How a pipeline is
//! talked to is the business of [`crate::pipelines`].

use serde::{Deserialize, Serialize};

/// A pipeline that can be asked to retrain a model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineDef {
    pub name: String,
    /// Where a run is started, by POST.
    pub url: String,
    /// The secret sent as a bearer token, by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_env: Option<SecretName>,
    /// The secret requests are signed with (Standard Webhooks, `whsec_…`), by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_env: Option<SecretName>,
    /// Whether asking twice with the same run key starts one run. Only then is a request whose outcome is
    /// unknown repeated.
    #[serde(default)]
    pub idempotent: bool,
    /// How long a run may take, from its request to its end.
    #[serde(default = "a_day")]
    pub timeout_seconds: u64,
    /// How often its status is asked for.
    #[serde(default = "half_a_minute")]
    pub poll_seconds: u64,
}

fn a_day() -> u64 {
    86_400
}

fn half_a_minute() -> u64 {
    30
}

/// The name of a secret in the service's environment. Definitions are written by more people than may read
/// the service's environment, and say where a secret is sent; so only variables made for this can be named.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SecretName(String);

impl SecretName {
    /// What every such variable starts with.
    pub const PREFIX: &'static str = "BELLWETHER_SECRET_";

    /// The whole name of the variable.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for SecretName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// A name that no secret can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} cannot name a secret: it must start with {prefix} and go on with capital letters, digits or underscores",
    prefix = SecretName::PREFIX
)]
pub struct BadSecretName(pub String);

impl TryFrom<String> for SecretName {
    type Error = BadSecretName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        let rest = name.strip_prefix(Self::PREFIX).unwrap_or_default();
        let is_plain = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if rest.is_empty() || !rest.chars().all(is_plain) {
            return Err(BadSecretName(name));
        }
        Ok(Self(name))
    }
}

impl From<SecretName> for String {
    fn from(name: SecretName) -> Self {
        name.0
    }
}

/// Where a pipeline run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum PipelineState {
    Queued,
    Running,
    Succeeded,
    Failed,
    Cancelled,
    /// A word we do not know. Never read as an end.
    #[serde(other)]
    Unknown,
}

impl PipelineState {
    /// Whether nothing more will happen.
    #[must_use]
    pub fn is_final(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }
}

/// A version a pipeline has trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct CandidateReport {
    pub version: String,
    /// Training run, data, code, who and when, in the pipeline's own words.
    #[serde(default)]
    pub lineage: serde_json::Value,
}

/// What a pipeline says about a run. The same JSON is answered on its status URL and posted to our callback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct PipelineStatus {
    pub state: PipelineState,
    /// What a person should read about it.
    #[serde(default)]
    pub detail: String,
    /// Present once there is one; a run can succeed without.
    #[serde(default)]
    pub candidate: Option<CandidateReport>,
}

/// The body of a callback.
pub type CallbackBody = PipelineStatus;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shortest_definition_has_sensible_defaults() {
        let def: PipelineDef = serde_json::from_value(serde_json::json!({
            "name": "retrain", "url": "https://pipelines.example/retrain"
        }))
        .expect("parses");
        assert!(!def.idempotent);
        assert_eq!((def.timeout_seconds, def.poll_seconds), (86_400, 30));
        assert_eq!((def.token_env, def.secret_env), (None, None));
    }

    #[test]
    fn only_variables_made_for_secrets_can_be_named() {
        for (name, accepted) in [
            ("BELLWETHER_SECRET_RETRAIN", true),
            ("BELLWETHER_SECRET_RETRAIN_2", true),
            ("BELLWETHER_SECRET_", false),
            ("BELLWETHER_SECRET_a", false),
            ("BELLWETHER_SECRET_A=B", false),
            ("DATABASE_URL", false),
            ("", false),
        ] {
            assert_eq!(
                SecretName::try_from(name.to_owned()).is_ok(),
                accepted,
                "{name}"
            );
        }
    }

    #[test]
    fn unknown_state_is_no_end() {
        let status: PipelineStatus =
            serde_json::from_str(r#"{"state": "paused"}"#).expect("parses");
        assert_eq!(status.state, PipelineState::Unknown);
        assert!(!status.state.is_final());
        assert!(serde_json::from_str::<PipelineStatus>("{}").is_err());
    }
}
