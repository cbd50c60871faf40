//! `POST /api/v1/replay/advance`: there only while the service runs on the replay clock.

use axum::extract::{FromRef, State};
use axum::routing::post;
use axum::{Json, Router};
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;

use crate::http::ApiState;
use crate::http::auth::{Admin, Authorised};
use crate::http::problem::Problem;
use crate::scheduler::Scheduler;
use crate::services::access::{Site, WallClock};
use crate::services::ingest::Intake;

#[derive(Clone)]
struct ReplayState {
    scheduler: Scheduler,
    api: ApiState,
}

macro_rules! part_of_the_api {
    ($($part:ty),+) => {$(
        impl FromRef<ReplayState> for $part {
            fn from_ref(state: &ReplayState) -> Self {
                Self::from_ref(&state.api)
            }
        }
    )+};
}

impl FromRef<ReplayState> for PgPool {
    fn from_ref(state: &ReplayState) -> Self {
        state.api.services.pool.clone()
    }
}

part_of_the_api!(WallClock, Site, Intake);

/// The route, for the application to merge.
pub(super) fn router(scheduler: Scheduler, api: ApiState) -> Router {
    Router::new()
        .route("/api/v1/replay/advance", post(advance))
        .with_state(ReplayState { scheduler, api })
}

#[derive(Deserialize)]
struct Advance {
    to: DateTime<Utc>,
}

#[derive(Serialize)]
struct Advanced {
    now: DateTime<Utc>,
}

async fn advance(
    State(state): State<ReplayState>,
    _admin: Authorised<Admin>,
    Json(advance): Json<Advance>,
) -> Result<Json<Advanced>, Problem> {
    let now = state.scheduler.advance(advance.to).await?;
    Ok(Json(Advanced { now }))
}
