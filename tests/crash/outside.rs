//! The world around the service: a webhook that writes down what it is told, and a pipeline that trains at once
//! and promises that asking twice starts one run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What has come in from the service.
#[derive(Debug, Clone, Default)]
pub struct Heard {
    /// Deliveries by key, with the alert they are about and their place in its order; in the order in which
    /// each was first heard.
    pub messages: Vec<Message>,
    /// How often each pipeline run was asked for.
    pub runs: BTreeMap<String, usize>,
}

/// A message the webhook was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    pub key: String,
    pub thread: String,
    pub sequence: i64,
}

impl Heard {
    /// The keys of all messages.
    pub fn keys(&self) -> BTreeSet<&str> {
        self.messages
            .iter()
            .map(|message| message.key.as_str())
            .collect()
    }
}

#[derive(Clone)]
pub struct Outside {
    heard: Arc<Mutex<Heard>>,
    pub port: u16,
}

impl Outside {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let outside = Self {
            heard: Arc::default(),
            port,
        };
        let router = Router::new()
            .route("/hook", post(take_message))
            .route("/runs", post(start_run))
            .route("/runs/{key}", get(show_run))
            .with_state(outside.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        outside
    }

    pub fn heard(&self) -> Heard {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn take_message(State(outside): State<Outside>, headers: HeaderMap, Json(body): Json<Value>) {
    let key = headers
        .get("webhook-id")
        .and_then(|key| key.to_str().ok())
        .expect("the message has a key");
    let message = Message {
        key: key.to_owned(),
        thread: body["data"]["thread"]
            .as_str()
            .unwrap_or_default()
            .to_owned(),
        sequence: body["data"]["sequence"].as_i64().unwrap_or_default(),
    };
    let mut heard = outside.lock();
    if !heard.messages.contains(&message) {
        heard.messages.push(message);
    }
}

async fn start_run(State(outside): State<Outside>, Json(request): Json<Value>) -> Json<Value> {
    let key = request["run_key"].as_str().expect("the run has a key");
    *outside.lock().runs.entry(key.to_owned()).or_default() += 1;
    Json(json!({"id": key, "status_url": format!("/runs/{key}")}))
}

async fn show_run(Path(key): Path<String>) -> Json<Value> {
    Json(json!({"state": "succeeded", "candidate": {"version": format!("trained-{key}")}}))
}
