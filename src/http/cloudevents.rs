//! Events of serving platforms. KServe's logger can send no header of its own, so the token may stand in the address;
//! it takes every answer but 200 for an error, never sends again, and holds up inference while it waits: so the
//! answer is given as soon as the event is durable, and says nothing.

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HeaderName, HeaderValue};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;

use super::ApiState;
use super::auth::{self, Authorised, Ingest};
use super::bodies::{Path, Query};
use super::overload::Timely;
use super::problem::Problem;
use crate::formats::cloudevents::{self, Mode};
use crate::services::Error;
use crate::services::access::Principal;
use crate::services::ingest::{self, EventUpload, Taken};

const REQUEST_ORIGIN: HeaderName = HeaderName::from_static("webhook-request-origin");
const ALLOWED_ORIGIN: HeaderName = HeaderName::from_static("webhook-allowed-origin");
const ALLOWED_RATE: HeaderName = HeaderName::from_static("webhook-allowed-rate");

/// What the address may say, for senders that can say it nowhere else.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct EventsQuery {
    /// The token.
    access_token: Option<String>,
    /// The model, when it is not called as its inference service is.
    model: Option<String>,
    /// The version, when the answers do not name it or name it otherwise.
    version: Option<String>,
}

/// Takes in `CloudEvents`: requests and responses of inferences, as KServe, Seldon and MLServer log them, in binary,
/// structured or batch mode. Both halves of an inference become predictions, in whatever order they come.
#[utoipa::path(
    post, path = "/api/v1/cloudevents", tag = "plug in", security(("token" = ["ingest"])), params(EventsQuery),
    request_body(description = "The data of an event, or events", content(
        ("application/json"), ("application/cloudevents+json"), ("application/cloudevents-batch+json")
    )),
    responses((status = 200, description = "The events are durable"))
)]
pub async fn send_events(
    State(state): State<ApiState>,
    query: Query<EventsQuery>,
    request: Request,
) -> Result<StatusCode, Problem> {
    take(&state, None, query.0, request).await
}

/// As without a token in the address, for senders that can only be given an address.
#[utoipa::path(
    post, path = "/api/v1/cloudevents/{token}", tag = "plug in", security(("token" = ["ingest"])),
    params(("token" = String, Path, description = "A token with the scope `ingest`"), EventsQuery),
    request_body(description = "The data of an event, or events", content(
        ("application/json"), ("application/cloudevents+json"), ("application/cloudevents-batch+json")
    )),
    responses((status = 200, description = "The events are durable"))
)]
pub async fn send_events_with_token(
    State(state): State<ApiState>,
    Path(token): Path<String>,
    query: Query<EventsQuery>,
    request: Request,
) -> Result<StatusCode, Problem> {
    take(&state, Some(token), query.0, request).await
}

async fn take(
    state: &ApiState,
    token: Option<String>,
    query: EventsQuery,
    request: Request,
) -> Result<StatusCode, Problem> {
    let (mut head, body) = request.into_parts();
    present(&mut head, token.or(query.access_token))?;
    // Whether a token is still good is asked where the events land, which saves a way to the database and back.
    let presumed = auth::presumed(&head.headers, state).map(|(principal, _)| principal);
    let asked = match &presumed {
        Some(_) => None,
        None => Some(caller(state, &mut head).await?.principal),
    };
    let (body, _room) = state.bodies.receive(&head.headers, body).await?;
    let of = (query.model, query.version);
    if let Some(principal) = presumed {
        // Whatever does not go well may be for reasons that the sender must not hear without a good token.
        match land(state, &principal, true, &head, &body, &of).await {
            Ok(Taken::Landed(landed)) => {
                state.instruments.events(landed);
                return Ok(StatusCode::OK);
            }
            Err(away) if away.status == StatusCode::SERVICE_UNAVAILABLE.as_u16() => {
                return Err(away);
            }
            Ok(Taken::Unsure) | Err(_) => {}
        }
    }
    let principal = match asked {
        Some(principal) => principal,
        None => caller(state, &mut head).await?.principal,
    };
    if let Taken::Landed(landed) = land(state, &principal, false, &head, &body, &of).await? {
        state.instruments.events(landed);
    }
    Ok(StatusCode::OK)
}

/// Lands what a body holds.
async fn land(
    state: &ApiState,
    principal: &Principal,
    presumed: bool,
    head: &Parts,
    body: &[u8],
    (model, version): &(Option<String>, Option<String>),
) -> Result<Taken, Problem> {
    let mode = Mode::of(text(&head.headers, CONTENT_TYPE.as_str()).unwrap_or_default());
    let received_at = state.services.clock.now().timestamp_micros();
    let header = |name: &str| text(&head.headers, name);
    let events = cloudevents::read(mode, header, body, received_at)
        .map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
    let upload = EventUpload {
        project_id: principal.project_id,
        generation: principal.generation,
        model: model.clone(),
        version: version.clone(),
        events,
        presumed,
    };
    Ok(ingest::events(&state.services, upload).await?)
}

/// Puts the token of the address where others have theirs; a credential in the headers counts before it.
fn present(head: &mut Parts, token: Option<String>) -> Result<(), Error> {
    if !head.headers.contains_key(AUTHORIZATION)
        && let Some(token) = token
    {
        let value = HeaderValue::try_from(format!("Bearer {token}"));
        let told = "the token in the address is none";
        let value = value.map_err(|_| Error::Unauthenticated(told.to_owned()))?;
        head.headers.insert(AUTHORIZATION, value);
    }
    Ok(())
}

/// Who sends this.
async fn caller(state: &ApiState, head: &mut Parts) -> Result<Authorised<Ingest>, Problem> {
    let caller = Timely::<Authorised<Ingest>>::from_request_parts(head, state).await?;
    Ok(caller.0)
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name)?.to_str().ok()
}

/// Agrees to be sent events, as the webhook profile has it; whoever asks knows the token.
pub async fn agree(
    State(state): State<ApiState>,
    token: Option<axum::extract::Path<String>>,
    query: Query<EventsQuery>,
    request: Request,
) -> Result<Response, Problem> {
    let (mut head, _) = request.into_parts();
    let token = token.map(|token| token.0).or(query.0.access_token);
    present(&mut head, token)?;
    caller(&state, &mut head).await?;
    let mut response = StatusCode::OK.into_response();
    if let Some(origin) = head.headers.remove(REQUEST_ORIGIN) {
        let headers = response.headers_mut();
        headers.insert(ALLOWED_ORIGIN, origin);
        headers.insert(ALLOWED_RATE, HeaderValue::from_static("*"));
    }
    Ok(response)
}

/// The routes that are no part of the API's description.
pub fn routes() -> axum::Router<ApiState> {
    axum::Router::new()
        .route("/api/v1/cloudevents", axum::routing::options(agree))
        .route("/api/v1/cloudevents/{token}", axum::routing::options(agree))
}
