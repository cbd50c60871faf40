//! The demo's ways into its own service: the API with a token, and the pages as a browser without script.

use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::header::{CONTENT_TYPE, COOKIE, LOCATION, ORIGIN, SET_COOKIE};
use reqwest::redirect::Policy;
use serde_json::Value;
use tokio::sync::Mutex;

use crate::domain::pipeline::PipelineStatus;

const TIME_OUT: Duration = Duration::from_secs(120);

/// Both clients talk to the demo's own service on this machine only, which the guarded client would refuse.
#[expect(
    clippy::disallowed_methods,
    reason = "talks to the demo's own service on loopback"
)]
fn http() -> anyhow::Result<reqwest::Client> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .timeout(TIME_OUT)
        .build()
        .context("set up an HTTP client")
}

/// The API with a token.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    server: String,
    token: String,
}

impl Client {
    pub(super) fn new(server: &str, token: &str) -> anyhow::Result<Self> {
        Ok(Self {
            http: http()?,
            server: server.to_owned(),
            token: token.to_owned(),
        })
    }

    pub(super) async fn get(&self, path: &str) -> anyhow::Result<Value> {
        let request = self.http.get(format!("{}{path}", self.server));
        self.send(path, request).await
    }

    pub(super) async fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let request = self.http.post(format!("{}{path}", self.server)).json(body);
        self.send(path, request).await
    }

    pub(super) async fn upload(
        &self,
        path: &str,
        content_type: &str,
        body: Bytes,
    ) -> anyhow::Result<Value> {
        let request = self
            .http
            .post(format!("{}{path}", self.server))
            .header(CONTENT_TYPE, content_type)
            .body(body);
        self.send(path, request).await
    }

    /// The service's clock.
    pub(super) async fn clock(&self) -> anyhow::Result<DateTime<Utc>> {
        let clock = self.get("/api/v1/clock").await?;
        serde_json::from_value(clock["now"].clone()).context("read the service's clock")
    }

    async fn send(&self, path: &str, request: reqwest::RequestBuilder) -> anyhow::Result<Value> {
        let answer = request
            .bearer_auth(&self.token)
            .send()
            .await
            .with_context(|| format!("call {path}"))?;
        let status = answer.status();
        let text = answer
            .text()
            .await
            .with_context(|| format!("read the answer of {path}"))?;
        if !status.is_success() {
            bail!("call {path}: {status}: {text}");
        }
        if text.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&text).with_context(|| format!("read the answer of {path}"))
    }

    /// Reports on a pipeline run's callback, with the token of that run.
    pub(super) async fn report(
        &self,
        url: &str,
        token: &str,
        status: &PipelineStatus,
    ) -> anyhow::Result<()> {
        let answer = self
            .http
            .post(url)
            .bearer_auth(token)
            .json(status)
            .send()
            .await
            .context("report")?;
        if !answer.status().is_success() {
            bail!("report: {}", answer.status());
        }
        Ok(())
    }
}

/// The pages, as a browser without script sees them: cookies, forms, redirects.
#[derive(Debug)]
pub(super) struct Browser {
    http: reqwest::Client,
    server: String,
    cookie: Mutex<String>,
}

impl Browser {
    pub(super) fn new(server: &str) -> anyhow::Result<Self> {
        Ok(Self {
            http: http()?,
            server: server.to_owned(),
            cookie: Mutex::default(),
        })
    }

    /// A page's text.
    pub(super) async fn page(&self, path: &str) -> anyhow::Result<String> {
        let cookie = self.cookie.lock().await.clone();
        let request = self
            .http
            .get(format!("{}{path}", self.server))
            .header(COOKIE, cookie);
        let answer = request
            .send()
            .await
            .with_context(|| format!("open {path}"))?;
        if !answer.status().is_success() {
            bail!("open {path}: {}", answer.status());
        }
        answer.text().await.with_context(|| format!("open {path}"))
    }

    /// Sends a form; returns where it led.
    pub(super) async fn submit(&self, path: &str, form: &[(&str, &str)]) -> anyhow::Result<String> {
        let mut cookie = self.cookie.lock().await;
        let request = self
            .http
            .post(format!("{}{path}", self.server))
            .header(ORIGIN, &self.server)
            .header(COOKIE, cookie.as_str())
            .form(form);
        let answer = request
            .send()
            .await
            .with_context(|| format!("send the form of {path}"))?;
        if let Some(set) = answer
            .headers()
            .get(SET_COOKIE)
            .and_then(|value| value.to_str().ok())
        {
            *cookie = set.split(';').next().unwrap_or_default().to_owned();
        }
        if !answer.status().is_redirection() {
            bail!("send the form of {path}: {}", answer.status());
        }
        let led_to = answer
            .headers()
            .get(LOCATION)
            .and_then(|value| value.to_str().ok());
        Ok(led_to.unwrap_or_default().to_owned())
    }
}
