//! One HTTP connection to the service, kept open, and how patiently it is used: as a careful sender does, a body
//! that cannot be taken now is sent again when the service says.

use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;

use crate::bodies::Body;

/// How long one answer is waited for; a database may stand still for a minute.
const TIME_OUT: Duration = Duration::from_secs(100);
/// How long a body is sent again and again.
const PATIENCE: Duration = Duration::from_secs(300);
/// The pause where the service does not say, and when no answer came.
const USUAL_PAUSE: Duration = Duration::from_secs(1);

/// Where the predictions go, and with what right.
#[derive(Debug, Clone)]
pub struct Target {
    pub server: String,
    pub token: String,
}

/// What came back.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// A connection.
pub struct Connection {
    client: Client<HttpConnector, Full<Bytes>>,
    target: Target,
}

impl Connection {
    pub fn new(target: &Target) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(1)
            .build(connector);
        Self {
            client,
            target: target.clone(),
        }
    }

    /// Sends a request with these headers beside the token's.
    pub async fn request(
        &self,
        method: Method,
        path: &str,
        headers: &[(&str, &str)],
        body: Bytes,
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.target.server));
        if !self.target.token.is_empty() {
            let bearer = format!("Bearer {}", self.target.token);
            request = request.header(header::AUTHORIZATION, bearer);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(body)).context("make a request")?;
        tokio::time::timeout(TIME_OUT, self.exchange(request))
            .await
            .with_context(|| format!("wait for the answer of {path}"))?
            .with_context(|| format!("call {path}"))
    }

    async fn exchange(&self, request: Request<Full<Bytes>>) -> anyhow::Result<Answer> {
        let response = self.client.request(request).await?;
        let (head, body) = response.into_parts();
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            body: body.collect().await?.to_bytes(),
        })
    }

    /// Calls a route of the API with JSON and reads its answer as JSON.
    pub async fn json(&self, method: Method, path: &str, body: &Value) -> anyhow::Result<Value> {
        let sent = match body {
            Value::Null => Bytes::new(),
            body => body.to_string().into(),
        };
        let headers = [("content-type", "application/json")];
        let answer = self.request(method, path, &headers, sent).await?;
        read_json(path, &answer)
    }

    pub async fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.json(Method::GET, path, &Value::Null).await
    }

    /// Sends a body until it is acknowledged, and says how often it was sent in vain.
    pub async fn deliver(&self, path: &str, body: &Body) -> anyhow::Result<u64> {
        let started = Instant::now();
        let mut in_vain = 0;
        loop {
            let answer = self.post(path, body).await;
            let pause = match &answer {
                Ok(answer) if answer.status.is_success() => {
                    check_receipt(path, body, answer)?;
                    return Ok(in_vain);
                }
                Ok(answer) if may_pass(answer.status) => retry_after(&answer.headers),
                Ok(answer) => bail!("call {path}: {}: {}", answer.status, answer.text()),
                Err(_) => USUAL_PAUSE,
            };
            in_vain += 1;
            if started.elapsed() > PATIENCE {
                let told = answer.map(|answer| answer.text())?;
                bail!("deliver a body within {PATIENCE:?}; the last answer was {told}");
            }
            tokio::time::sleep_until((Instant::now() + pause).into()).await;
        }
    }

    /// Sends a body once.
    pub async fn post(&self, path: &str, body: &Body) -> anyhow::Result<Answer> {
        let headers = [("content-type", body.media_type)];
        self.request(Method::POST, path, &headers, body.bytes.clone())
            .await
    }
}

fn read_json(path: &str, answer: &Answer) -> anyhow::Result<Value> {
    ensure!(
        answer.status.is_success(),
        "call {path}: {}: {}",
        answer.status,
        answer.text()
    );
    serde_json::from_slice(&answer.body).with_context(|| format!("read the answer of {path}"))
}

/// No row may be refused: the sides would not store the same.
fn check_receipt(path: &str, body: &Body, answer: &Answer) -> anyhow::Result<()> {
    let receipt = read_json(path, answer)?;
    ensure!(
        receipt["kept"].as_u64() == Some(body.rows),
        "not all of {} rows were kept: {receipt}",
        body.rows
    );
    Ok(())
}

fn may_pass(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    )
}

fn retry_after(headers: &HeaderMap) -> Duration {
    headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.parse().ok())
        .map_or(USUAL_PAUSE, Duration::from_secs)
}
