//! The fleet at a glance: which model is unhealthy, since when, and is anybody on it.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use chrono::{DateTime, TimeDelta, Utc};

use crate::domain::fleet::{self, LabelEvidence, Weight};
use crate::domain::ids::ModelId;
use crate::domain::measurement::{Better, Measure, Status};
use crate::services::Services;
use crate::stats::PValue;
use crate::storage::pages::{self, DetectorRow, FeatureCount, FleetModel, ServedValue};
use crate::web::answer::{Failure, page};
use crate::web::chart::Sparkline;
use crate::web::dashboard::{self, Column, ColumnKind};
use crate::web::escape::path_segment;
use crate::web::frame::{Section, Shell};
use crate::web::tone::{Badge, Tone};
use crate::web::visitor::Visitor;
use crate::web::wording;

/// How far back the fleet page looks for values: half a year of weeks.
const LOOKS_BACK: TimeDelta = TimeDelta::weeks(26);

/// How old the newest window of a detector of labels may be.
const NEW: TimeDelta = TimeDelta::weeks(5);

/// The fleet page.
#[derive(Debug, Template)]
#[template(path = "pages/fleet/fleet.html", escape = "page")]
pub struct FleetPage {
    pub shell: Shell,
    pub summary: Vec<Badge>,
    pub waiting: Vec<WaitingRun>,
    /// What the labels of all models say together, where there is anything to say.
    pub labels: Option<String>,
    pub columns: Vec<&'static str>,
    pub models: Vec<FleetRow>,
    pub public_url: String,
}

/// A run that waits for a person.
#[derive(Debug, Clone)]
pub struct WaitingRun {
    pub href: String,
    pub text: String,
}

/// One model.
#[derive(Debug, Clone)]
pub struct FleetRow {
    pub href: String,
    pub name: String,
    pub about: String,
    pub health: Badge,
    pub since: Option<String>,
    pub run: Option<WaitingRun>,
    pub cells: Vec<Cell>,
}

/// One value of a model.
#[derive(Debug, Clone)]
pub struct Cell {
    pub title: &'static str,
    pub main: String,
    pub sub: String,
    pub tone: &'static str,
    pub spark: Option<Sparkline>,
}

/// What was read about all models.
#[derive(Debug, Default)]
pub struct FleetRecords {
    pub models: Vec<FleetModel>,
    pub values: Vec<ServedValue>,
    pub drifted: Vec<FeatureCount>,
    pub findings: Vec<FeatureCount>,
    pub detectors: Vec<LabelEvidence>,
}

/// `GET /`
pub async fn show(State(services): State<Services>, visitor: Visitor) -> Result<Response, Failure> {
    let now = services.clock.now();
    let project = visitor.0.project_id;
    let mut conn = services.pool.acquire().await?;
    let shell = Shell::load(&mut conn, &services, &visitor.0, Section::Fleet, "Fleet").await?;
    let from = now - LOOKS_BACK;
    let records = FleetRecords {
        models: pages::fleet(&mut conn, project).await?,
        values: pages::served_values(&mut conn, project, &overall_measures(), from).await?,
        drifted: pages::drifted_features(&mut conn, project, &of_kind(ColumnKind::Drift), from)
            .await?,
        findings: pages::schema_findings(&mut conn, project, &of_kind(ColumnKind::Schema), from)
            .await?,
        detectors: pages::label_detectors(&mut conn, project, &labelled(), now - NEW)
            .await?
            .into_iter()
            .filter_map(evidence)
            .collect(),
    };
    page(&fleet_page(shell, &records, &services.public_url, now))
}

/// The measures that look at labels as they come.
fn labelled() -> Vec<String> {
    let measures = Measure::ALL
        .iter()
        .filter(|measure| measure.is_of_label_detector());
    measures
        .map(|measure| measure.as_str().to_owned())
        .collect()
}

/// Nothing of a value that does not say how much speaks for it.
fn evidence(row: DetectorRow) -> Option<LabelEvidence> {
    let sequential = row.evidence.zip(row.run_length).zip(row.labels);
    let weight = match sequential {
        Some(((evidence, run_length), labels)) => Weight::Sequential {
            evidence,
            run_length,
            labels,
        },
        // Of a test of both directions, what speaks for a fall.
        None if row.value? < 0.0 => Weight::Test(PValue::from_probability(row.p_value? / 2.0)?),
        None => Weight::Test(PValue::ONE),
    };
    Some(LabelEvidence {
        model: row.model,
        measure: row.measure.parse().ok()?,
        is_alarm: row.status == Status::Drift.as_str(),
        weight,
    })
}

fn of_kind(kind: ColumnKind) -> Vec<String> {
    let columns = dashboard::FLEET.columns.iter();
    columns
        .filter(|column| column.kind == kind)
        .flat_map(|column| dashboard::names(&column.measures))
        .collect()
}

fn overall_measures() -> Vec<String> {
    [
        ColumnKind::Quality,
        ColumnKind::Traffic,
        ColumnKind::Errors,
        ColumnKind::Labels,
    ]
    .into_iter()
    .flat_map(of_kind)
    .collect()
}

/// Builds the page.
#[must_use]
pub fn fleet_page(
    shell: Shell,
    records: &FleetRecords,
    public_url: &str,
    now: DateTime<Utc>,
) -> FleetPage {
    let models: Vec<FleetRow> = records
        .models
        .iter()
        .map(|model| row(model, records, now))
        .collect();
    FleetPage {
        shell,
        summary: summary(&models),
        waiting: records.models.iter().filter_map(waiting).collect(),
        labels: fleet::together(&records.detectors).words(),
        columns: dashboard::FLEET
            .columns
            .iter()
            .map(|column| column.title.as_str())
            .collect(),
        models,
        public_url: public_url.trim_end_matches('/').to_owned(),
    }
}

fn summary(models: &[FleetRow]) -> Vec<Badge> {
    [
        (Tone::Critical, "critical"),
        (Tone::Warning, "with a warning"),
        (Tone::Info, "with a notice"),
        (Tone::Good, "healthy"),
        (Tone::Quiet, "not measured yet"),
    ]
    .into_iter()
    .filter_map(|(tone, words)| {
        let of_tone = models.iter().filter(|m| m.health.tone == tone).count();
        (of_tone > 0).then(|| Badge::new(format!("{of_tone} {words}"), tone))
    })
    .collect()
}

fn waiting(model: &FleetModel) -> Option<WaitingRun> {
    let run = run_line(model)?;
    (model.run_state.as_deref() == Some("waiting")).then(|| WaitingRun {
        text: format!(
            "{} on {}",
            model.run_title.as_deref().unwrap_or(""),
            model.name
        ),
        ..run
    })
}

fn run_line(model: &FleetModel) -> Option<WaitingRun> {
    let (run, title, state) = (
        model.run_id?,
        model.run_title.as_deref()?,
        model.run_state.as_deref()?,
    );
    let words = match state {
        "waiting" => "waits for a decision",
        "watching" => "watching",
        _ => "running",
    };
    Some(WaitingRun {
        href: format!("/runs/{run}"),
        text: format!("{title}: {words}"),
    })
}

fn row(model: &FleetModel, records: &FleetRecords, now: DateTime<Utc>) -> FleetRow {
    FleetRow {
        href: format!("/models/{}", path_segment(&model.name)),
        name: model.name.clone(),
        about: [model.task.as_str(), model.owner.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect::<Vec<_>>()
            .join(" · "),
        health: health(model, records),
        since: model.alerts_since.map(|since| {
            format!(
                "since {} ({})",
                wording::date(since),
                wording::length(now - since)
            )
        }),
        run: run_line(model),
        cells: dashboard::FLEET
            .columns
            .iter()
            .map(|column| cell(column, model, records, now))
            .collect(),
    }
}

/// The worst open alert decides; without one, a model is healthy only if something was measured at all.
fn health(model: &FleetModel, records: &FleetRecords) -> Badge {
    let measured = records.values.iter().any(|v| v.model_id == model.model_id)
        || records.drifted.iter().any(|c| c.model_id == model.model_id);
    if model.critical > 0 {
        Badge::new("Critical", Tone::Critical)
    } else if model.warning > 0 {
        Badge::new("Warning", Tone::Warning)
    } else if model.info > 0 {
        Badge::new("Notice", Tone::Info)
    } else if model.last_prediction_at.is_none() {
        Badge::new("No data yet", Tone::Quiet)
    } else if !measured {
        Badge::new("Not measured yet", Tone::Quiet)
    } else {
        Badge::new("Healthy", Tone::Good)
    }
}

fn cell(
    column: &'static Column,
    model: &FleetModel,
    records: &FleetRecords,
    now: DateTime<Utc>,
) -> Cell {
    let empty = Cell {
        title: &column.title,
        main: "–".to_owned(),
        sub: String::new(),
        tone: "",
        spark: None,
    };
    match column.kind {
        ColumnKind::Quality => quality(column, model, &records.values, empty),
        ColumnKind::Champion => Cell {
            main: model.champion.clone().unwrap_or_else(|| "none".to_owned()),
            ..empty
        },
        ColumnKind::Drift => drift(column, &records.drifted, model.model_id, empty),
        ColumnKind::Schema => schema(&records.findings, model.model_id, empty),
        ColumnKind::Traffic | ColumnKind::Errors | ColumnKind::Labels => {
            newest(column, model, &records.values, empty)
        }
        ColumnKind::Seen => match model.last_prediction_at {
            Some(at) => Cell {
                main: wording::ago(at, now),
                sub: wording::date_time(at),
                ..empty
            },
            None => empty,
        },
    }
}

/// The values of the first of the column's measures that has any: of one monitor, oldest first.
fn chosen<'a>(
    measures: &[Measure],
    model: ModelId,
    values: &'a [ServedValue],
) -> Vec<&'a ServedValue> {
    let of_model = |v: &&ServedValue| v.model_id == model && v.value.is_some();
    let first = measures.iter().find_map(|measure| {
        values
            .iter()
            .filter(of_model)
            .find(|v| v.measure == measure.as_str())
    });
    let Some(first) = first else {
        return Vec::new();
    };
    values
        .iter()
        .filter(of_model)
        .filter(|v| v.measure == first.measure && v.monitor == first.monitor)
        .collect()
}

fn quality(column: &Column, model: &FleetModel, values: &[ServedValue], empty: Cell) -> Cell {
    let series = chosen(&column.measures, model.model_id, values);
    let Some((newest, value)) = series.last().and_then(|v| Some((*v, v.value?))) else {
        return Cell {
            sub: "no labels yet".to_owned(),
            ..empty
        };
    };
    let drawn: Vec<f64> = series
        .iter()
        .rev()
        .take(column.windows)
        .rev()
        .filter_map(|v| v.value)
        .collect();
    let unit = wording::unit(&newest.measure, &model.unit);
    let against = newest.reference.map_or_else(
        || "no reference".to_owned(),
        |reference| {
            let change = wording::change(value, reference).unwrap_or_default();
            let reference = wording::value(&newest.measure, reference);
            format!("{change} against {reference}")
        },
    );
    Cell {
        main: format!(
            "{} {unit} {}",
            wording::value(&newest.measure, value),
            wording::measure_short(&newest.measure)
        )
        .replace("  ", " "),
        sub: against,
        tone: tone_against(newest, value),
        spark: Sparkline::draw(&newest.measure, &drawn, newest.reference),
        ..empty
    }
}

/// A value is called worse only where its own status says so or it is a fifth off the reference.
fn tone_against(newest: &ServedValue, value: f64) -> &'static str {
    let Some(reference) = newest.reference else {
        return "";
    };
    let better = newest
        .measure
        .parse()
        .map_or(Better::Neither, Measure::better);
    let worse = match better {
        Better::Lower => value > reference * 1.2,
        Better::Higher => value < reference * 0.8,
        Better::Zero | Better::Neither => false,
    };
    if worse || newest.status == "drift" {
        "worse"
    } else {
        ""
    }
}

fn drift(column: &Column, counts: &[FeatureCount], model: ModelId, empty: Cell) -> Cell {
    let found = column.measures.iter().find_map(|measure| {
        counts
            .iter()
            .find(|c| c.model_id == model && c.measure == measure.as_str())
    });
    match found {
        Some(count) => Cell {
            main: format!("{} of {}", count.beyond, count.judged),
            sub: wording::measure_short(&count.measure).to_owned(),
            tone: if count.beyond > 0 { "worse" } else { "" },
            ..empty
        },
        None => empty,
    }
}

fn schema(counts: &[FeatureCount], model: ModelId, empty: Cell) -> Cell {
    match counts.iter().find(|c| c.model_id == model) {
        Some(count) if count.beyond == 0 => Cell {
            main: "as expected".to_owned(),
            ..empty
        },
        Some(count) => Cell {
            main: match count.beyond {
                1 => "1 finding".to_owned(),
                n => format!("{n} findings"),
            },
            tone: "worse",
            ..empty
        },
        None => empty,
    }
}

fn newest(column: &Column, model: &FleetModel, values: &[ServedValue], empty: Cell) -> Cell {
    match chosen(&column.measures, model.model_id, values).last() {
        Some(v) => Cell {
            main: wording::value_or_dash(&v.measure, v.value),
            sub: format!(
                "{} of {}",
                v.grain,
                wording::window_short(v.window_start, v.window_end)
            ),
            tone: if v.status == "drift" { "worse" } else { "" },
            ..empty
        },
        None => empty,
    }
}
