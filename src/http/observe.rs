//! What each request leaves behind: a span with its id, and counts by route. Routes are counted by their
//! template and statuses by their class, both closed sets, so no request can add a series of its own.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::response::Response;
use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};
use tracing::Instrument;

use super::problem::Shed;
use crate::services::ingest::Receipt;
use crate::services::request_id;

/// What the API counts. Every layer that a request passes clones it, so it is shared.
#[derive(Debug, Clone)]
pub struct Instruments(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    requests: Counter<u64>,
    duration: Histogram<f64>,
    intake_rows: Counter<u64>,
    shed: Counter<u64>,
}

impl Instruments {
    /// The instruments, made from the service's meter.
    #[must_use]
    pub fn new(meter: &Meter) -> Self {
        let counters = Counters {
            requests: meter
                .u64_counter("bellwether_http_requests")
                .with_description("Requests answered, by route, method and class of status")
                .build(),
            duration: meter
                .f64_histogram("bellwether_http_request_duration")
                .with_unit("s")
                .with_description("Time from a request's head to its answer's head")
                .build(),
            intake_rows: meter
                .u64_counter("bellwether_intake_rows")
                .with_description("Rows that were sent, by what became of them")
                .build(),
            shed: meter
                .u64_counter("bellwether_shed_requests")
                .with_description("Requests sent away for now, by reason")
                .build(),
        };
        let instruments = Self(Arc::new(counters));
        for reason in Shed::ALL {
            instruments.shed(reason, 0);
        }
        for kind in ["predictions", "labels", "events"] {
            instruments.count_rows(kind, 0, 0);
        }
        instruments
    }

    /// Counts what a batch brought.
    pub fn batch(&self, kind: &'static str, receipt: &Receipt) {
        self.count_rows(kind, receipt.kept, receipt.rejected);
    }

    /// Counts events that were landed.
    pub fn events(&self, landed: u64) {
        self.count_rows("events", landed, 0);
    }

    pub(super) fn shed(&self, reason: Shed, requests: u64) {
        let reason = KeyValue::new("reason", reason.as_str());
        self.0.shed.add(requests, &[reason]);
    }

    fn count_rows(&self, kind: &'static str, kept: u64, rejected: u64) {
        for (outcome, rows) in [("kept", kept), ("rejected", rejected)] {
            let labels = [
                KeyValue::new("kind", kind),
                KeyValue::new("outcome", outcome),
            ];
            self.0.intake_rows.add(rows, &labels);
        }
    }
}

/// Observes how a request is answered.
pub async fn request<A: Future<Output = Response>>(
    instruments: &Instruments,
    request: Request,
    answer: impl FnOnce(Request) -> A,
) -> Response {
    let began = Instant::now();
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or_else(|| "unmatched".to_owned(), |path| path.as_str().to_owned());
    let method = method_label(request.method());
    let span = tracing::info_span!(
        "http.request",
        method,
        route,
        request_id = request_id::current(),
        status = tracing::field::Empty
    );
    let response = answer(request).instrument(span.clone()).await;
    span.record("status", response.status().as_u16());
    if let Some(reason) = response.extensions().get::<Shed>() {
        instruments.shed(*reason, 1);
    }
    let labels = [
        KeyValue::new("route", route),
        KeyValue::new("method", method),
        KeyValue::new("status", class(response.status().as_u16())),
    ];
    instruments.0.requests.add(1, &labels);
    (instruments.0.duration).record(began.elapsed().as_secs_f64(), &labels[..2]);
    response
}

/// Methods come from the caller; those that no route has are one.
fn method_label(method: &axum::http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "other",
    }
}

fn class(status: u16) -> &'static str {
    match status / 100 {
        1 => "1xx",
        2 => "2xx",
        3 => "3xx",
        4 => "4xx",
        _ => "5xx",
    }
}
