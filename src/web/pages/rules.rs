//! A model's rules: what each asks for, how often it errs where nothing is wrong, and the smallest change it would see. It is what
//! somebody reads who decides whether to be woken by one.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;

use crate::domain::promise::PromiseOf;
use crate::services::promises::{self, RulePromises};
use crate::services::{Services, registry};
use crate::web::answer::{Failure, page};
use crate::web::escape::path_segment;
use crate::web::frame::{Section, Shell};
use crate::web::tone::{Badge, Tone};
use crate::web::visitor::Visitor;

/// The page of a model's rules.
#[derive(Debug, Template)]
#[template(path = "pages/models/rules.html", escape = "page")]
pub struct RulesPage {
    pub shell: Shell,
    pub model: String,
    pub model_href: String,
    pub rules: Vec<RuleCard>,
}

/// A rule.
#[derive(Debug, Clone)]
pub struct RuleCard {
    pub name: String,
    pub title: String,
    pub severity: Badge,
    pub state: Badge,
    pub asks: String,
    pub runbook: Option<String>,
    pub receivers: String,
    /// Where its open alert is.
    pub alert_href: Option<String>,
    pub promises: Vec<PromiseLine>,
}

/// What the rule promises of some of its measures.
#[derive(Debug, Clone)]
pub struct PromiseLine {
    pub of: String,
    pub errs: String,
    pub sees: String,
}

impl PromiseLine {
    /// As people read it.
    #[must_use]
    pub fn of(told: &PromiseOf) -> Self {
        let measures: Vec<&str> = told
            .measures
            .iter()
            .map(|measure| measure.as_str())
            .collect();
        let (errs, sees) = match &told.promise {
            Some(promise) => (promise.errs.clone(), promise.sees.clone()),
            None => {
                let unknown = "not known before a window has been measured that says enough";
                (unknown.to_owned(), unknown.to_owned())
            }
        };
        Self {
            of: if measures.is_empty() {
                "predictions".to_owned()
            } else {
                measures.join(", ")
            },
            errs,
            sees,
        }
    }
}

/// `GET /models/{name}/rules`
pub async fn show(
    State(services): State<Services>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let session = &visitor.0;
    let mut conn = services.pool.acquire().await?;
    let model = registry::model(&mut conn, session.project_id, &name).await?;
    let title = format!("Rules of {}", model.name);
    let shell = Shell::load(&mut conn, &services, session, Section::Fleet, &title).await?;
    let told = promises::of_model(&mut conn, &model, services.clock.now()).await?;
    page(&rules_page(shell, &model.name, told))
}

/// The page for what was read.
#[must_use]
pub fn rules_page(shell: Shell, model: &str, told: Vec<RulePromises>) -> RulesPage {
    RulesPage {
        shell,
        model: model.to_owned(),
        model_href: format!("/models/{}", path_segment(model)),
        rules: told.into_iter().map(card).collect(),
    }
}

fn card(told: RulePromises) -> RuleCard {
    let rule = told.rule;
    let severity = rule.severity.as_str();
    RuleCard {
        asks: rule.asks(),
        severity: Badge::severity(severity),
        state: match told.open {
            Some(_) => Badge::new("Open", Tone::of_severity(severity)),
            None => Badge::new("Quiet", Tone::Good),
        },
        alert_href: told.open.map(|alert| format!("/alerts/{alert}")),
        promises: told.promises.iter().map(PromiseLine::of).collect(),
        receivers: rule.receivers.join(", "),
        runbook: rule.runbook,
        name: rule.name,
        title: rule.title,
    }
}
