//! The pages. They are rendered on the server and work without script; script adds hover, zoom and live
//! updates. A page reads `storage` directly; whatever changes something is a service call followed by a
//! redirect. The page templates are in `templates/pages`, what several pages show in `templates/partials`.
//!
//! A page knows two clocks: data are as old as `Services::clock` says (the replay clock in the demo),
//! sessions live by `Services::wall`.

mod answer;
pub mod assets;
mod cause_view;
mod chart;
mod dashboard;
mod escape;
mod evidence;
mod frame;
mod heatmap;
mod markdown;
mod measure_chart;
mod pages;
mod run_view;
mod tone;
mod visitor;
mod wording;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};

use crate::services::Services;

/// Forms are small; nothing a page sends comes near this.
const LARGEST_FORM_BYTES: usize = 64 * 1024;

/// Every page and form of the interface.
pub fn router() -> Router<Services> {
    Router::new()
        .route("/", get(pages::fleet::show))
        .route(
            "/sign-in",
            get(pages::sign_in::show).post(pages::sign_in::sign_in),
        )
        .route("/sign-out", post(pages::sign_in::sign_out))
        .route("/models/{name}", get(pages::model::show))
        .route("/models/{name}/runs", post(pages::runs::start))
        .route(
            "/models/{name}/baselines/{baseline}",
            post(pages::baselines::replace),
        )
        .route("/models/{name}/causes", get(pages::causes::show))
        .route("/models/{name}/rules", get(pages::rules::show))
        .route("/models/{name}/schema", get(pages::schema::show))
        .route(
            "/models/{name}/schema/proposals/{id}",
            post(pages::schema::decide),
        )
        .route("/alerts", get(pages::alerts::show))
        .route("/alerts/{id}", get(pages::alert::show))
        .route("/runs/{id}", get(pages::runs::show))
        .route("/approvals/{id}", post(pages::runs::decide))
        .route("/deliveries", get(pages::deliveries::list))
        .route("/deliveries/{id}", get(pages::deliveries::show))
        .route("/settings", get(pages::settings::show))
        .route("/settings/tokens", post(pages::settings::create_token))
        .route(
            "/settings/tokens/{id}/revoke",
            post(pages::settings::revoke_token),
        )
        .route("/settings/password", post(pages::settings::change_password))
        .route("/assets/{revision}/{*name}", get(assets::serve))
        .layer(DefaultBodyLimit::max(LARGEST_FORM_BYTES))
}

/// The page for an address that nothing answers to; for the application's fallback.
pub async fn not_found() -> axum::response::Response {
    use axum::response::IntoResponse;
    answer::Failure::page_not_found().into_response()
}
