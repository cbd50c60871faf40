//! The HTTP client: sends, and tells an answer from silence.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use serde_json::Value;
use uuid::Uuid;

use crate::ledger::Batch;

pub const NDJSON: &str = "application/x-ndjson";
pub const JSON: &str = "application/json";
const TIME_OUT: Duration = Duration::from_secs(20);

pub struct Client {
    http: reqwest::Client,
    pub token: String,
}

impl Client {
    #[expect(
        clippy::disallowed_methods,
        reason = "talks to the service on loopback, as its senders do"
    )]
    pub fn new() -> Self {
        // The library may have installed it already; it is the same one.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder().no_proxy().timeout(TIME_OUT);
        Self {
            http: http.build().expect("an HTTP client"),
            token: String::new(),
        }
    }

    /// The answer, if one came from a service that was well: a killed one gives none, and one without its
    /// database says that it is not available, which is not a fault of its own. A conflict is an answer as well: to
    /// something that is under way.
    pub async fn post(&self, url: &str, content_type: &str, body: String) -> Option<Value> {
        let request = self.http.post(url).bearer_auth(&self.token);
        let request = request.header(CONTENT_TYPE, content_type).body(body);
        let answer = request.send().await.ok()?;
        let status = answer.status();
        let text = answer.text().await.ok()?;
        let is_answer = status.is_success() || status == StatusCode::CONFLICT;
        let is_away = status == StatusCode::SERVICE_UNAVAILABLE;
        assert!(is_answer || is_away, "{url}: {status}: {text}");
        is_answer.then(|| serde_json::from_str(&text).unwrap_or_default())
    }

    /// Whether there is anybody at that address.
    pub async fn reaches(&self, address: &str) -> bool {
        self.http.get(address).send().await.is_ok()
    }

    /// Sends a batch; returns its id if it was acknowledged.
    pub async fn send(&self, address: &str, batch: &Batch) -> Option<Uuid> {
        let url = format!(
            "{address}/api/v1/models/{}/{}",
            batch.model,
            batch.kind.as_str()
        );
        let receipt = self.post(&url, NDJSON, batch.body()).await?;
        let rejected = serde_json::to_value(batch.rejected()).expect("counts");
        assert_eq!(receipt["received"], batch.received(), "{receipt}");
        assert_eq!(receipt["rejected_by_reason"], rejected, "{receipt}");
        let id = receipt["batch_id"].as_str().expect("the batch has an id");
        Some(id.parse().expect("the id is a UUID"))
    }
}
