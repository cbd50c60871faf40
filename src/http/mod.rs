//! The JSON API: translates requests into calls of [`crate::services`] and their results into documents. It
//! holds no rules. Reads may go to storage directly; whatever changes state goes through a service.
//!
//! The routes and their OpenAPI description are one thing: each handler carries its `#[utoipa::path]`, and
//! [`router`] and [`openapi`] are both made from the same list, so a route cannot be missing from the
//! description. The scope a route needs stands in that description too, and a test asks every route without
//! it. The guard of [`headers`] is wrapped around everything by whoever serves, pages included.

mod alerts;
pub mod auth;
mod baselines;
pub mod bodies;
mod candidates;
mod causes;
mod cloudevents;
mod custody;
mod definitions;
mod description;
mod files;
pub mod headers;
mod health;
mod intake;
mod measurements;
mod models;
mod moments;
mod names;
mod observe;
mod otlp;
mod overload;
mod pipeline_runs;
pub mod problem;
mod rules;
mod runs;
mod schemas;
mod telemetry;
mod tokens;

use std::ops::Deref;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, FromRef, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use futures::FutureExt;
use sqlx::PgPool;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

pub use bodies::Bodies;
pub use observe::Instruments;
pub use overload::{OpenRequests, bound_forms, bound_reads, bound_requests};

use crate::services::Services;
use crate::services::access::{Site, WallClock};
use crate::services::ingest::Intake;

/// Makes the text of the metrics page.
pub type Metrics = Arc<dyn Fn() -> String + Send + Sync>;

/// What the handlers need. Every layer that a request passes clones it, so it is shared.
#[derive(Clone)]
pub struct ApiState(Arc<ApiParts>);

/// What is in an [`ApiState`].
#[derive(Clone)]
pub struct ApiParts {
    pub services: Services,
    pub site: Site,
    /// The service's metrics in the Prometheus text format.
    pub metrics: Metrics,
    /// Settings of the database with which an acknowledged batch could be lost.
    pub not_durable: Arc<Vec<&'static str>>,
    pub instruments: Instruments,
    /// Connections that taking data in has for itself, and must do with.
    pub intake_pool: PgPool,
    pub bodies: Bodies,
}

impl From<ApiParts> for ApiState {
    fn from(parts: ApiParts) -> Self {
        Self(Arc::new(parts))
    }
}

impl Deref for ApiState {
    type Target = ApiParts;

    fn deref(&self) -> &ApiParts {
        &self.0
    }
}

impl ApiState {
    /// The same for the routes that take data in.
    fn for_intake(&self) -> Self {
        let mut parts = ApiParts::clone(self);
        parts.services.pool = self.intake_pool.clone();
        parts.into()
    }
}

impl FromRef<ApiState> for Services {
    fn from_ref(state: &ApiState) -> Self {
        state.services.clone()
    }
}

impl FromRef<ApiState> for PgPool {
    fn from_ref(state: &ApiState) -> Self {
        state.services.pool.clone()
    }
}

impl FromRef<ApiState> for Intake {
    fn from_ref(state: &ApiState) -> Self {
        state.services.intake.clone()
    }
}

impl FromRef<ApiState> for WallClock {
    fn from_ref(state: &ApiState) -> Self {
        Self(state.services.wall.clone())
    }
}

impl FromRef<ApiState> for Site {
    fn from_ref(state: &ApiState) -> Self {
        state.site.clone()
    }
}

impl FromRef<ApiState> for Bodies {
    fn from_ref(state: &ApiState) -> Self {
        state.bodies.clone()
    }
}

/// Everything the API answers. Paths below `/api/` that are no route get a problem document; other paths are
/// left to the router this one is merged into.
pub fn router(state: ApiState) -> Router {
    let observed = state.instruments.clone();
    let intake = intake().with_state(state.for_intake());
    let (routes, _) = described().merge(intake).split_for_parts();
    routes
        .merge(otlp::routes().with_state(state.for_intake()))
        .merge(cloudevents::routes().with_state(state.for_intake()))
        .route("/api/{*rest}", axum::routing::any(problem::no_such_route))
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(from_fn_with_state(observed, around))
        .with_state(state)
}

/// What is around every route. It is one layer and not one for each thing, because every request clones every layer, and
/// each of these clones what is inside it.
async fn around(
    State(instruments): State<Instruments>,
    mut request: Request,
    next: Next,
) -> Response {
    DefaultBodyLimit::max(bodies::MOST_BYTES_OF_A_DOCUMENT).apply(&mut request);
    let answer = async |request| {
        let answer = AssertUnwindSafe(overload::bound_reads(request, next)).catch_unwind();
        answer.await.unwrap_or_else(problem::of_panic)
    };
    observe::request(&instruments, request, answer).await
}

/// The description of the API, as `bellwether openapi` prints it.
#[must_use]
pub fn openapi() -> utoipa::openapi::OpenApi {
    description::complete(described().merge(intake()).into_openapi())
}

fn described() -> OpenApiRouter<ApiState> {
    OpenApiRouter::with_openapi(description::head())
        .routes(routes!(health::alive))
        .routes(routes!(health::ready))
        .routes(routes!(health::metrics))
        .nest("/api/v1", api())
}

/// The routes that take data in. They have connections of their own: however many senders there are, they
/// cannot take those that pages and background tasks work with, nor be held up by them.
fn intake() -> OpenApiRouter<ApiState> {
    // With their whole paths: a nested route is a layer more for each request.
    OpenApiRouter::new()
        .routes(routes!(intake::send_predictions))
        .routes(routes!(intake::send_labels))
        .routes(routes!(cloudevents::send_events))
        .routes(routes!(cloudevents::send_events_with_token))
        .routes(routes!(otlp::export_logs))
        .routes(routes!(otlp::export_traces))
        .routes(routes!(otlp::export_metrics))
}

fn api() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(intake::batch))
        .routes(routes!(intake::retry))
        .routes(routes!(intake::give_up))
        .routes(routes!(intake::failed))
        .routes(routes!(intake::counts))
        .routes(routes!(files::list, files::begin))
        .routes(routes!(files::advance))
        .routes(routes!(telemetry::model_telemetry))
        .routes(routes!(telemetry::unused_telemetry))
        .routes(routes!(models::list, models::register))
        .routes(routes!(models::show))
        .routes(routes!(models::register_version))
        .routes(routes!(models::promote))
        .routes(routes!(baselines::list, baselines::declare))
        .routes(routes!(baselines::fit))
        .routes(routes!(schemas::show))
        .routes(routes!(schemas::proposals, schemas::propose))
        .routes(routes!(schemas::proposal, schemas::decide))
        .routes(routes!(measurements::measurements))
        .routes(routes!(measurements::quality))
        .routes(routes!(causes::causes))
        .routes(routes!(rules::list))
        .routes(routes!(alerts::list))
        .routes(routes!(alerts::show))
        .routes(routes!(alerts::deliveries))
        .routes(routes!(runs::list))
        .routes(routes!(runs::show))
        .routes(routes!(runs::start))
        .routes(routes!(runs::decide))
        .routes(routes!(pipeline_runs::list))
        .routes(routes!(pipeline_runs::report))
        .routes(routes!(candidates::list))
        .routes(routes!(candidates::promotions))
        .routes(routes!(definitions::list, definitions::apply))
        .routes(routes!(tokens::list, tokens::create))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::audit))
        .routes(routes!(custody::plan))
        .routes(routes!(custody::run))
        .routes(routes!(custody::archived))
        .routes(routes!(custody::restore))
        .routes(routes!(custody::erase))
        .routes(routes!(health::clock))
        .routes(routes!(description::serve))
}

#[cfg(test)]
mod tests;
