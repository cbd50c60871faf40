//! OTLP over HTTP and over gRPC, on the port of everything else. Both are routes of the one router, so a body of
//! either is read within the same limits, its sender is asked for the same credential, and what is too much is sent
//! away by the same rules; only the answers are written as the protocol wants them.
//!
//! A gRPC call of one request and one answer is an HTTP/2 request with five bytes before its body and the status in
//! the trailers ([`grpc`]). A framework for it would read bodies by itself, past the limits that hold for all others.

mod answers;
mod grpc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::Response;

use super::ApiState;
use super::auth::{Authorised, Ingest};
use super::intake::housed;
use super::overload::Timely;
use super::problem::Problem;
use crate::formats::otlp::{Encoding, Signal};
use crate::services::ingest::{self, Export, Exported};

/// The content types of both encodings.
const PROTOBUF: &str = "application/x-protobuf";
const JSON: &str = "application/json";

/// Takes in log records. Predictions and labels are events (docs/plug-in.md); BentoML's monitoring records are
/// understood as they are. The answer is an `ExportLogsServiceResponse`, given once all is durable.
#[utoipa::path(
    post, path = "/v1/logs", tag = "plug in", security(("token" = ["ingest"])),
    request_body(description = "An ExportLogsServiceRequest; may be packed with gzip or zstd", content(
        ("application/x-protobuf"), ("application/json")
    )),
    responses((status = 200, description = "What was refused, if anything, in `partial_success`"))
)]
pub async fn export_logs(State(state): State<ApiState>, request: Request) -> Response {
    over_http(state, Signal::Logs, request).await
}

/// Takes in spans. Those with attributes of a prediction are predictions, calls of generative models are
/// telemetry, all others are counted. The answer is an `ExportTraceServiceResponse`.
#[utoipa::path(
    post, path = "/v1/traces", tag = "plug in", security(("token" = ["ingest"])),
    request_body(description = "An ExportTraceServiceRequest; may be packed with gzip or zstd", content(
        ("application/x-protobuf"), ("application/json")
    )),
    responses((status = 200, description = "What was refused, if anything, in `partial_success`"))
)]
pub async fn export_traces(State(state): State<ApiState>, request: Request) -> Response {
    over_http(state, Signal::Traces, request).await
}

/// Takes in metrics. Those that tell of a model in service are kept, all others are counted by name. The answer is an
/// `ExportMetricsServiceResponse`.
#[utoipa::path(
    post, path = "/v1/metrics", tag = "plug in", security(("token" = ["ingest"])),
    request_body(description = "An ExportMetricsServiceRequest; may be packed with gzip or zstd", content(
        ("application/x-protobuf"), ("application/json")
    )),
    responses((status = 200, description = "What was refused, if anything, in `partial_success`"))
)]
pub async fn export_metrics(State(state): State<ApiState>, request: Request) -> Response {
    over_http(state, Signal::Metrics, request).await
}

/// The path of a signal's gRPC method.
fn method(signal: Signal) -> &'static str {
    match signal {
        Signal::Logs => "/opentelemetry.proto.collector.logs.v1.LogsService/Export",
        Signal::Traces => "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
        Signal::Metrics => "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
    }
}

/// The routes of gRPC, which are no part of the API's description, and answers to exporters that were given the
/// wrong address.
pub fn routes() -> axum::Router<ApiState> {
    let mut router = axum::Router::new()
        .route("/", axum::routing::post(wrong_path))
        .route("/v1/{*rest}", axum::routing::any(wrong_path));
    for signal in Signal::ALL {
        let call = move |State(state): State<ApiState>, request: Request| async move {
            grpc::call(state, signal, request).await
        };
        router = router.route(method(signal), axum::routing::post(call));
    }
    router.route(
        "/opentelemetry.proto.collector.{*rest}",
        axum::routing::any(|| async { grpc::unknown_method() }),
    )
}

/// The answer to an exporter that was given an address without the path of its signal, or with another one: which
/// signal it sends cannot be told from the body.
async fn wrong_path(method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if grpc::is_grpc(&headers) {
        return grpc::unknown_method();
    }
    let told = format!(
        "there is nothing at {} {}: OTLP is taken at POST /v1/logs, /v1/traces and /v1/metrics \
         (set OTEL_EXPORTER_OTLP_ENDPOINT to the address without a path, or each signal's endpoint with it)",
        method,
        uri.path()
    );
    let problem = Problem::new(StatusCode::NOT_FOUND, told);
    let encoding = encoding_of(&headers).unwrap_or(Encoding::Json);
    answers::failure(encoding, problem)
}

fn encoding_of(headers: &HeaderMap) -> Option<Encoding> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    let essence = value.split(';').next()?.trim();
    if essence.eq_ignore_ascii_case(PROTOBUF)
        || essence.eq_ignore_ascii_case("application/protobuf")
    {
        Some(Encoding::Protobuf)
    } else if essence.eq_ignore_ascii_case(JSON) {
        Some(Encoding::Json)
    } else {
        None
    }
}

async fn over_http(state: ApiState, signal: Signal, request: Request) -> Response {
    let encoding = encoding_of(request.headers());
    match take(&state, signal, encoding, request).await {
        Ok((encoding, exported)) => answers::success(encoding, signal, &exported),
        Err(problem) => answers::failure(encoding.unwrap_or(Encoding::Json), problem),
    }
}

async fn take(
    state: &ApiState,
    signal: Signal,
    encoding: Option<Encoding>,
    request: Request,
) -> Result<(Encoding, Exported), Problem> {
    let (mut head, body) = request.into_parts();
    let caller = Timely::<Authorised<Ingest>>::from_request_parts(&mut head, state).await?;
    let encoding = encoding.ok_or_else(|| {
        let told = format!("send OTLP as {PROTOBUF} or {JSON}, and say so in Content-Type");
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, told)
    })?;
    let (body, room) = (state.bodies)
        .receive_export(&head.headers, body, 0)
        .await?;
    let (body, _room) = housed(body, room);
    let exported = export(state, &caller.0, signal, encoding, body).await?;
    Ok((encoding, exported))
}

async fn export(
    state: &ApiState,
    caller: &Authorised<Ingest>,
    signal: Signal,
    encoding: Encoding,
    body: axum::body::Bytes,
) -> Result<Exported, Problem> {
    let export = Export {
        project_id: caller.principal.project_id,
        generation: caller.principal.generation,
        signal,
        encoding,
        body,
    };
    let exported = ingest::otlp(&state.services, export).await?;
    for (kind, receipt) in &exported.receipts {
        state.instruments.batch(kind.as_str(), receipt);
    }
    Ok(exported)
}
