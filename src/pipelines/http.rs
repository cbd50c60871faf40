//! Pipelines that are started by an HTTP request and report by a callback, a status URL, or both.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use reqwest::StatusCode;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;
use url::Url;

use super::{Pipeline, PollError, StartError, StartRequest, Started};
use crate::domain::message::{one_line, web_address};
use crate::domain::pipeline::{PipelineDef, PipelineStatus, SecretName};
use crate::outbound::LONGEST_WAIT;
use crate::outbound::signature::Signer;
use crate::outbound::{Answer, Outbound, OutboundError};

/// How long a pipeline has to answer a request, unless said otherwise. (How long a run may take is the
/// definition's business.)
pub const TIME_OUT: Duration = Duration::from_secs(30);

/// Finds the value of a secret. Asked at each request, so that a changed secret needs no restart.
pub type SecretLookup = Arc<dyn Fn(&SecretName) -> Option<String> + Send + Sync>;

/// The connector. One serves all pipelines of this kind.
#[derive(Clone)]
pub struct HttpPipeline {
    outbound: Outbound,
    secrets: SecretLookup,
    time_out: Duration,
}

/// What a pipeline may tell about the run it has started. All of it is optional, and so is the body.
#[derive(Deserialize, Default)]
struct StartAnswer {
    #[serde(default)]
    id: Option<ExternalId>,
    #[serde(default)]
    status_url: Option<String>,
    #[serde(default)]
    link: Option<String>,
    #[serde(default)]
    expected_at: Option<DateTime<Utc>>,
}

/// Orchestrators number their runs or name them.
#[derive(Deserialize)]
#[serde(untagged)]
enum ExternalId {
    Name(String),
    Number(u64),
}

impl HttpPipeline {
    /// A connector that asks through `outbound` and waits `time_out` for each answer.
    #[must_use]
    pub fn new(outbound: Outbound, secrets: SecretLookup, time_out: Duration) -> Self {
        Self {
            outbound,
            secrets,
            time_out,
        }
    }

    async fn ask_to_start(
        &self,
        definition: &PipelineDef,
        request: &StartRequest,
        now: DateTime<Utc>,
    ) -> Result<Started, StartError> {
        let refused = |cause| StartError::Refused { cause };
        let body = serde_json::to_vec(request).map_err(|error| refused(error.to_string()))?;
        let headers = self
            .start_headers(definition, &request.run_key, now, &body)
            .map_err(refused)?;
        let answer = self
            .outbound
            .post_json(&definition.url, headers, body, self.time_out)
            .await;
        let outcome = match answer {
            Ok(answer) => start_outcome(definition, &answer, now),
            Err(OutboundError::Refused(refusal)) => Err(refused(refusal.to_string())),
            Err(error @ OutboundError::NotSent(_)) => Err(StartError::Retry {
                after: None,
                cause: error.to_string(),
            }),
            Err(error @ OutboundError::NoAnswer(_)) => Err(StartError::Unknown {
                cause: error.to_string(),
            }),
        };
        match outcome {
            // The definition promises that asking twice starts one run.
            Err(StartError::Unknown { cause }) if definition.idempotent => {
                Err(StartError::Retry { after: None, cause })
            }
            outcome => outcome,
        }
    }

    async fn ask_for_status(
        &self,
        definition: &PipelineDef,
        status_url: &str,
        now: DateTime<Utc>,
    ) -> Result<PipelineStatus, PollError> {
        let permanent = |cause| PollError::Permanent { cause };
        let mut headers = HeaderMap::new();
        // The status URL came in an answer; the token is for the pipeline's own host and nobody else.
        if have_one_origin(&definition.url, status_url) {
            self.authorize(definition, &mut headers)
                .map_err(permanent)?;
        }
        match self
            .outbound
            .get_json(status_url, headers, self.time_out)
            .await
        {
            Ok(answer) => poll_outcome(&answer, now),
            Err(OutboundError::Refused(refusal)) => Err(permanent(refusal.to_string())),
            Err(error) => Err(PollError::Retry {
                after: None,
                cause: error.to_string(),
            }),
        }
    }

    fn start_headers(
        &self,
        definition: &PipelineDef,
        run_key: &str,
        now: DateTime<Utc>,
        body: &[u8],
    ) -> Result<HeaderMap, String> {
        let mut headers = match &definition.secret_env {
            Some(name) => Signer::new(&self.secret(name)?)
                .map_err(|error| format!("{name}: {error}"))?
                .headers(run_key, now, body)
                .map_err(|error| error.to_string())?,
            None => HeaderMap::new(),
        };
        let key = HeaderValue::from_str(run_key).map_err(|error| error.to_string())?;
        headers.insert("idempotency-key", key);
        self.authorize(definition, &mut headers)?;
        Ok(headers)
    }

    fn authorize(&self, definition: &PipelineDef, headers: &mut HeaderMap) -> Result<(), String> {
        let Some(name) = &definition.token_env else {
            return Ok(());
        };
        let mut value = HeaderValue::from_str(&format!("Bearer {}", self.secret(name)?))
            .map_err(|_| format!("{name} holds characters that no token has"))?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
        Ok(())
    }

    fn secret(&self, name: &SecretName) -> Result<String, String> {
        (self.secrets)(name).ok_or_else(|| format!("{name} is not set"))
    }
}

impl Pipeline for HttpPipeline {
    fn start<'a>(
        &'a self,
        definition: &'a PipelineDef,
        request: &'a StartRequest,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Started, StartError>> {
        Box::pin(self.ask_to_start(definition, request, now))
    }

    fn poll<'a>(
        &'a self,
        definition: &'a PipelineDef,
        status_url: &'a str,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<PipelineStatus, PollError>> {
        Box::pin(self.ask_for_status(definition, status_url, now))
    }
}

/// What a status means for the start. "Conflict" is how a pipeline says that it has this run key already,
/// which is what we wanted.
fn start_outcome(
    definition: &PipelineDef,
    answer: &Answer,
    now: DateTime<Utc>,
) -> Result<Started, StartError> {
    let cause = answer.summary();
    match answer.status {
        status if status.is_success() || status == StatusCode::CONFLICT => {
            Ok(read_start(definition, answer))
        }
        status if is_not_now(status) => Err(StartError::Retry {
            after: wait(answer, now),
            cause,
        }),
        status if status.is_server_error() => Err(StartError::Unknown { cause }),
        _ => Err(StartError::Refused { cause }),
    }
}

/// The run exists whatever the body looks like, so a body that cannot be read is as good as none.
fn read_start(definition: &PipelineDef, answer: &Answer) -> Started {
    let told: StartAnswer = serde_json::from_slice(&answer.body).unwrap_or_default();
    let base = Url::parse(&definition.url).ok();
    let resolved = |text: String| {
        let url = base.as_ref()?.join(&text).ok()?;
        web_address(url.as_str())
    };
    Started {
        external_id: told.id.map(|id| match id {
            ExternalId::Name(name) => one_line(&name, 200),
            ExternalId::Number(number) => number.to_string(),
        }),
        status_url: told.status_url.and_then(resolved),
        link: told.link.and_then(resolved),
        expected_at: told.expected_at,
    }
}

fn poll_outcome(answer: &Answer, now: DateTime<Utc>) -> Result<PipelineStatus, PollError> {
    let retry = |cause| PollError::Retry {
        after: wait(answer, now),
        cause,
    };
    match answer.status {
        status if status.is_success() => {
            let mut status: PipelineStatus =
                serde_json::from_slice(&answer.body).map_err(|error| {
                    let length = if answer.complete {
                        ""
                    } else {
                        " (it was too long)"
                    };
                    retry(format!("the answer is no status{length}: {error}"))
                })?;
            status.detail = one_line(&status.detail, 500);
            Ok(status)
        }
        status if is_not_now(status) || status.is_server_error() => Err(retry(answer.summary())),
        _ => Err(PollError::Permanent {
            cause: answer.summary(),
        }),
    }
}

/// Statuses by which a request is turned away before anything is done about it.
fn is_not_now(status: StatusCode) -> bool {
    matches!(
        status,
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
    )
}

fn wait(answer: &Answer, now: DateTime<Utc>) -> Option<Duration> {
    answer.retry_after(now).map(|after| after.min(LONGEST_WAIT))
}

fn have_one_origin(left: &str, right: &str) -> bool {
    match (Url::parse(left), Url::parse(right)) {
        (Ok(left), Ok(right)) => left.origin() == right.origin(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::Mutex;

    use axum::Router;
    use axum::body::Bytes;
    use axum::extract::Path;
    use axum::http::header::RETRY_AFTER;
    use axum::response::IntoResponse;
    use axum::routing::{get, post};
    use serde_json::json;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::Callback;
    use super::*;
    use crate::domain::pipeline::{CandidateReport, PipelineState};
    use crate::outbound::tests::{allowing, nobody, serve, silent_server};

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

    fn now() -> DateTime<Utc> {
        "2013-05-08T03:00:10Z".parse().expect("an instant")
    }

    fn secret_name(end: &str) -> SecretName {
        let name = format!("{}{end}", SecretName::PREFIX);
        SecretName::try_from(name).expect("a good name")
    }

    fn connector(address: SocketAddr) -> HttpPipeline {
        let secrets: SecretLookup = Arc::new(|name| match name.as_str() {
            "BELLWETHER_SECRET_TOKEN" => Some("one-token".to_owned()),
            "BELLWETHER_SECRET_SIGNING" => Some(SECRET.to_owned()),
            "BELLWETHER_SECRET_BROKEN" => Some("line\nbreak".to_owned()),
            _ => None,
        });
        HttpPipeline::new(allowing(address), secrets, Duration::from_secs(1))
    }

    fn definition(address: SocketAddr, path: &str) -> PipelineDef {
        serde_json::from_value(json!({
            "name": "retrain", "url": format!("http://{address}/{path}")
        }))
        .expect("a good definition")
    }

    fn request() -> StartRequest {
        StartRequest {
            run_key: "0197-run".to_owned(),
            model: "air-time".to_owned(),
            parameters: [("from".to_owned(), "2013-03-06".to_owned())].into(),
            requested_at: now(),
            callback: Callback {
                url: "https://bellwether.example/api/v1/runs/0197-run/status".to_owned(),
                token: "one-run-token".to_owned(),
            },
        }
    }

    /// A pipeline that answers `/status/{code}` with that code, `/start` like a good one, and keeps what it got.
    async fn pipeline() -> (SocketAddr, Received) {
        let received = Received::default();
        let kept = received.clone();
        let by_status = async |Path(code): Path<u16>| {
            let status = StatusCode::from_u16(code).expect("a status");
            (status, [(RETRY_AFTER, "99999")], "said the pipeline").into_response()
        };
        let start = post(async move |headers: HeaderMap, body: Bytes| {
            kept.lock().expect("not poisoned").push((headers, body));
            axum::Json(json!({
                "id": 4711,
                "status_url": "/runs/4711",
                "link": "https://pipelines.example/runs/4711",
                "expected_at": "2013-05-08T04:00:00Z",
            }))
        });
        let kept = received.clone();
        let status = get(async move |headers: HeaderMap| {
            kept.lock()
                .expect("not poisoned")
                .push((headers, Bytes::new()));
            axum::Json(json!({
                "state": "succeeded",
                "detail": "trained\non 30,000 rows",
                "candidate": {"version": "v3", "lineage": {"commit": "abc"}},
            }))
        });
        let conflict = post(async || {
            let body = axum::Json(json!({"id": "run-7", "link": "javascript:alert(1)"}));
            (StatusCode::CONFLICT, body)
        });
        let router = Router::new()
            .route("/status/{code}", post(by_status).get(by_status))
            .route("/start", start)
            .route("/runs/4711", status)
            .route("/conflict", conflict)
            .route("/odd", get(async || r#"{"state": "paused"}"#))
            .route("/no-json", get(async || "<html>"))
            .route("/long", get(async || vec![b' '; 1_000_000]));
        (serve(router).await, received)
    }

    /// A server that reads a request and hangs up without an answer.
    async fn hanging_up() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("is bound");
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                let _ = connection.read(&mut [0; 1_024]).await;
                let _ = connection.shutdown().await;
            }
        });
        address
    }

    async fn start(definition: &PipelineDef) -> Result<Started, StartError> {
        let url = Url::parse(&definition.url).expect("a URL");
        let addresses = url.socket_addrs(|| None).expect("a literal address");
        connector(addresses[0])
            .start(definition, &request(), now())
            .await
    }

    fn kind(outcome: &Result<Started, StartError>) -> &'static str {
        match outcome {
            Ok(_) => "started",
            Err(StartError::Refused { .. }) => "refused",
            Err(StartError::Retry { .. }) => "retry",
            Err(StartError::Unknown { .. }) => "unknown",
        }
    }

    #[tokio::test]
    async fn good_pipeline_is_asked_in_full_and_understood() {
        let (address, received) = pipeline().await;
        let mut definition = definition(address, "start");
        definition.token_env = Some(secret_name("TOKEN"));
        definition.secret_env = Some(secret_name("SIGNING"));
        let started = start(&definition).await.expect("is started");
        let expected = Started {
            external_id: Some("4711".to_owned()),
            status_url: Some(format!("http://{address}/runs/4711")),
            link: Some("https://pipelines.example/runs/4711".to_owned()),
            expected_at: Some("2013-05-08T04:00:00Z".parse().expect("an instant")),
        };
        assert_eq!(started, expected);

        let received = received.lock().expect("not poisoned");
        let (headers, body) = &received[0];
        assert_eq!(headers["idempotency-key"], "0197-run");
        assert_eq!(headers["authorization"], "Bearer one-token");
        assert_eq!(headers["webhook-id"], "0197-run");
        let signature = standardwebhooks::Webhook::new(SECRET)
            .and_then(|key| key.sign("0197-run", now().timestamp(), body))
            .expect("signs");
        assert_eq!(headers["webhook-signature"], signature);
        let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        insta::assert_json_snapshot!("start_request", body);
    }

    #[tokio::test]
    async fn statuses_decide_what_became_of_the_start() {
        let (address, _) = pipeline().await;
        for (codes, expected, expected_when_idempotent) in [
            (&[200, 201, 202, 204][..], "started", "started"),
            (&[409], "started", "started"),
            (&[408, 425, 429], "retry", "retry"),
            (
                &[301, 307, 400, 401, 403, 404, 410, 422],
                "refused",
                "refused",
            ),
            (&[500, 502, 503, 504], "unknown", "retry"),
        ] {
            for code in codes {
                let mut definition = definition(address, &format!("status/{code}"));
                let outcome = start(&definition).await;
                assert_eq!(kind(&outcome), expected, "{code}: {outcome:?}");
                definition.idempotent = true;
                let outcome = start(&definition).await;
                assert_eq!(
                    kind(&outcome),
                    expected_when_idempotent,
                    "{code}: {outcome:?}"
                );
            }
        }
    }

    #[tokio::test]
    async fn lost_answers_are_unknown_and_lost_connections_are_not() {
        for (address, expected, expected_when_idempotent) in [
            (nobody().await, "retry", "retry"),
            (silent_server().await, "unknown", "retry"),
            (hanging_up().await, "unknown", "retry"),
        ] {
            let mut definition = definition(address, "start");
            let outcome = start(&definition).await;
            assert_eq!(kind(&outcome), expected, "{outcome:?}");
            definition.idempotent = true;
            let outcome = start(&definition).await;
            assert_eq!(kind(&outcome), expected_when_idempotent, "{outcome:?}");
        }
    }

    #[tokio::test]
    async fn wait_that_the_pipeline_asks_for_is_bounded() {
        let (address, _) = pipeline().await;
        let outcome = start(&definition(address, "status/429")).await;
        let Err(StartError::Retry { after, cause }) = outcome else {
            panic!("{outcome:?}");
        };
        assert_eq!(after, Some(LONGEST_WAIT));
        assert_eq!(cause, "answered 429 Too Many Requests: said the pipeline");
    }

    #[tokio::test]
    async fn run_that_is_already_there_is_adopted() {
        let (address, _) = pipeline().await;
        let started = start(&definition(address, "conflict")).await;
        let expected = Started {
            external_id: Some("run-7".to_owned()),
            ..Started::default()
        };
        assert_eq!(
            started,
            Ok(expected),
            "and a link that is no page is dropped"
        );
    }

    #[tokio::test]
    async fn nothing_is_sent_when_a_secret_is_missing_or_the_target_is_inside() {
        let (address, received) = pipeline().await;
        for end in ["MISSING", "BROKEN"] {
            let mut by_token = definition(address, "start");
            by_token.token_env = Some(secret_name(end));
            let mut by_signature = definition(address, "start");
            by_signature.secret_env = Some(secret_name(end));
            for definition in [by_token, by_signature] {
                let outcome = start(&definition).await;
                assert_eq!(kind(&outcome), "refused", "{outcome:?}");
                let text = outcome.expect_err("is refused").to_string();
                assert!(text.contains(end) && !text.contains("break"), "{text}");
            }
        }
        let inside = definition(nobody().await, "start");
        let outcome = connector(address).start(&inside, &request(), now()).await;
        assert_eq!(kind(&outcome), "refused", "{outcome:?}");
        assert!(received.lock().expect("not poisoned").is_empty());
    }

    #[tokio::test]
    async fn status_of_a_run_is_read_with_its_candidate() {
        let (address, received) = pipeline().await;
        let mut definition = definition(address, "start");
        definition.token_env = Some(secret_name("TOKEN"));
        let status = connector(address)
            .poll(&definition, &format!("http://{address}/runs/4711"), now())
            .await;
        let expected = PipelineStatus {
            state: PipelineState::Succeeded,
            detail: "trained on 30,000 rows".to_owned(),
            candidate: Some(CandidateReport {
                version: "v3".to_owned(),
                lineage: json!({"commit": "abc"}),
            }),
        };
        assert_eq!(status, Ok(expected));
        let received = received.lock().expect("not poisoned");
        assert_eq!(received[0].0["authorization"], "Bearer one-token");
    }

    #[tokio::test]
    async fn token_is_not_sent_to_another_host() {
        let (address, received) = pipeline().await;
        let mut definition = definition(nobody().await, "start");
        definition.token_env = Some(secret_name("TOKEN"));
        connector(address)
            .poll(&definition, &format!("http://{address}/runs/4711"), now())
            .await
            .expect("answers");
        let received = received.lock().expect("not poisoned");
        assert!(!received[0].0.contains_key("authorization"));
    }

    #[tokio::test]
    async fn answers_that_are_no_status_are_told_apart() {
        let (address, _) = pipeline().await;
        for (path, expected) in [
            ("odd", "unknown state"),
            ("no-json", "retry"),
            ("long", "retry"),
            ("status/200", "retry"),
            ("status/429", "retry"),
            ("status/503", "retry"),
            ("status/302", "permanent"),
            ("status/401", "permanent"),
            ("status/404", "permanent"),
        ] {
            let polled = connector(address)
                .poll(
                    &definition(address, "start"),
                    &format!("http://{address}/{path}"),
                    now(),
                )
                .await;
            let kind = match &polled {
                Ok(status) if status.state == PipelineState::Unknown => "unknown state",
                Ok(_) => "known state",
                Err(PollError::Retry { .. }) => "retry",
                Err(PollError::Permanent { .. }) => "permanent",
            };
            assert_eq!(kind, expected, "{path}: {polled:?}");
        }
    }

    #[test]
    fn callback_token_is_not_printed() {
        assert!(!format!("{:?}", request()).contains("one-run-token"));
    }
}
