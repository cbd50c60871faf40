//! Telemetry of models in service, and what was sent and is not used.

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::auth::{Authorised, Read};
use super::bodies::{Path, Query};
use super::problem::Problem;
use crate::domain::telemetry::{Combine, MeasureInfo};
use crate::services::telemetry::{self as readings, Readings};
use crate::services::{Error, Services, registry};
use crate::storage::telemetry;

/// Which telemetry is asked for.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct TelemetryQuery {
    /// One measure; all when absent.
    measure: Option<String>,
    /// A day before `to` when absent; at most 31 days before.
    from: Option<DateTime<Utc>>,
    /// Now when absent.
    to: Option<DateTime<Utc>>,
}

/// One measure over time.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TelemetrySeries {
    #[schema(example = "gpu_utilization")]
    pub measure: String,
    pub title: String,
    /// Of `value`: `ratio`, `By`, `s`, `W`, `Cel`, `{token}`, `{request}`; of counters, per second.
    pub unit: String,
    /// How the values of several series became one: `mean`, `sum` or `max`.
    pub combined: &'static str,
    pub step_seconds: i64,
    pub points: Vec<TelemetryPoint>,
}

/// One step of a series. Steps without samples are left out: what is missing is not zero.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct TelemetryPoint {
    pub at: DateTime<Utc>,
    /// A level; of a counter, how much it counted per second; of a histogram, its mean.
    pub value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p50: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p95: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub p99: Option<f64>,
}

impl TelemetrySeries {
    fn new(info: &MeasureInfo, read: Readings) -> Self {
        let points = read.points.into_iter().map(|point| TelemetryPoint {
            at: point.at,
            value: point.value,
            p50: point.quantiles.map(|of| of.p50),
            p95: point.quantiles.map(|of| of.p95),
            p99: point.quantiles.map(|of| of.p99),
        });
        Self {
            measure: info.name.clone(),
            title: info.title.clone(),
            unit: info.unit.clone(),
            combined: match info.combine {
                Combine::Mean => "mean",
                Combine::Sum => "sum",
                Combine::Max => "max",
            },
            step_seconds: read.step.num_seconds(),
            points: points.collect(),
        }
    }
}

/// How a model in service does: utilisation, latency, traffic, tokens, as far as somebody sends it.
#[utoipa::path(
    get, path = "/models/{model}/telemetry", tag = "plug in", security(("token" = ["read"])),
    params(("model" = String, Path, description = "Name of the model"), TelemetryQuery),
    responses((status = 200, description = "The measures there are samples of", body = [TelemetrySeries]))
)]
pub async fn model_telemetry(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(model): Path<String>,
    Query(query): Query<TelemetryQuery>,
) -> Result<Json<Vec<TelemetrySeries>>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, caller.principal.project_id, &model).await?;
    let to = query.to.unwrap_or_else(|| services.clock.now());
    let from = query.from.unwrap_or(to - readings::USUAL_RANGE);
    if from >= to || to - from > readings::LONGEST_RANGE {
        return Err(Error::invalid_field("from", "is up to 31 days before `to`").into());
    }
    let read = readings::read(
        &mut conn,
        model.model_id,
        query.measure.as_deref(),
        (from, to),
    );
    let series = read.await?.into_iter();
    let series = series.map(|(info, readings)| TelemetrySeries::new(info, readings));
    Ok(Json(series.collect()))
}

/// Something that was sent and is not used.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct UnusedTelemetry {
    /// `logs`, `traces`, `metrics` or `events`.
    pub signal: String,
    /// `no_prediction`, `unknown_metric`, `unknown_model`, `no_value`, `time_out_of_bounds` or `malformed`.
    pub reason: String,
    /// Of the metric, the model, the event, or the library whose records they are; empty for all beyond a thousand.
    pub name: String,
    pub count: i64,
    pub first_seen_at: DateTime<Utc>,
    pub last_seen_at: DateTime<Utc>,
}

/// What was sent as telemetry and is not used, by reason and name: each is counted, and named once.
#[utoipa::path(
    get, path = "/telemetry/unused", tag = "plug in", security(("token" = ["read"])),
    responses((status = 200, description = "The latest first", body = [UnusedTelemetry]))
)]
pub async fn unused_telemetry(
    caller: Authorised<Read>,
    State(services): State<Services>,
) -> Result<Json<Vec<UnusedTelemetry>>, Problem> {
    let mut conn = services.pool.acquire().await?;
    let unused = telemetry::unused(&mut conn, caller.principal.project_id).await?;
    let listed = unused.into_iter().map(|of| UnusedTelemetry {
        signal: of.signal,
        reason: of.reason,
        name: of.name,
        count: of.count,
        first_seen_at: of.first_seen_at,
        last_seen_at: of.last_seen_at,
    });
    Ok(Json(listed.collect()))
}
