//! Webhooks: a message as signed JSON, after Standard Webhooks 1.0.0.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use reqwest::StatusCode;
use serde::Serialize;

use super::{Notifier, Receipt, SendError};
use crate::domain::message::Message;
use crate::outbound::LONGEST_WAIT;
use crate::outbound::signature::{BadSecret, Signer};
use crate::outbound::{Answer, Outbound, OutboundError, Refusal};

/// How long a receiver has to answer, unless said otherwise.
pub const TIME_OUT: Duration = Duration::from_secs(20);

/// One URL that takes messages.
#[derive(Debug)]
pub struct Webhook {
    outbound: Outbound,
    url: String,
    signer: Signer,
    time_out: Duration,
}

/// A webhook that cannot be used as it is configured.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadWebhook {
    #[error(transparent)]
    Target(#[from] Refusal),
    #[error(transparent)]
    Secret(#[from] BadSecret),
}

/// The body.
#[derive(Serialize)]
struct Event<'a> {
    r#type: &'static str,
    timestamp: DateTime<Utc>,
    data: &'a Message,
}

impl Webhook {
    /// A webhook that signs with `secret` (`whsec_…`).
    ///
    /// # Errors
    /// [`BadWebhook`] if the guard refuses the URL or the secret is not of the right form.
    pub fn new(
        outbound: Outbound,
        url: &str,
        secret: &str,
        time_out: Duration,
    ) -> Result<Self, BadWebhook> {
        outbound.check(url)?;
        Ok(Self {
            outbound,
            url: url.to_owned(),
            signer: Signer::new(secret)?,
            time_out,
        })
    }

    async fn post(
        &self,
        delivery_key: &str,
        message: &Message,
        now: DateTime<Utc>,
    ) -> Result<Receipt, SendError> {
        let event = Event {
            r#type: message.reason.event_type(),
            timestamp: message.at,
            data: &message.tidied(),
        };
        let body = serde_json::to_vec(&event).map_err(permanent)?;
        let headers = self
            .signer
            .headers(delivery_key, now, &body)
            .map_err(permanent)?;
        let answer = self
            .outbound
            .post_json(&self.url, headers, body, self.time_out)
            .await;
        match answer {
            Ok(answer) => verdict(&answer, now),
            Err(OutboundError::Refused(refusal)) => Err(permanent(refusal)),
            Err(error) => Err(SendError::Retry {
                after: None,
                cause: error.to_string(),
            }),
        }
    }
}

impl Notifier for Webhook {
    fn send<'a>(
        &'a self,
        delivery_key: &'a str,
        message: &'a Message,
        now: DateTime<Utc>,
    ) -> BoxFuture<'a, Result<Receipt, SendError>> {
        Box::pin(self.post(delivery_key, message, now))
    }
}

/// What a status means for the delivery. A redirect is a failure: the receiver's people have to enter the new
/// address, which is judged anew.
fn verdict(answer: &Answer, now: DateTime<Utc>) -> Result<Receipt, SendError> {
    let status = answer.status;
    let worth_repeating = status.is_server_error()
        || matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS
        );
    if status.is_success() {
        Ok(Receipt {
            detail: answer.summary(),
        })
    } else if worth_repeating {
        let after = answer.retry_after(now);
        Err(SendError::Retry {
            after: after.map(|after| after.min(LONGEST_WAIT)),
            cause: answer.summary(),
        })
    } else {
        Err(SendError::Permanent {
            cause: answer.summary(),
        })
    }
}

fn permanent(error: impl std::fmt::Display) -> SendError {
    SendError::Permanent {
        cause: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;
    use std::sync::{Arc, Mutex};

    use axum::Router;
    use axum::body::Bytes;
    use axum::http::HeaderMap;
    use axum::http::header::{LOCATION, RETRY_AFTER};
    use axum::response::IntoResponse;
    use axum::routing::post;

    use super::super::conformance::{self, Behaviour, Channel};
    use super::crate::outbound::tests::{allowing, nobody, serve, silent_server};
    use super::*;
    use crate::domain::message::NotifyReason;
    use crate::domain::message::tests::example;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    type Received = Arc<Mutex<Vec<(HeaderMap, Bytes)>>>;

    fn now() -> DateTime<Utc> {
        "2013-05-08T03:00:10Z".parse().expect("an instant")
    }

    fn webhook(address: SocketAddr, path: &str) -> Webhook {
        let url = format!("http://{address}/{path}");
        Webhook::new(allowing(address), &url, SECRET, Duration::from_secs(1)).expect("is good")
    }

    /// A receiver that answers `/status/{code}` with that code and keeps what it got.
    async fn receiver() -> (SocketAddr, Received) {
        let received = Received::default();
        let kept = received.clone();
        let by_status = post(
            async move |axum::extract::Path(code): axum::extract::Path<u16>,
                        headers: HeaderMap,
                        body: Bytes| {
                kept.lock().expect("not poisoned").push((headers, body));
                let status = StatusCode::from_u16(code).expect("a status");
                let waits = [(RETRY_AFTER, "99999"), (LOCATION, "http://127.0.0.1/")];
                (status, waits, "said the receiver").into_response()
            },
        );
        let babble = post(async || vec![b'x'; 10_000_000]);
        let router = Router::new()
            .route("/status/{code}", by_status)
            .route("/babble", babble);
        (serve(router).await, received)
    }

    #[tokio::test]
    async fn statuses_decide_whether_it_is_tried_again() {
        let (address, _) = receiver().await;
        for (codes, expected) in [
            (&[200, 201, 202, 204, 299][..], "delivered"),
            (&[408, 425, 429, 500, 502, 503, 504, 599], "retry"),
            (&[301, 302, 307, 308], "permanent"),
            (&[400, 401, 403, 404, 405, 409, 410, 422], "permanent"),
        ] {
            for code in codes {
                let sent = webhook(address, &format!("status/{code}"))
                    .send("key", &example(NotifyReason::AlertOpened), now())
                    .await;
                let outcome = match &sent {
                    Ok(_) => "delivered",
                    Err(SendError::Retry { after, .. }) => {
                        assert_eq!(*after, Some(LONGEST_WAIT), "Retry-After is bounded");
                        "retry"
                    }
                    Err(SendError::Permanent { .. }) => "permanent",
                };
                assert_eq!(outcome, expected, "{code}: {sent:?}");
            }
        }
    }

    #[tokio::test]
    async fn body_and_headers_are_those_of_standard_webhooks() {
        let (address, received) = receiver().await;
        let message = example(NotifyReason::AlertOpened);
        webhook(address, "status/200")
            .send("0197-delivery", &message, now())
            .await
            .expect("is delivered");
        let received = received.lock().expect("not poisoned");
        let (headers, body) = &received[0];
        assert_eq!(headers["webhook-id"], "0197-delivery");
        assert_eq!(headers["webhook-timestamp"], now().timestamp().to_string());
        assert_eq!(headers["content-type"], "application/json");
        let expected = standardwebhooks::Webhook::new(SECRET)
            .and_then(|key| key.sign("0197-delivery", now().timestamp(), body))
            .expect("signs");
        assert_eq!(headers["webhook-signature"], expected);
        let body: serde_json::Value = serde_json::from_slice(body).expect("JSON");
        insta::assert_json_snapshot!("webhook_alert_opened", body);
    }

    #[tokio::test]
    async fn key_that_is_no_header_value_is_never_sent() {
        let (address, received) = receiver().await;
        let sent = webhook(address, "status/200")
            .send("a\r\nb", &example(NotifyReason::AlertOpened), now())
            .await;
        assert!(matches!(sent, Err(SendError::Permanent { .. })), "{sent:?}");
        assert!(received.lock().expect("not poisoned").is_empty());
    }

    #[test]
    fn unsafe_target_or_weak_secret_makes_no_webhook() {
        let outbound = Outbound::new(Vec::new()).expect("sets up");
        let inside = Webhook::new(outbound.clone(), "http://10.0.0.1/", SECRET, TIME_OUT);
        assert!(matches!(inside, Err(BadWebhook::Target(_))));
        let weak = Webhook::new(outbound, "https://example.org/", "whsec_c2hvcnQ=", TIME_OUT);
        assert_eq!(weak.err(), Some(BadWebhook::Secret(BadSecret)));
    }

    struct WebhookChannel {
        address: SocketAddr,
        received: Received,
    }

    impl Channel for WebhookChannel {
        async fn facing(&self, behaviour: Behaviour) -> Box<dyn Notifier> {
            let (address, path) = match behaviour {
                Behaviour::Takes => (self.address, "status/200"),
                Behaviour::NotNow => (self.address, "status/503"),
                Behaviour::Never => (self.address, "status/410"),
                Behaviour::Babbles => (self.address, "babble"),
                Behaviour::Silent => (silent_server().await, ""),
                Behaviour::Absent => (nobody().await, ""),
            };
            Box::new(webhook(address, path))
        }

        async fn received(&self) -> Vec<conformance::Received> {
            let received = self.received.lock().expect("not poisoned");
            received
                .iter()
                .map(|(headers, body)| conformance::Received {
                    identity: headers["webhook-id"].to_str().expect("text").to_owned(),
                    size: body.len(),
                    headers: headers.keys().map(ToString::to_string).collect(),
                })
                .collect()
        }
    }

    #[tokio::test]
    async fn webhook_conforms() {
        let (address, received) = receiver().await;
        let channel = WebhookChannel { address, received };
        conformance::check(&channel).await;
    }
}
