//! One model: is it well, since when not, which features and segments, and what happened to it. Which panels
//! there are, and in which order, is read from `dashboards/model.yaml`.

mod parts;

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::PgConnection;

use crate::domain::ids::{ModelId, ProjectId};
use crate::domain::joint;
use crate::domain::measurement::{Better, Measure};
use crate::domain::retention::{Kept, Marks};
use crate::services::{Error, Services};
use crate::stats::detector::{Settings, Verdict};
use crate::storage::pages::{
    self, AlertRow, Finding, Measured, ModelRow, RunRow, SegmentValue, VerdictRow,
};
use crate::storage::{proposals, retention};
use crate::web::answer::{Failure, page};
use crate::web::chart::ChartView;
use crate::web::dashboard::{self, Panel, PanelKind, Show};
use crate::web::escape::path_segment;
use crate::web::evidence::facts;
use crate::web::frame::{Section, Shell, may_operate};
use crate::web::heatmap::{HeatmapView, heatmap};
use crate::web::measure_chart::{Choice, History, choose, range_start};
use crate::web::run_view::Fact;
use crate::web::tone::{Badge, Tone};
use crate::web::visitor::Visitor;
use crate::web::wording;

use super::alerts::{AlertLine, line};
use super::baselines::BaselineCard;
use super::intake::IntakeView;
use super::telemetry;

/// The page of a model.
#[derive(Debug, Template)]
#[template(path = "pages/models/model.html", escape = "page")]
pub struct ModelPage {
    pub shell: Shell,
    pub name: String,
    pub description: String,
    pub health: Badge,
    pub facts: Vec<Fact>,
    pub grains: Vec<Choosable>,
    pub ranges: Vec<Choosable>,
    pub panels: Vec<PanelView>,
    pub measured: bool,
    /// What is gone of it, in sentences.
    pub gone: Vec<String>,
    pub intake: IntakeView,
    pub baselines: Vec<BaselineCard>,
    /// How the model does in service, the last day.
    pub telemetry: Vec<ChartView>,
    pub schema_href: String,
    pub causes_href: String,
    pub rules_href: String,
    /// How many changes of the schema wait for a decision.
    pub schema_proposals: i64,
    pub runs_action: String,
    pub runbooks: Vec<(String, String)>,
    pub may_operate: bool,
}

/// A link among alternatives.
#[derive(Debug, Clone)]
pub struct Choosable {
    pub word: String,
    pub href: String,
    pub current: bool,
}

/// A panel with what it shows.
#[derive(Debug)]
pub struct PanelView {
    pub id: String,
    pub title: &'static str,
    pub note: String,
    pub choices: Vec<Choosable>,
    pub body: Body,
}

/// What a panel shows.
#[derive(Debug)]
pub enum Body {
    Series {
        main: Option<Box<ChartView>>,
        beside: Vec<ChartView>,
    },
    Verdicts(Vec<VerdictLine>),
    Heatmap(Option<HeatmapView>),
    Findings(Vec<FindingLine>),
    Segments(Vec<SegmentLine>),
    /// Classes, or fields of groups, each with its chart; and how many more there are.
    Parts {
        charts: Vec<ChartView>,
        more: usize,
    },
    Versions {
        versions: Vec<VersionLine>,
        deployments: Vec<DeploymentLine>,
    },
    Open(Vec<AlertLine>),
    Recent {
        alerts: Vec<AlertLine>,
        runs: Vec<RunLine>,
    },
}

/// A schema finding.
#[derive(Debug, Clone)]
pub struct FindingLine {
    pub feature: String,
    pub finding: String,
    pub share: String,
    pub since: String,
    pub state: Badge,
    pub expected: String,
}

/// A value and what it means.
#[derive(Debug, Clone)]
pub struct VerdictLine {
    pub measure: String,
    pub window: String,
    pub value: String,
    pub interval: String,
    pub limit: String,
    pub state: Badge,
    pub words: String,
}

/// The quality of a segment.
#[derive(Debug, Clone)]
pub struct SegmentLine {
    pub name: String,
    pub value: String,
    pub interval: String,
    pub reference: String,
    pub change: String,
    pub labels: String,
    pub state: Badge,
    pub overall: bool,
}

/// A version and its role.
#[derive(Debug, Clone)]
pub struct VersionLine {
    pub name: String,
    pub colour: String,
    pub role: Badge,
    pub since: String,
    pub share: String,
    pub created: String,
    pub parent: String,
    pub lineage: Vec<Fact>,
}

/// A stay of a version in a role.
#[derive(Debug, Clone)]
pub struct DeploymentLine {
    pub version: String,
    pub environment: String,
    pub role: String,
    pub from: String,
    pub to: String,
}

/// A run in a list.
#[derive(Debug, Clone)]
pub struct RunLine {
    pub href: String,
    pub title: String,
    pub state: Badge,
    pub started: String,
    pub started_by: String,
    pub outcome: String,
}

/// What the address asks for.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Wanted {
    grain: Option<String>,
    range: Option<String>,
    measure: Option<String>,
    drift: Option<String>,
    part: Option<String>,
}

impl Wanted {
    fn whole(&self) -> bool {
        self.range.as_deref() != Some("8w")
    }

    /// The address with one parameter changed and the others kept.
    fn with(&self, base: &str, name: &str, value: &str) -> String {
        let kept = [
            ("grain", &self.grain),
            ("range", &self.range),
            ("measure", &self.measure),
            ("drift", &self.drift),
            ("part", &self.part),
        ];
        let mut pairs: Vec<String> = kept
            .into_iter()
            .filter(|(kept, _)| *kept != name)
            .filter_map(|(kept, value)| Some(format!("{kept}={}", path_segment(value.as_deref()?))))
            .collect();
        pairs.push(format!("{name}={}", path_segment(value)));
        format!("{base}?{}", pairs.join("&"))
    }
}

/// `GET /models/{name}`
pub async fn show(
    State(services): State<Services>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Failure> {
    let now = services.clock.now();
    let session = &visitor.0;
    let mut conn = services.pool.acquire().await?;
    let model = pages::model_by_name(&mut conn, session.project_id, &name)
        .await?
        .ok_or_else(|| Error::not_found("this model"))?;
    let shell = Shell::load(&mut conn, &services, session, Section::Fleet, &model.name).await?;
    let reader = Reader::load(&mut conn, session.project_id, model, wanted, now).await?;
    let mut panels = Vec::new();
    for (position, panel) in dashboard::MODEL.panels.iter().enumerate() {
        panels.push(reader.panel(&mut conn, position, panel).await?);
    }
    let runbooks = pages::runbooks(&mut conn, session.project_id).await?;
    let schema_proposals = proposals::open_count(&mut conn, reader.model.model_id).await?;
    let baselines = super::baselines::cards(&mut conn, reader.model.model_id, &reader.base).await?;
    let intake = IntakeView::load(&mut conn, session.project_id, reader.model.model_id).await?;
    let marks = retention::marks(&mut conn, session.project_id).await?;
    let telemetry = telemetry::charts(&mut conn, reader.model.model_id, now).await?;
    page(&ModelPage {
        shell,
        gone: gone(&marks),
        health: reader.health(),
        facts: reader.facts(),
        grains: reader.grains(),
        ranges: reader.ranges(),
        panels,
        measured: !reader.measured.is_empty(),
        intake,
        baselines,
        telemetry,
        schema_href: format!("{}/schema", reader.base),
        causes_href: format!("{}/causes", reader.base),
        rules_href: format!("{}/rules", reader.base),
        schema_proposals,
        runs_action: format!("{}/runs", reader.base),
        runbooks,
        may_operate: may_operate(session),
        name: reader.model.name,
        description: reader.model.description,
    })
}

/// What the charts no longer reach.
fn gone(marks: &Marks) -> Vec<String> {
    let of = [
        (
            Kept::Raw,
            "Raw rows of before {} are gone; what was measured then is kept.",
        ),
        (Kept::Profiles, "Counts by feature of before {} are gone."),
        (Kept::Measurements, "Measurements of before {} are gone."),
    ];
    of.into_iter()
        .filter_map(|(kept, sentence)| {
            let day = marks.gone_before(kept)?.format("%Y-%m-%d").to_string();
            Some(sentence.replace("{}", &day))
        })
        .collect()
}

/// Reads what charts of a model need besides their values: `(id, name, unit)` name the model.
pub async fn history(
    conn: &mut PgConnection,
    project: ProjectId,
    (model, name, unit): (ModelId, &str, &str),
    from: DateTime<Utc>,
) -> sqlx::Result<History> {
    let rules = pages::rules(conn, project, name).await?;
    Ok(History {
        versions: pages::versions(conn, model).await?,
        deployments: pages::deployments(conn, model).await?,
        // A rule of a newer shape is not drawn; it is no reason to show no page.
        rules: rules
            .into_iter()
            .filter_map(|body| serde_json::from_value(body).ok())
            .collect(),
        events: pages::events(conn, model, from).await?,
        unit: unit.to_owned(),
    })
}

/// What all panels of one request share.
struct Reader {
    model: ModelRow,
    base: String,
    wanted: Wanted,
    from: DateTime<Utc>,
    now: DateTime<Utc>,
    measured: Vec<Measured>,
    history: History,
    alerts: Vec<AlertRow>,
    runs: Vec<RunRow>,
}

impl Reader {
    async fn load(
        conn: &mut PgConnection,
        project: ProjectId,
        model: ModelRow,
        wanted: Wanted,
        now: DateTime<Utc>,
    ) -> sqlx::Result<Self> {
        let from = range_start(wanted.whole(), now);
        let id = model.model_id;
        Ok(Self {
            measured: pages::measured(conn, id).await?,
            history: history(conn, project, (id, &model.name, &model.unit), from).await?,
            alerts: pages::alerts_of_model(conn, project, id).await?,
            runs: pages::runs_of_model(conn, project, id).await?,
            base: format!("/models/{}", path_segment(&model.name)),
            model,
            wanted,
            from,
            now,
        })
    }

    fn choose(&self, measures: &[Measure], wanted: Option<&str>) -> Option<Choice> {
        choose(
            &self.measured,
            measures,
            wanted,
            self.wanted.grain.as_deref(),
        )
    }

    async fn panel(
        &self,
        conn: &mut PgConnection,
        position: usize,
        panel: &'static Panel,
    ) -> sqlx::Result<PanelView> {
        let mut view = PanelView {
            id: format!("panel-{position}"),
            title: &panel.title,
            note: String::new(),
            choices: Vec::new(),
            body: Body::Open(Vec::new()),
        };
        match panel.kind {
            PanelKind::Series => self.series(conn, panel, &mut view).await?,
            PanelKind::Verdicts => self.verdicts(conn, panel, &mut view).await?,
            PanelKind::Heatmap => self.heatmap(conn, panel, &mut view).await?,
            PanelKind::Findings => self.findings(conn, panel, &mut view).await?,
            PanelKind::Segments => self.segments(conn, panel, &mut view).await?,
            PanelKind::Parts => self.parts(conn, panel, &mut view).await?,
            PanelKind::Versions => {
                view.body = Body::Versions {
                    versions: self.versions(),
                    deployments: self.deployments(),
                }
            }
            PanelKind::Alerts => view.body = self.alerts(panel.show),
        }
        Ok(view)
    }

    async fn chart(
        &self,
        conn: &mut PgConnection,
        id: &str,
        choice: &Choice,
    ) -> sqlx::Result<Option<ChartView>> {
        let values = pages::series(
            conn,
            self.model.model_id,
            &choice.monitor,
            &choice.measure,
            &choice.grain,
            self.from,
        )
        .await?;
        Ok(self.history.chart(id, choice, &values))
    }

    async fn series(
        &self,
        conn: &mut PgConnection,
        panel: &Panel,
        view: &mut PanelView,
    ) -> sqlx::Result<()> {
        let chosen = self.choose(&panel.measures, self.wanted.measure.as_deref());
        let mut main = None;
        if let Some(choice) = &chosen {
            view.note = describe(choice);
            view.choices = self.choices(choice, "measure", &view.id);
            main = self.chart(conn, &view.id, choice).await?;
        }
        let mut beside = Vec::new();
        for measure in &panel.beside {
            if let Some(choice) = self.choose(&[*measure], None) {
                let id = format!("{}-{}", view.id, measure.as_str());
                beside.extend(self.chart(conn, &id, &choice).await?);
            }
        }
        view.body = Body::Series {
            main: main.map(Box::new),
            beside,
        };
        Ok(())
    }

    async fn verdicts(
        &self,
        conn: &mut PgConnection,
        panel: &Panel,
        view: &mut PanelView,
    ) -> sqlx::Result<()> {
        let measures = dashboard::names(&panel.measures);
        let mut rows = pages::verdicts(conn, self.model.model_id, &measures).await?;
        rows.sort_by_key(|row| measures.iter().position(|measure| *measure == row.measure));
        let unit = self.model.unit.as_str();
        view.body = Body::Verdicts(rows.iter().map(|row| verdict_line(row, unit)).collect());
        Ok(())
    }

    async fn heatmap(
        &self,
        conn: &mut PgConnection,
        panel: &Panel,
        view: &mut PanelView,
    ) -> sqlx::Result<()> {
        let mut map = None;
        if let Some(choice) = self.choose(&panel.measures, self.wanted.drift.as_deref()) {
            let values = pages::heat_values(
                conn,
                self.model.model_id,
                &choice.monitor,
                &choice.measure,
                (&choice.grain, choice.is_of_rows()),
                self.from,
            )
            .await?;
            let against = values
                .last()
                .and_then(|newest| newest.recipe.pointer("/reference/text")?.as_str());
            view.note = describe(&choice)
                + &against.map_or_else(String::new, |text| format!(", newest against {text}"));
            if choice.measure == Measure::Shift.as_str() {
                let errs = Verdict::by_chance(&Settings::default());
                view.note = format!(
                    "{}. A mark is the drift detector's verdict: {errs}. The smallest changes it would see are below, under \
                     Baselines",
                    view.note
                );
            }
            let together = Measure::OVER_DAYS_TOGETHER.map(Measure::as_str);
            if together.contains(&choice.measure.as_str()) {
                let errs = joint::by_chance();
                view.note = format!("{}. A mark is a finding of its own: {errs}", view.note);
            }
            view.choices = self.choices(&choice, "drift", &view.id);
            map = heatmap(&choice.measure, &values);
        }
        view.body = Body::Heatmap(map);
        Ok(())
    }

    async fn findings(
        &self,
        conn: &mut PgConnection,
        panel: &Panel,
        view: &mut PanelView,
    ) -> sqlx::Result<()> {
        let measures = dashboard::names(&panel.measures);
        let found = pages::findings(conn, self.model.model_id, &measures, self.from).await?;
        view.body = Body::Findings(found.iter().map(finding_line).collect());
        Ok(())
    }

    async fn segments(
        &self,
        conn: &mut PgConnection,
        panel: &Panel,
        view: &mut PanelView,
    ) -> sqlx::Result<()> {
        let mut lines = Vec::new();
        if let Some(choice) = self.choose(&panel.measures, self.wanted.measure.as_deref()) {
            let values = pages::segment_values(
                conn,
                self.model.model_id,
                &choice.monitor,
                &choice.measure,
                &choice.grain,
            )
            .await?;
            if let Some(first) = values.first() {
                let against = first.against.as_ref();
                view.note = format!(
                    "{} of the champion, {}{}",
                    wording::measure_title(&choice.measure),
                    wording::window(first.window_start, first.window_end),
                    against.map_or_else(String::new, |text| format!(", against {text}"))
                );
            }
            lines = values
                .iter()
                .map(|value| segment_line(&choice.measure, value))
                .collect();
        }
        view.body = Body::Segments(lines);
        Ok(())
    }

    fn alerts(&self, show: Show) -> Body {
        let lines = |open_only: bool| {
            self.alerts
                .iter()
                .filter(|alert| !open_only || alert.resolved_at.is_none())
                .map(|alert| line(alert, self.now))
                .collect()
        };
        match show {
            Show::Open => Body::Open(lines(true)),
            Show::Recent => Body::Recent {
                alerts: lines(false),
                runs: self.runs.iter().map(run_line).collect(),
            },
        }
    }

    fn versions(&self) -> Vec<VersionLine> {
        let count = self.history.versions.len();
        self.history
            .versions
            .iter()
            .enumerate()
            .map(|(position, version)| VersionLine {
                name: version.name.clone(),
                colour: format!("swatch c{}", (count - 1 - position) % 6),
                role: match version.role.as_deref() {
                    Some("champion") => Badge::new("Champion", Tone::Good),
                    Some(role) => Badge::new(role, Tone::Info),
                    None => Badge::new("not deployed", Tone::Quiet),
                },
                since: version.role_since.map(wording::date).unwrap_or_default(),
                share: version
                    .traffic_share
                    .map(wording::percent)
                    .unwrap_or_default(),
                created: format!(
                    "{} by {}",
                    wording::date(version.created_at),
                    version.created_by
                ),
                parent: version.parent.clone().unwrap_or_default(),
                lineage: facts(&version.lineage),
            })
            .collect()
    }

    fn deployments(&self) -> Vec<DeploymentLine> {
        self.history
            .deployments
            .iter()
            .map(|stay| DeploymentLine {
                version: stay.version.clone(),
                environment: stay.environment.clone(),
                role: stay.role.clone(),
                from: wording::date_time(stay.started_at),
                to: stay
                    .ended_at
                    .map_or_else(|| "now".to_owned(), wording::date_time),
            })
            .collect()
    }

    fn health(&self) -> Badge {
        let open = self.alerts.iter().filter(|a| a.resolved_at.is_none());
        match open.map(|a| Tone::of_severity(&a.severity)).min() {
            Some(Tone::Critical) => Badge::new("Critical", Tone::Critical),
            Some(Tone::Warning) => Badge::new("Warning", Tone::Warning),
            Some(_) => Badge::new("Notice", Tone::Info),
            None if self.model.last_prediction_at.is_none() => {
                Badge::new("No data yet", Tone::Quiet)
            }
            None if self.measured.is_empty() => Badge::new("Not measured yet", Tone::Quiet),
            None => Badge::new("Healthy", Tone::Good),
        }
    }

    fn facts(&self) -> Vec<Fact> {
        let champion = self
            .history
            .versions
            .iter()
            .find(|v| v.role.as_deref() == Some("champion"));
        let champion = match champion {
            Some(version) => match version.role_since {
                Some(since) => format!("{} since {}", version.name, wording::date(since)),
                None => version.name.clone(),
            },
            None => "none".to_owned(),
        };
        let seen = self
            .model
            .last_prediction_at
            .map_or_else(|| "none yet".to_owned(), |at| wording::ago(at, self.now));
        [
            ("Champion", champion),
            ("Owner", self.model.owner.clone()),
            ("Task", self.model.task.clone()),
            ("Unit", self.model.unit.clone()),
            ("Last prediction", seen),
        ]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .map(|(name, value)| Fact {
            name: name.to_owned(),
            value,
        })
        .collect()
    }

    fn grains(&self) -> Vec<Choosable> {
        let shown = self.wanted.grain.clone().or_else(|| {
            let panel = dashboard::MODEL
                .panels
                .iter()
                .find(|p| p.kind == PanelKind::Series)?;
            Some(self.choose(&panel.measures, None)?.grain)
        });
        ["hour", "day", "week", "month"]
            .into_iter()
            .filter(|grain| self.measured.iter().any(|m| m.grain == *grain))
            .map(|grain| Choosable {
                word: grain.to_owned(),
                href: self.wanted.with(&self.base, "grain", grain),
                current: shown.as_deref() == Some(grain),
            })
            .collect()
    }

    fn ranges(&self) -> Vec<Choosable> {
        [("Last 8 weeks", "8w", false), ("All", "all", true)]
            .into_iter()
            .map(|(word, value, whole)| Choosable {
                word: word.to_owned(),
                href: self.wanted.with(&self.base, "range", value),
                current: self.wanted.whole() == whole,
            })
            .collect()
    }

    fn choices(&self, choice: &Choice, parameter: &str, panel: &str) -> Vec<Choosable> {
        if choice.alternatives.len() < 2 {
            return Vec::new();
        }
        choice
            .alternatives
            .iter()
            .map(|measure| Choosable {
                word: wording::measure_short(measure).to_owned(),
                href: format!(
                    "{}#{panel}",
                    self.wanted.with(&self.base, parameter, measure)
                ),
                current: *measure == choice.measure,
            })
            .collect()
    }
}

fn describe(choice: &Choice) -> String {
    format!(
        "{} by {}, monitor {}",
        wording::measure_title(&choice.measure),
        choice.grain,
        choice.monitor
    )
}

fn verdict_line(row: &VerdictRow, unit: &str) -> VerdictLine {
    let measure = row.measure.as_str();
    let unit = wording::unit(measure, unit);
    let said = |value: f64| {
        let text = wording::value(measure, value);
        if unit.is_empty() {
            text
        } else {
            format!("{text} {unit}")
        }
    };
    let between = |low, high| {
        format!(
            "{} to {}",
            wording::value(measure, low),
            wording::value(measure, high)
        )
    };
    let words = match (&row.cause, &row.detail) {
        (Some(cause), Some(detail)) => format!("{cause}. {detail}"),
        (Some(words), None) | (None, Some(words)) => words.clone(),
        (None, None) => String::new(),
    };
    VerdictLine {
        measure: format!(
            "{}, monitor {}",
            wording::measure_title(measure),
            row.monitor
        ),
        window: wording::window(row.window_start, row.window_end),
        value: row.value.map_or_else(|| "–".to_owned(), said),
        interval: row
            .low
            .zip(row.high)
            .map_or_else(String::new, |(low, high)| between(low, high)),
        limit: row
            .threshold
            .or(row.reference)
            .map_or_else(String::new, said),
        state: match row.status.as_str() {
            "drift" => Badge::new("Beyond", Tone::Warning),
            "ok" => Badge::new("As usual", Tone::Good),
            "insufficient" => Badge::new("Cannot tell", Tone::Quiet),
            _ => Badge::new("Error", Tone::Warning),
        },
        words,
    }
}

fn finding_line(finding: &Finding) -> FindingLine {
    FindingLine {
        feature: wording::feature(&finding.feature).to_owned(),
        finding: match &finding.detail {
            Some(detail) => format!("{}: {detail}", wording::measure_title(&finding.measure)),
            None => wording::measure_title(&finding.measure).to_owned(),
        },
        share: wording::value_or_dash(
            &finding.measure,
            finding
                .share
                .filter(|_| !wording::is_sign(&finding.measure)),
        ),
        since: if finding.open {
            wording::date(finding.since)
        } else {
            wording::window(finding.since, finding.window_end)
        },
        state: if finding.open {
            Badge::new("Open", Tone::Warning)
        } else {
            Badge::new("Over", Tone::Quiet)
        },
        expected: expectation(finding),
    }
}

fn expectation(finding: &Finding) -> String {
    let Some(feature_type) = &finding.feature_type else {
        return "not in the schema".to_owned();
    };
    let mut parts = vec![feature_type.clone()];
    match (finding.minimum, finding.maximum) {
        (Some(low), Some(high)) => parts.push(format!(
            "from {} to {}",
            wording::number(low),
            wording::number(high)
        )),
        (Some(low), None) => parts.push(format!("from {}", wording::number(low))),
        (None, Some(high)) => parts.push(format!("up to {}", wording::number(high))),
        (None, None) => {}
    }
    if let Some(categories) = &finding.categories {
        parts.push(format!("one of {} categories", categories.len()));
    }
    if finding.required == Some(true) {
        parts.push("required".to_owned());
    }
    if let Some(share) = finding.max_null_share {
        parts.push(format!("at most {} nulls", wording::percent(share)));
    }
    parts.join(", ")
}

fn segment_line(measure: &str, row: &SegmentValue) -> SegmentLine {
    let overall = row.segment_name.is_empty();
    SegmentLine {
        name: if overall {
            "Overall".to_owned()
        } else {
            format!("{} = {}", row.segment_name, row.segment_value)
        },
        value: wording::value_or_dash(measure, row.value),
        interval: match (row.low, row.high) {
            (Some(low), Some(high)) => format!(
                "{} to {}",
                wording::value(measure, low),
                wording::value(measure, high)
            ),
            _ => String::new(),
        },
        reference: wording::value_or_dash(measure, row.reference),
        change: row
            .value
            .zip(row.reference)
            .and_then(|(value, reference)| wording::change(value, reference))
            .unwrap_or_default(),
        labels: wording::count(row.current_rows),
        state: segment_state(measure, row),
        overall,
    }
}

/// A segment is called worse when it is a fifth off its own reference; whether that matters is for rules.
fn segment_state(measure: &str, row: &SegmentValue) -> Badge {
    let (Some(value), Some(reference)) = (row.value, row.reference) else {
        return match row.status.as_str() {
            "insufficient" => Badge::new("Too few", Tone::Quiet),
            "error" => Badge::new("Error", Tone::Warning),
            _ => Badge::new("No reference", Tone::Quiet),
        };
    };
    let better = measure.parse().map_or(Better::Neither, Measure::better);
    let worse = match better {
        Better::Lower => value > reference * 1.2,
        Better::Higher => value < reference * 0.8,
        Better::Zero | Better::Neither => false,
    };
    if row.status == "insufficient" {
        Badge::new("Too few", Tone::Quiet)
    } else if worse || row.status == "drift" {
        Badge::new("Worse", Tone::Warning)
    } else {
        Badge::new("As usual", Tone::Good)
    }
}

fn run_line(run: &RunRow) -> RunLine {
    RunLine {
        href: format!("/runs/{}", run.run_id),
        title: run.title.clone(),
        state: Badge::state(&run.state),
        started: wording::date_time(run.started_at),
        started_by: run.started_by.clone(),
        outcome: run.outcome.clone(),
    }
}
