//! Why a model's quality was lost over some span: what it is made of, along which features, in which segments.

use askama::Template;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use serde::Deserialize;

use crate::domain::measurement::Measure;
use crate::services::causes::{self, Question};
use crate::services::{Error, Services, registry};
use crate::web::answer::{Failure, page};
use crate::web::cause_view::CauseView;
use crate::web::escape::path_segment;
use crate::web::frame::{Section, Shell};
use crate::web::visitor::Visitor;

/// The page of the causes.
#[derive(Debug, Template)]
#[template(path = "pages/models/causes.html", escape = "page")]
pub struct CausesPage {
    pub shell: Shell,
    pub model: String,
    pub model_href: String,
    pub version: String,
    pub view: CauseView,
    /// What the form asks with.
    pub action: String,
    pub asked: Asked,
}

/// What the form holds: days, and the measure.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    pub from: String,
    pub to: String,
    pub reference_from: String,
    pub reference_to: String,
    pub measure: String,
    pub version: String,
}

/// What the address asks for. Fields of a form that were left empty are as good as absent.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Wanted {
    version: Option<String>,
    measure: Option<String>,
    from: Option<String>,
    to: Option<String>,
    reference_from: Option<String>,
    reference_to: Option<String>,
}

impl Wanted {
    fn question(&self) -> Result<Question, Error> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let measure = match given(&self.measure).map(|name| name.parse::<Measure>()) {
            None => None,
            Some(Ok(measure)) if measure.is_quality() => Some(measure),
            Some(_) => {
                let cause = "must be a measure of quality, such as mae or roc_auc";
                return Err(Error::invalid_field("measure", cause));
            }
        };
        Ok(Question {
            version: given(&self.version),
            measure,
            from: instant("from", given(&self.from))?,
            to: instant("to", given(&self.to))?,
            reference_from: instant("reference_from", given(&self.reference_from))?,
            reference_to: instant("reference_to", given(&self.reference_to))?,
        })
    }
}

/// A day, or a time as links carry it.
fn instant(field: &'static str, text: Option<String>) -> Result<Option<DateTime<Utc>>, Error> {
    let Some(text) = text else {
        return Ok(None);
    };
    if let Ok(day) = text.parse::<NaiveDate>() {
        return Ok(Some(day.and_time(NaiveTime::MIN).and_utc()));
    }
    match DateTime::parse_from_rfc3339(&text) {
        Ok(at) => Ok(Some(at.to_utc())),
        Err(_) => Err(Error::invalid_field(
            field,
            "must be a day such as 2013-03-15",
        )),
    }
}

/// The address of the page for a question.
#[must_use]
pub fn address(model: &str, question: &Question) -> String {
    let at = |at: Option<DateTime<Utc>>| at.map(|at| at.format("%Y-%m-%dT%H:%M:%SZ").to_string());
    let pairs = [
        ("version", question.version.clone()),
        ("measure", question.measure.map(|m| m.as_str().to_owned())),
        ("from", at(question.from)),
        ("to", at(question.to)),
        ("reference_from", at(question.reference_from)),
        ("reference_to", at(question.reference_to)),
    ];
    let given: Vec<String> = (pairs.into_iter())
        .filter_map(|(name, value)| Some(format!("{name}={}", path_segment(&value?))))
        .collect();
    let base = format!("/models/{}/causes", path_segment(model));
    if given.is_empty() {
        return base;
    }
    format!("{base}?{}", given.join("&"))
}

/// `GET /models/{name}/causes`
pub async fn show(
    State(services): State<Services>,
    visitor: Visitor,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Failure> {
    let question = wanted.question()?;
    let session = &visitor.0;
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, session.project_id, &name).await?;
    let title = format!("Why quality changed: {}", model.name);
    let shell = Shell::load(&mut conn, &services, session, Section::Fleet, &title).await?;
    drop(conn);
    let report = causes::look(&services, &model, &question, services.clock.now()).await?;
    let model_href = format!("/models/{}", path_segment(&model.name));
    let day = |at: DateTime<Utc>| at.format("%Y-%m-%d").to_string();
    page(&CausesPage {
        shell,
        view: CauseView::of(&report, &model.unit, address(&model.name, &question)),
        version: report.version.clone(),
        asked: Asked {
            from: day(report.current.from),
            to: day(report.current.to),
            reference_from: day(report.reference.from),
            reference_to: day(report.reference.to),
            measure: question
                .measure
                .map_or_else(String::new, |m| m.as_str().to_owned()),
            version: report.version.clone(),
        },
        action: format!("{model_href}/causes"),
        model: model.name,
        model_href,
    })
}
