//! Baselines: fitted references, from a file or from a past window of production. The first baseline of a
//! model also gives it its grid, the fixed cells its numbers are counted in, and its inferred schema.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::json;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;

use super::profiling::{self, PREDICTION, Yardstick};
use super::quality::{self, QualityOutcome, Wanted};
use super::{
    Bounds, Error, Services, configuration, joint_reference, labelled, recount, registry, schemas,
    shift_reference,
};
use crate::domain::columns::{Column, TextColumn, Value};
use crate::domain::definitions::{BaselineSource, ModelDef};
use crate::domain::ids::{BaselineId, GridId, ProjectId, VersionId};
use crate::domain::labelled::LabelledSample;
use crate::domain::measurement::Measure;
use crate::domain::proposal::Origin;
use crate::domain::quality::QualityChoice;
use crate::domain::retention::Kept;
use crate::domain::row_hashes;
use crate::domain::sample::RowSample;
use crate::domain::schema::{self, FeatureExpectation};
use crate::domain::skew::Stillnesses;
use crate::formats::{self, Format, ReferenceRows};
use crate::stats::grid::Grid;
use crate::stats::profile::FeatureProfile;
use crate::stats::repeats::Repeats;
use crate::storage::audit::{self, AuditEvent};
use crate::storage::baselines::{
    self, Baseline, BaselineProfile, BaselineQuality, GridFeature, StoredGrid,
};
use crate::storage::models::{self, Model};
use crate::storage::windows;
use crate::storage::{labels, retention, samples};

/// How long after a window's end its labels are waited for, before a baseline is fitted on it.
const LABEL_WAIT: TimeDelta = TimeDelta::hours(24);
/// How many cells numbers are counted in.
pub(super) const GRID_CELLS: usize = 256;

/// How many values, rows by features, of a window of production are read to fit a baseline on: they are in memory together,
/// nine bytes each.
const WINDOW_VALUES: u64 = 64_000_000;

/// The source of a baseline that stands for statistics, whose rows are those of no data.
const STATISTICS: &str = "statistics";

/// A file to fit a baseline on.
#[derive(Debug, Clone)]
pub struct ReferenceFile<'a> {
    pub project_id: ProjectId,
    pub model: &'a str,
    pub name: &'a str,
    pub file_name: &'a str,
    pub format: Format,
    pub body: bytes::Bytes,
}

/// Fits a baseline on a file of rows with the model's features, and its predictions and labels where the file
/// has them. The same file again changes nothing.
///
/// # Errors
/// Not found for an unknown model; invalid for a file that cannot be read or has refused rows, which are named.
pub async fn fit_file(
    services: &Services,
    file: ReferenceFile<'_>,
    actor: &str,
) -> Result<Baseline, Error> {
    let now = services.clock.now();
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, file.project_id, file.model).await?;
    let sha256 = Sha256::digest(&file.body).to_vec();
    let present = baselines::in_force(&mut conn, model.model_id)
        .await?
        .into_iter()
        .find(|b| b.name == file.name);
    // One that an earlier release fitted, or that is damaged, is fitted again.
    if let Some(same) =
        present.filter(|b| b.file_sha256.as_ref() == Some(&sha256) && b.state == "fitted")
        && is_whole(&mut conn, &model, &same).await?
    {
        return Ok(same);
    }
    let definition = configuration::model_definition(&mut conn, &model).await?;
    drop(conn);
    let (format, body, task) = (file.format, file.body.clone(), model.task);
    let columns = definition
        .map(|definition| definition.columns)
        .unwrap_or_default();
    let decoding = move || formats::decode_reference(format, &body, task, &columns);
    let rows = tokio::task::spawn_blocking(decoding)
        .await
        .map_err(Error::internal)?
        .map_err(|error| Error::invalid(format!("{}: {error}", file.file_name)))?;

    let baseline = Baseline {
        baseline_id: BaselineId::new(now),
        model_id: model.model_id,
        name: file.name.to_owned(),
        source: match &rows.of_statistics {
            None => "file".to_owned(),
            Some(_) => STATISTICS.to_owned(),
        },
        window_from: None,
        window_to: None,
        file_name: Some(file.file_name.to_owned()),
        file_sha256: Some(sha256),
        version_id: None,
        state: "fitted".to_owned(),
        cause: (rows
            .of_statistics
            .as_ref()
            .filter(|left_out| !left_out.is_empty()))
        .map(|left_out| format!("without the features {}", left_out.join("; "))),
        rows: i64::try_from(rows.len()).unwrap_or(i64::MAX),
        created_at: now,
        created_by: actor.to_owned(),
        fitted_at: Some(now),
        reason: None,
    };
    let mut tx = services.pool.begin().await?;
    let model = registry::lock_model(&mut tx, model.model_id).await?;
    let reference = reference_of_file(&model, rows);
    crate::faults::crash_point("baseline.before_swap");
    baselines::put(&mut tx, model.project_id, &baseline).await?;
    crate::faults::crash_point("baseline.swapped");
    fit(&mut tx, &model, &baseline, &reference, services.bounds, now).await?;
    let object = format!("{}/{}", model.name, file.name);
    registry::record(
        &mut tx,
        model.project_id,
        actor,
        "baseline.fit",
        ("baseline", &object),
        now,
    )
    .await?;
    crate::faults::crash_point("baseline.before_commit");
    tx.commit().await?;
    crate::faults::crash_point("baseline.after_commit");
    Ok(baseline)
}

/// A past window of production to fit a baseline on.
#[derive(Debug, Clone, Copy)]
pub struct ReferenceWindow<'a> {
    pub name: &'a str,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    pub version: Option<&'a str>,
    pub declared: Declared<'a>,
}

/// Who declares a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared<'a> {
    /// The model's file, whose history says why.
    InFile,
    /// A person, who has to say why other days take the place of a baseline.
    ByPerson { reason: Option<&'a str> },
}

/// Declares a baseline on a window of production; it is fitted once the window is over. An unchanged
/// declaration changes nothing.
///
/// A version that is not registered yet means the champion of the day it is fitted.
///
/// # Errors
/// Invalid when the window is empty.
pub async fn declare_window(
    conn: &mut PgConnection,
    model: &Model,
    window: ReferenceWindow<'_>,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<Baseline, Error> {
    if window.from >= window.to {
        return Err(Error::invalid_field("to", "must be after `from`"));
    }
    // The baseline whose place it takes may be being fitted.
    models::lock(conn, model.model_id).await?;
    let version_id = match window.version {
        Some(name) => models::versions(conn, model.model_id)
            .await?
            .into_iter()
            .find(|v| v.name == name)
            .map(|v| v.version_id),
        None => None,
    };
    let present = baselines::in_force(conn, model.model_id)
        .await?
        .into_iter()
        .find(|b| b.name == window.name);
    let same = |b: &Baseline| {
        (b.window_from, b.window_to) == (Some(window.from), Some(window.to))
            && (b.version_id == version_id || window.version.is_none())
    };
    let replaces = present.as_ref().map(|present| present.baseline_id);
    if let Some(present) = present.filter(same) {
        let fitted = present.state == "fitted";
        // Its window is what was declared, but it was fitted with other holidays, or is damaged.
        if fitted && !is_whole(conn, model, &present).await? {
            baselines::mark_waiting(conn, present.baseline_id).await?;
        }
        return Ok(present);
    }
    let reason = match window.declared {
        Declared::InFile => None,
        Declared::ByPerson { reason } => reason.map(str::trim).filter(|reason| !reason.is_empty()),
    };
    if replaces.is_some() && window.declared != Declared::InFile && reason.is_none() {
        let cause = "say why these days take the place of the baseline in force";
        return Err(Error::invalid_field("reason", cause));
    }
    let baseline = Baseline {
        baseline_id: BaselineId::new(now),
        model_id: model.model_id,
        name: window.name.to_owned(),
        source: "window".to_owned(),
        window_from: Some(window.from),
        window_to: Some(window.to),
        file_name: None,
        file_sha256: None,
        version_id,
        state: "waiting".to_owned(),
        cause: None,
        rows: 0,
        created_at: now,
        created_by: actor.to_owned(),
        fitted_at: None,
        reason: reason.map(str::to_owned),
    };
    baselines::put(conn, model.project_id, &baseline).await?;
    let event = AuditEvent {
        project_id: Some(model.project_id),
        at: now,
        actor,
        action: "baseline.declare",
        object_kind: "baseline",
        object_id: &format!("{}/{}", model.name, window.name),
        detail: json!({
            "from": window.from, "to": window.to, "reason": reason, "replaces": replaces,
        }),
    };
    audit::record(conn, &event).await?;
    Ok(baseline)
}

/// Fits the declared window baselines whose window is over and whose predictions and labels have had their time. Returns whether there was anything to do.
///
/// # Errors
/// When the database fails.
pub async fn activate(services: &Services, now: DateTime<Utc>) -> Result<bool, Error> {
    let mut conn = services.pool.acquire().await?;
    let waiting = baselines::waiting(&mut conn, now - LABEL_WAIT).await?;
    let mut ready = Vec::new();
    for baseline in waiting {
        let wait = rows_take(&mut conn, &baseline).await?;
        if baseline.window_to.is_none_or(|to| to + wait <= now) {
            ready.push(baseline);
        }
    }
    drop(conn);
    for baseline in &ready {
        let mut tx = services.pool.begin().await?;
        let model = registry::lock_model(&mut tx, baseline.model_id).await?;
        // Another process may have fitted it, or other days may have taken its place.
        let in_force = baselines::in_force(&mut tx, model.model_id).await?;
        if !in_force.contains(baseline) {
            continue;
        }
        fit_window(&mut tx, &model, baseline, services.bounds, now).await?;
        crate::faults::crash_point("baseline.window_fitted");
        tx.commit().await?;
    }
    Ok(!ready.is_empty())
}

/// How long the predictions and labels of a baseline's window are waited for: as long as its model says of predictions, and a
/// monitor that is held against it of labels; a day at least.
async fn rows_take(conn: &mut PgConnection, baseline: &Baseline) -> Result<TimeDelta, Error> {
    let Some(model) = models::get(conn, baseline.model_id).await? else {
        return Ok(LABEL_WAIT);
    };
    let monitors = super::configuration::monitors(conn, &model).await?;
    let within = (monitors.iter())
        .filter(|monitor| monitor.watches_labels())
        .filter(|monitor| monitor.baseline.as_ref() == Some(&baseline.name))
        .filter_map(|monitor| monitor.quality.labels_within_seconds)
        .map(TimeDelta::seconds);
    let predictions = monitors.iter().map(|monitor| monitor.predictions_take);
    Ok(within.chain(predictions).fold(LABEL_WAIT, TimeDelta::max))
}

async fn fit_window(
    conn: &mut PgConnection,
    model: &Model,
    baseline: &Baseline,
    bounds: Bounds,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let (Some(from), Some(to)) = (baseline.window_from, baseline.window_to) else {
        return Ok(());
    };
    let version_id = match baseline.version_id {
        Some(version_id) => Some(version_id),
        None => registry::champion(conn, model)
            .await?
            .map(|champion| champion.version_id),
    };
    let marks = retention::marks(conn, model.project_id).await?;
    if marks.reaches_gone(Kept::Raw, from) {
        let cause = "raw rows of the window are gone; choose a later one, or a file";
        baselines::mark_fitted(conn, baseline.baseline_id, 0, Err(cause), now).await?;
        return Ok(());
    }
    let (reference, thinned) = match version_id {
        Some(version_id) => reference_of_window(conn, model, version_id, from, to).await?,
        None => (Reference::default(), 1),
    };
    let rows = reference.rows() as u64;
    if rows == 0 {
        let cause = "the window has no predictions of this version";
        baselines::mark_fitted(conn, baseline.baseline_id, 0, Err(cause), now).await?;
        return Ok(());
    }
    fit(conn, model, baseline, &reference, bounds, now).await?;
    baselines::mark_version(conn, baseline.baseline_id, version_id).await?;
    let remark = (thinned > 1).then(|| {
        format!("fitted on one row in {thinned}, evenly over its time: the window has more than {WINDOW_VALUES} values")
    });
    let remark = Ok(remark.as_deref());
    baselines::mark_fitted(conn, baseline.baseline_id, rows, remark, now).await?;
    Ok(())
}

/// Rows that a baseline is fitted on.
#[derive(Debug, Clone, Default)]
struct Reference {
    /// Features, and the prediction as one of them.
    columns: Vec<Column>,
    /// When each was predicted; empty where that is not known of all.
    times: Vec<DateTime<Utc>>,
    /// Values of the declared segments, in the model's order.
    segments: Vec<TextColumn>,
    /// Predictions with labels, with their segment values.
    outcomes: Vec<(QualityOutcome, Vec<String>)>,
    /// Some of them, with their features.
    labelled: LabelledSample,
}

impl Reference {
    fn rows(&self) -> usize {
        self.columns.first().map_or(0, Column::len)
    }
}

fn reference_of_file(model: &Model, rows: ReferenceRows) -> Reference {
    let segments: Vec<TextColumn> = model
        .segments
        .iter()
        .map(|name| {
            let feature = rows.features.iter().find(|column| column.name == *name);
            profiling::segment_texts(None, feature, rows.len())
        })
        .collect();
    let answered = (0..rows.len()).zip(rows.outputs.iter().zip(&rows.labels));
    let outcomes = answered
        .filter_map(|(row, (output, label))| {
            let outcome = QualityOutcome::of_file(output.as_ref()?, label.as_ref()?);
            Some((outcome, profiling::segment_values(&segments, row)))
        })
        .collect();
    let labelled = labelled::of_file(model, &rows);
    let times: Option<Vec<DateTime<Utc>>> = rows.times.into_iter().collect();
    let mut columns = rows.features;
    if rows.outputs.iter().any(Option::is_some) {
        let values = rows.outputs.iter().map(|output| match output {
            Some(output) => profiling::output_value(model.task, output),
            None => Value::Null,
        });
        columns.push(Column::of(PREDICTION, values));
    }
    Reference {
        columns,
        times: times.unwrap_or_default(),
        segments,
        outcomes,
        labelled,
    }
}

/// The rows of a window, and one in how many of them they are.
async fn reference_of_window(
    conn: &mut PgConnection,
    model: &Model,
    version_id: VersionId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> Result<(Reference, u64), Error> {
    let (rows, thinned) =
        recount::load_rows(conn, model, version_id, (from, to), WINDOW_VALUES).await?;
    let outcomes = labels::outcomes(conn, version_id, from, to).await?;
    let outcomes = quality::with_segments(outcomes.rows);
    let labelled = labelled::of_window(conn, model, version_id, (from, to)).await?;
    let mut columns = rows.columns;
    columns.retain(|column| column.name != profiling::LATENCY);
    let reference = Reference {
        columns,
        times: rows.predicted_at,
        segments: rows.segments,
        outcomes,
        labelled,
    };
    Ok((reference, thinned))
}

async fn fit(
    conn: &mut PgConnection,
    model: &Model,
    baseline: &Baseline,
    reference: &Reference,
    bounds: Bounds,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let schema_changed = fit_schema(conn, model, baseline, reference, now).await?;
    let grid_changed = fit_grid(conn, model, baseline, reference, now).await?;
    let yardstick = Yardstick::load(conn, model.model_id).await?;
    baselines::put_profiles(
        conn,
        baseline.baseline_id,
        &profiles_of(model, &yardstick, reference)?,
    )
    .await?;
    if baseline.source != STATISTICS {
        keep_rows(conn, model, baseline, &yardstick, reference, now).await?;
    }
    baselines::put_qualities(conn, baseline.baseline_id, &qualities_of(model, reference)).await?;
    labelled::put(conn, model, baseline.baseline_id, &reference.labelled, now).await?;
    crate::faults::crash_point("baseline.profiled");
    if schema_changed || grid_changed {
        recount::count_again(conn, model, bounds, now).await?;
    } else {
        windows::touch_all(conn, model.model_id, now).await?;
    }
    Ok(())
}

/// Whether all that is kept of a baseline can be read, and what is known of its days was fitted with the holidays of today.
async fn is_whole(
    conn: &mut PgConnection,
    model: &Model,
    baseline: &Baseline,
) -> Result<bool, Error> {
    let id = baseline.baseline_id;
    let profiles = baselines::profiles(conn, id, None).await?;
    let reads = |stored: &BaselineProfile| FeatureProfile::decode(&stored.profile).is_ok();
    if !profiles.iter().all(reads) {
        return Ok(false);
    }
    if baseline.source == STATISTICS {
        return Ok(true);
    }
    let sample = samples::of_baseline(conn, id).await?;
    Ok(
        sample.is_none_or(|sample| RowSample::decode(&sample).is_ok())
            && labelled::load(conn, id).await?.is_ok()
            && shift_reference::is_whole(conn, model, id).await?
            && joint_reference::is_whole(conn, id).await?,
    )
}

/// Keeps what is about whole rows: their days, a sample, how many repeat each other.
async fn keep_rows(
    conn: &mut PgConnection,
    model: &Model,
    baseline: &Baseline,
    yardstick: &Yardstick,
    reference: &Reference,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let days = (reference.columns.as_slice(), reference.times.as_slice());
    shift_reference::fit(conn, model, baseline, yardstick, days, now).await?;
    joint_reference::fit(conn, model, baseline, yardstick, days, now).await?;
    let times: Vec<Option<i64>> = (reference.times.iter())
        .map(|at| Some(at.timestamp()))
        .collect();
    let sample = RowSample::of(&reference.columns, &times);
    let sample = sample.encode().map_err(Error::internal)?;
    let of = (model.project_id, model.model_id);
    samples::put(conn, of, baseline.baseline_id, &sample).await?;
    let (repeated, rows) = repeated_rows(reference);
    let counts = (
        i64::try_from(repeated).unwrap_or(i64::MAX),
        i64::try_from(rows).unwrap_or(i64::MAX),
    );
    samples::put_repeated(conn, baseline.baseline_id, counts).await?;
    let stillnesses = Stillnesses::of(&reference.columns, &reference.times);
    samples::put_stillness(conn, baseline.baseline_id, &stillnesses).await?;
    Ok(())
}

/// How many rows repeat an earlier one in every feature and in the prediction, and of how many.
fn repeated_rows(reference: &Reference) -> (u64, u64) {
    let mut hashes = vec![0; reference.rows()];
    for column in &reference.columns {
        row_hashes::add_column(&mut hashes, column);
    }
    let mut repeats = Repeats::default();
    for hash in hashes {
        repeats.observe(row_hashes::mix(12, hash));
    }
    repeats.repeated()
}

/// Infers the schema from the rows where this baseline is the one the model's file names, or where there is no
/// schema yet; what the file says of a feature stands over what is inferred.
async fn fit_schema(
    conn: &mut PgConnection,
    model: &Model,
    baseline: &Baseline,
    reference: &Reference,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let definition = super::configuration::model_definition(conn, model).await?;
    let declared = definition.as_ref().and_then(|d| d.schema.as_ref());
    let present = baselines::schema(conn, model.model_id).await?;
    let is_source = match declared {
        Some(declared) => declared.from.as_deref() == Some(baseline.name.as_str()),
        None => present.is_none(),
    };
    if !is_source {
        return Ok(false);
    }
    let columns = reference.columns.iter();
    let inferred = schema::infer(columns.filter(|column| column.name != PREDICTION));
    baselines::put_inferred(conn, baseline.baseline_id, &inferred).await?;
    let expected = with_overrides(inferred, definition.as_ref());
    let source = format!("inferred from baseline {:?}", baseline.name);
    let from = (Origin::Baseline, source.as_str());
    schemas::adopt(conn, model, &expected, from, &baseline.created_by, now).await
}

/// What is expected once a person's overrides stand over what was inferred.
pub(super) fn with_overrides(
    inferred: Vec<FeatureExpectation>,
    definition: Option<&ModelDef>,
) -> Vec<FeatureExpectation> {
    let mut expected: BTreeMap<String, FeatureExpectation> = inferred
        .into_iter()
        .map(|e| (e.feature.clone(), e))
        .collect();
    let overrides = definition
        .and_then(|d| d.schema.as_ref())
        .map_or(&[][..], |s| &s.features);
    for said in overrides {
        let known = expected.remove(&said.feature);
        if let Some(in_force) = said.apply(known) {
            expected.insert(said.feature.clone(), in_force);
        }
    }
    expected.into_values().collect()
}

/// Fits the grid where the model has none, or where this baseline takes the place of the one that gave it.
async fn fit_grid(
    conn: &mut PgConnection,
    model: &Model,
    baseline: &Baseline,
    reference: &Reference,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let in_force = baselines::in_force(conn, model.model_id).await?;
    if let Some(present) = baselines::grid(conn, model.model_id).await? {
        let giver_in_force = in_force
            .iter()
            .any(|b| b.baseline_id == present.baseline_id);
        if giver_in_force && present.baseline_id != baseline.baseline_id {
            return Ok(false);
        }
        // The other baselines were counted in cells that go out of force with their giver.
        for other in in_force
            .iter()
            .filter(|b| b.baseline_id != baseline.baseline_id && b.state == "fitted")
        {
            // Those on a window are fitted again from the rows that are stored; a file has to be sent again.
            if other.source == "window" {
                baselines::mark_waiting(conn, other.baseline_id).await?;
                continue;
            }
            let cause = "counted in the cells of a baseline that was replaced; fit it again";
            baselines::mark_fitted(
                conn,
                other.baseline_id,
                u64::try_from(other.rows).unwrap_or(0),
                Err(cause),
                now,
            )
            .await?;
        }
    }
    let schema = baselines::schema(conn, model.model_id).await?;
    let yardstick = Yardstick::new(schema.as_ref(), None)?;
    let mut features = Vec::new();
    for column in &reference.columns {
        let expected = yardstick
            .expectation(&column.name)
            .map(|e| e.feature_type.is_numeric());
        let numbers: Vec<f64> = column
            .iter()
            .filter_map(|value| as_number(&value))
            .collect();
        let numeric = expected.unwrap_or(!numbers.is_empty());
        let grid = if numeric {
            Grid::fit(&numbers, GRID_CELLS)
        } else {
            Grid::fit(&[], GRID_CELLS)
        };
        features.push(GridFeature {
            feature: column.name.clone(),
            kind: if numeric { "numeric" } else { "categorical" }.to_owned(),
            edges: grid.edges().to_vec(),
            decile_edges: grid.decile_edges().to_vec(),
        });
    }
    let grid = StoredGrid {
        grid_id: GridId::new(now),
        baseline_id: baseline.baseline_id,
        features,
    };
    baselines::put_grid(conn, model.project_id, model.model_id, &grid, now).await?;
    crate::faults::crash_point("baseline.grid_swapped");
    Ok(true)
}

#[expect(clippy::cast_precision_loss, reason = "cells are edges in doubles")]
fn as_number(value: &Value<'_>) -> Option<f64> {
    let number = match value {
        Value::Number(n) => *n,
        Value::Integer(n) => *n as f64,
        Value::Timestamp(at) => at.timestamp() as f64,
        Value::Vector(vector) => schema::vector_length(vector),
        Value::Boolean(_) | Value::Text(_) | Value::Null | Value::Absent => return None,
    };
    number.is_finite().then_some(number)
}

fn profiles_of(
    model: &Model,
    yardstick: &Yardstick,
    reference: &Reference,
) -> Result<Vec<BaselineProfile>, Error> {
    let rows = (0..reference.rows()).collect();
    let groups = profiling::by_segment(model, &reference.segments, rows);
    let mut profiles = Vec::new();
    for (segment, rows) in &groups {
        for column in &reference.columns {
            let profile = yardstick.profile(column, rows)?;
            profiles.push(BaselineProfile {
                segment: segment.clone(),
                feature: column.name.clone(),
                profile: profile.encode(),
            });
        }
    }
    Ok(profiles)
}

fn qualities_of(model: &Model, reference: &Reference) -> Vec<BaselineQuality> {
    let wanted = Wanted {
        measures: Measure::of_quality(model.task),
        choice: &QualityChoice::default(),
    };
    quality::by_segment(model, wanted, &reference.outcomes)
        .into_iter()
        .flat_map(|(segment, values)| {
            values.into_iter().filter_map(move |value| {
                Some(BaselineQuality {
                    segment: segment.clone(),
                    measure: value.measure.as_str().to_owned(),
                    value: value.value()?,
                    labels: i64::try_from(value.labels).unwrap_or(i64::MAX),
                })
            })
        })
        .collect()
}

/// Declares the window baselines of a model's file.
pub(super) async fn declare_all(
    conn: &mut PgConnection,
    model: &Model,
    definition: &ModelDef,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    for baseline in &definition.baselines {
        if let BaselineSource::Window { from, to, version } = &baseline.source {
            let window = ReferenceWindow {
                name: &baseline.name,
                from: *from,
                to: *to,
                version: version.as_deref(),
                declared: Declared::InFile,
            };
            declare_window(conn, model, window, actor, now).await?;
        }
    }
    Ok(())
}
