//! Whether the service lives, whether it can work, what it counts and what time it has.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;

use super::ApiState;
use super::auth::{Authorised, Read};
use crate::services::Services;
use crate::storage;

/// How long the database may take to say that it is there.
const READY_TIME_OUT: Duration = Duration::from_secs(2);

/// The service's condition.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Readiness {
    pub ready: bool,
    /// Whether the database answers.
    pub database: bool,
    /// Whether the database has this version's tables.
    pub migrated: bool,
    /// Settings of the database with which an acknowledged batch could be lost.
    pub not_durable: Vec<&'static str>,
}

/// The clock that data, windows, alerts and runs live by.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct ClockReading {
    pub now: DateTime<Utc>,
    /// Whether the clock is a replayed one, which moves only when told to.
    pub replay: bool,
}

/// Whether the process answers; asks nothing of the database.
#[utoipa::path(
    get, path = "/healthz", tag = "service",
    responses((status = 200, description = "Alive", body = String, content_type = "text/plain"))
)]
pub async fn alive() -> &'static str {
    "alive\n"
}

/// Whether requests can be served: the database answers and has the right tables.
#[utoipa::path(
    get, path = "/readyz", tag = "service",
    responses(
        (status = 200, description = "Ready", body = Readiness),
        (status = 503, description = "Not ready", body = Readiness),
    )
)]
pub async fn ready(State(state): State<ApiState>) -> (StatusCode, Json<Readiness>) {
    let asked = tokio::time::timeout(READY_TIME_OUT, is_migrated(&state.services.pool)).await;
    let migrated = match asked {
        Ok(Ok(migrated)) => Some(migrated),
        Ok(Err(error)) => {
            tracing::warn!(%error, "not ready: the database does not answer");
            None
        }
        Err(_) => {
            tracing::warn!("not ready: the database does not answer in time");
            None
        }
    };
    let readiness = Readiness {
        ready: migrated == Some(true),
        database: migrated.is_some(),
        migrated: migrated == Some(true),
        not_durable: state.not_durable.to_vec(),
    };
    let status = if readiness.ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(readiness))
}

async fn is_migrated(pool: &PgPool) -> sqlx::Result<bool> {
    storage::is_migrated(&mut *pool.acquire().await?).await
}

/// The service's own metrics, for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "service", security(("token" = ["read"])),
    responses((status = 200, description = "Prometheus text", body = String, content_type = "text/plain"))
)]
pub async fn metrics(_caller: Authorised<Read>, State(state): State<ApiState>) -> Response {
    let text = (state.metrics)();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], text).into_response()
}

/// What time the service has.
#[utoipa::path(
    get, path = "/clock", tag = "service", security(("token" = ["read"])),
    responses((status = 200, description = "The time", body = ClockReading))
)]
pub async fn clock(
    _caller: Authorised<Read>,
    State(services): State<Services>,
) -> Json<ClockReading> {
    Json(ClockReading {
        now: services.clock.now(),
        replay: services.replay.is_some(),
    })
}
