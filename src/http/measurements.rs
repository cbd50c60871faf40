//! What was measured, and quality over spans that no window has.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use super::auth::{Authorised, Read};
use super::bodies::{Path, Query};
use super::models::version_id;
use super::moments::{self, Moment};
use super::names::Names;
use super::problem::Problem;
use crate::domain::measurement::{Measure, Projected, Segment, Status};
use crate::domain::model::Task;
use crate::domain::window::Grain;
use crate::services::maturity::{LabelReference, Outlook};
use crate::services::quality::{self, QualityValue, Wanted};
use crate::services::{Error, Services, configuration, recipes, registry};
use crate::storage::measurements::{self as stored, Selection, StoredMeasurement};
use crate::storage::{labels, retention, windows};

const USUAL_MEASUREMENTS: i64 = 1_000;
const MOST_MEASUREMENTS: i64 = 10_000;

/// Which measurements are wanted; what is absent means any.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct MeasurementsQuery {
    monitor: Option<String>,
    /// A measure, such as `psi`; several with commas between them.
    measure: Option<String>,
    feature: Option<String>,
    version: Option<String>,
    /// Windows that start then or later.
    #[param(value_type = Option<String>)]
    from: Option<Moment>,
    /// Windows that start before then.
    #[param(value_type = Option<String>)]
    to: Option<Moment>,
    /// Whether only values of all rows are wanted, none of segments.
    #[serde(default)]
    overall: bool,
    /// Whether recipes of measures of distribution functions, such as `kolmogorov_smirnov`, have the edges of the cells, about 256
    /// numbers each. Those of measures over bins always have theirs.
    #[serde(default)]
    cells: bool,
    /// At most so many, from 1 to 10000.
    #[param(default = 1000, minimum = 1, maximum = 10000)]
    limit: Option<i64>,
}

/// A value in force, with what it was computed from.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct MeasurementView {
    pub version: Option<String>,
    pub monitor: String,
    pub window: Grain,
    pub window_start: DateTime<Utc>,
    pub window_end: DateTime<Utc>,
    /// `name=value`; nothing for all rows.
    pub segment: Option<String>,
    /// Empty for values about the whole model; `prediction()` for the prediction itself.
    pub feature: String,
    pub measure: String,
    pub value: Option<f64>,
    /// The 95 % interval, where one is known.
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// The probability of such a value without drift, for tests; 2.2e-308 stands for everything below it.
    pub p_value: Option<f64>,
    /// The baseline's value of the same measure, where there is one.
    pub reference: Option<f64>,
    pub status: Status,
    pub current_rows: u64,
    pub reference_rows: u64,
    /// How the value was computed. Of measures over bins it has the `edges` between them, a bin holding what is above one and at most the
    /// next, or the `categories` of the baseline, beside which those new in the window are bins of their own.
    pub recipe: serde_json::Value,
    pub measured_at: DateTime<Utc>,
}

impl MeasurementView {
    fn new(measurement: StoredMeasurement, names: &Names) -> Self {
        Self {
            version: names.version(measurement.version_id),
            monitor: measurement.monitor,
            window: measurement.window.grain,
            window_start: measurement.window.start,
            window_end: measurement.window.end,
            segment: segment_text(&measurement.segment),
            feature: measurement.feature,
            measure: measurement.measure,
            value: measurement.value,
            low: measurement.interval.map(|(low, _)| low),
            high: measurement.interval.map(|(_, high)| high),
            p_value: measurement.p_value,
            reference: measurement.reference,
            status: measurement.status,
            current_rows: measurement.current_rows,
            reference_rows: measurement.reference_rows,
            recipe: measurement.recipe,
            measured_at: measurement.measured_at,
        }
    }
}

fn segment_text(segment: &Segment) -> Option<String> {
    (!segment.is_overall()).then(|| format!("{}={}", segment.name, segment.value))
}

/// The measurements in force of a model, oldest window first.
#[utoipa::path(
    get, path = "/models/{model}/measurements", tag = "measurements", security(("token" = ["read"])),
    params(("model" = String, Path, description = "Name of the model"), MeasurementsQuery),
    responses((status = 200, description = "The measurements", body = [MeasurementView]))
)]
pub async fn measurements(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(model): Path<String>,
    Query(query): Query<MeasurementsQuery>,
) -> Result<Json<Vec<MeasurementView>>, Problem> {
    let limit = moments::limit(query.limit, USUAL_MEASUREMENTS, MOST_MEASUREMENTS)?;
    let project_id = caller.principal.project_id;
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, project_id, &model).await?;
    let version = match &query.version {
        Some(version) => Some(version_id(&mut conn, &model, version).await?),
        None => None,
    };
    let measures: Option<Vec<String>> = query
        .measure
        .map(|measures| measures.split(',').map(|m| m.trim().to_owned()).collect());
    let selection = Selection {
        version_id: version,
        monitor: query.monitor.as_deref(),
        measures: measures.as_deref(),
        feature: query.feature.as_deref(),
        overall_only: query.overall,
        from: query.from.map(|moment| moment.0),
        to: query.to.map(|moment| moment.0),
    };
    let mut found = stored::in_force(&mut conn, model.model_id, selection, limit).await?;
    recipes::complete(&mut conn, model.model_id, &mut found, query.cells).await?;
    let names = Names::of(&mut conn, project_id).await?;
    let views = found.into_iter().map(|m| MeasurementView::new(m, &names));
    Ok(Json(views.collect()))
}

/// The span that quality is wanted of.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct QualityQuery {
    /// The version; the champion when absent.
    version: Option<String>,
    /// Predictions made then or later.
    #[param(value_type = String)]
    from: Moment,
    /// Predictions made before then.
    #[param(value_type = String)]
    to: Moment,
    /// Measures of the model's task, separated by commas; those of its first quality monitor when absent.
    measures: Option<String>,
}

/// Quality over a span.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct Quality {
    pub model: String,
    pub version: String,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// How far the labels have come; only where a quality monitor says within which time they come, and the version
    /// has labels of predictions that old.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maturity: Option<MaturityView>,
    /// All predictions first, then each segment. Empty without labels.
    pub segments: Vec<SegmentQuality>,
}

/// How far labels have come.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct MaturityView {
    /// Share of the predictions whose label is known.
    pub coverage: f64,
    /// The share the reference had when it was as old.
    pub expected_coverage: f64,
    /// The share the reference came to have.
    pub coverage_at_maturity: f64,
    /// Of the labels that will ever come, the share that should be there by now.
    pub completeness: f64,
    /// From then on as good as all labels that will come are there.
    pub matures_at: DateTime<Utc>,
    /// The predictions whose labels this is judged by.
    pub reference_from: DateTime<Utc>,
    pub reference_to: DateTime<Utc>,
    pub reference_labels: u64,
}

impl From<&Outlook> for MaturityView {
    fn from(outlook: &Outlook) -> Self {
        Self {
            coverage: outlook.maturity.coverage,
            expected_coverage: outlook.maturity.expected,
            coverage_at_maturity: outlook.maturity.at_maturity,
            completeness: outlook.maturity.completeness,
            matures_at: outlook.matures_at,
            reference_from: outlook.from,
            reference_to: outlook.to,
            reference_labels: outlook.labels,
        }
    }
}

/// Quality of one segment.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct SegmentQuality {
    /// `name=value`; nothing for all predictions.
    pub segment: Option<String>,
    /// How many predictions have a label.
    pub labels: u64,
    /// By measure.
    pub measures: BTreeMap<&'static str, QualityMeasure>,
    /// Measures that have a value for each class or for each field of groups.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub details: Vec<QualityDetail>,
}

/// One measure of quality.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct QualityMeasure {
    /// Nothing where the measure is not defined, as the area under the curve with one class only.
    pub value: Option<f64>,
    /// The 95 % interval, where one is known.
    pub low: Option<f64>,
    pub high: Option<f64>,
    /// How many outcomes carry the value: for a recall the positives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Why there is no value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub undefined: Option<String>,
    /// What else has to be known to read the value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What the value is expected to be once the labels are in; a projection, and no measurement.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub projected: Option<Projected>,
}

/// One measure of one class, or of the groups of one field.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct QualityDetail {
    pub measure: &'static str,
    /// The class or the field.
    pub of: String,
    #[serde(flatten)]
    pub quality: QualityMeasure,
}

impl QualityMeasure {
    fn new(segment: &Segment, value: &QualityValue, outlook: Option<&Outlook>) -> Self {
        Self {
            projected: outlook.and_then(|outlook| outlook.project(segment, value)),
            value: value.value(),
            low: value.interval().map(|(low, _)| low),
            high: value.interval().map(|(_, high)| high),
            size: value.quality.ok().map(|estimate| estimate.size),
            undefined: value.quality.err().map(|undefined| undefined.to_string()),
            note: value.note.clone(),
        }
    }
}

impl SegmentQuality {
    fn new(segment: &Segment, values: &[QualityValue], outlook: Option<&Outlook>) -> Self {
        let measure = |value| QualityMeasure::new(segment, value, outlook);
        let (details, measures): (Vec<_>, Vec<_>) =
            values.iter().partition(|value| !value.feature.is_empty());
        Self {
            segment: segment_text(segment),
            labels: values.first().map_or(0, |value| value.labels),
            measures: measures
                .into_iter()
                .map(|value| (value.measure.as_str(), measure(value)))
                .collect(),
            details: details
                .into_iter()
                .map(|value| QualityDetail {
                    measure: value.measure.as_str(),
                    of: value.feature.clone(),
                    quality: measure(value),
                })
                .collect(),
        }
    }
}

/// The measures asked for, each known and of the task.
fn wanted_measures(given: &str, task: Task) -> Result<Vec<Measure>, Error> {
    let known = || {
        Measure::of_quality(task)
            .iter()
            .chain(Measure::detailed_quality(task))
    };
    let of_name = |name: &str| {
        known()
            .copied()
            .find(|measure| measure.as_str() == name)
            .ok_or_else(|| {
                let names: Vec<&str> = known().map(|measure| measure.as_str()).collect();
                let cause = format!("{name:?} is none of {}", names.join(", "));
                Error::invalid_field("measures", cause)
            })
    };
    given.split(',').map(|name| of_name(name.trim())).collect()
}

/// Quality over any span, computed from the predictions whose label is known.
#[utoipa::path(
    get, path = "/models/{model}/quality", tag = "measurements", security(("token" = ["read"])),
    params(("model" = String, Path, description = "Name of the model"), QualityQuery),
    responses((status = 200, description = "Quality, overall and per segment", body = Quality))
)]
pub async fn quality(
    caller: Authorised<Read>,
    State(services): State<Services>,
    Path(model): Path<String>,
    Query(query): Query<QualityQuery>,
) -> Result<Json<Quality>, Problem> {
    let (from, to) = (query.from.0, query.to.0);
    if from >= to {
        return Err(Error::invalid_field("to", "must be after `from`").into());
    }
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, caller.principal.project_id, &model).await?;
    let (id, version) = match query.version {
        Some(name) => (version_id(&mut conn, &model, &name).await?, name),
        None => registry::champion(&mut conn, &model)
            .await?
            .map(|champion| (champion.version_id, champion.version))
            .ok_or_else(|| Error::not_found(format!("a champion of model {:?}", model.name)))?,
    };
    let mut choice = configuration::quality_choice(&mut conn, &model).await?;
    if let Some(given) = &query.measures {
        choice.measures = wanted_measures(given, model.task)?;
    }
    let marks = retention::marks(&mut conn, model.project_id).await?;
    if let Some(gone) = marks.raw_gone_before.filter(|gone| from < *gone) {
        return Err(Error::Conflict(format!(
            "the raw rows of before {} are gone, so quality cannot be computed from {} on; what was measured then is \
             kept among the measurements",
            gone.format("%Y-%m-%d"),
            from.format("%Y-%m-%d")
        ))
        .into());
    }
    let outcomes = labels::outcomes(&mut conn, id, from, to).await?;
    let totals = windows::totals(&mut conn, id, from, to).await?;
    let now = services.clock.now();
    let reference = match choice.labels_within_seconds {
        Some(within) => {
            let within = TimeDelta::seconds(within);
            LabelReference::load(&mut conn, (&model, id), (from, to), within, now).await?
        }
        None => None,
    };
    drop(conn);
    let name = model.name.clone();
    let computed = tokio::task::spawn_blocking(move || {
        let labelled = (totals, outcomes.seen);
        let outcomes = quality::with_segments(outcomes.rows);
        let wanted = Wanted {
            measures: choice.measures(model.task),
            choice: &choice,
        };
        let outlook = reference.and_then(|known| {
            known
                .outlook((&model, wanted), (from, to), labelled, now)
                .ok()
        });
        let maturity = outlook.as_ref().map(MaturityView::from);
        let segments = quality::by_segment(&model, wanted, &outcomes)
            .iter()
            .map(|(segment, values)| SegmentQuality::new(segment, values, outlook.as_ref()))
            .collect();
        (maturity, segments)
    });
    let (maturity, segments) = computed.await.map_err(Error::internal)?;
    Ok(Json(Quality {
        model: name,
        version,
        from,
        to,
        maturity,
        segments,
    }))
}
