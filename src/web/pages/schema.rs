//! A model's schema: what is in force, what is proposed instead and what that would mean, and how it came to be. The
//! difference stands side by side, because it is read by somebody who has to answer for it.

use std::collections::BTreeSet;

use askama::Template;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use chrono::{DateTime, Utc};
use serde::Deserialize;

use crate::domain::definitions;
use crate::domain::ids::ProposalId;
use crate::domain::proposal::{Effect, FeatureChange, Origin, Part, ProposalState};
use crate::domain::schema::{FeatureExpectation, FeatureOverride, FeatureType};
use crate::services::access::Scope;
use crate::services::schemas::{self, Verdict};
use crate::services::{Error, Services};
use crate::storage::baselines;
use crate::storage::definitions as stored;
use crate::storage::pages;
use crate::storage::proposals::{self, Proposal, SchemaVersion};
use crate::web::answer::{Failure, page};
use crate::web::escape::path_segment;
use crate::web::frame::{Section, Shell, may_operate};
use crate::web::tone::{Badge, Tone};
use crate::web::visitor::{SignedForm, Visitor};
use crate::web::wording;

/// How many categories are named in a cell.
const NAMED: usize = 12;

/// The page of a schema.
#[derive(Debug, Template)]
#[template(path = "pages/models/schema.html", escape = "page")]
pub struct SchemaPage {
    pub shell: Shell,
    pub model: String,
    pub model_href: String,
    pub version: Option<String>,
    /// The file that declares the schema, and its revision.
    pub file: Option<String>,
    pub features: Vec<FeatureLine>,
    pub open: Vec<ProposalCard>,
    pub history: Vec<HistoryLine>,
    pub may_operate: bool,
}

/// What is expected of a feature.
#[derive(Debug, Clone)]
pub struct FeatureLine {
    pub feature: String,
    pub feature_type: &'static str,
    pub required: String,
    pub range: String,
    pub categories: String,
    pub nulls: String,
    pub values: String,
}

/// A proposal that waits for a decision.
#[derive(Debug, Clone)]
pub struct ProposalCard {
    pub action: String,
    pub title: String,
    pub origin: Badge,
    pub proposed: String,
    pub reasons: Vec<String>,
    pub parts: Vec<PartLine>,
    pub notes: Vec<String>,
    /// The same for a configuration file.
    pub yaml: String,
    /// Who has accepted it and why, while it is being put into force.
    pub accepted: Option<String>,
}

/// One part of one feature, as it is and as it is to be.
#[derive(Debug, Clone)]
pub struct PartLine {
    pub feature: String,
    pub what: &'static str,
    pub from: String,
    pub to: String,
    /// What it would have meant for the last days; may be empty.
    pub effect: String,
}

/// A version that was in force, or a proposal that was not accepted.
#[derive(Debug, Clone)]
pub struct HistoryLine {
    pub at: String,
    pub state: Badge,
    pub source: String,
    pub by: String,
    pub reason: String,
    pub parts: Vec<PartLine>,
}

/// `GET /models/{name}/schema`
pub async fn show(
    State(services): State<Services>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<Response, Failure> {
    let session = &visitor.0;
    let mut conn = services.pool.acquire().await?;
    let model = pages::model_by_name(&mut conn, session.project_id, &name)
        .await?
        .ok_or_else(|| Error::not_found("this model"))?;
    let title = format!("Schema of {}", model.name);
    let shell = Shell::load(&mut conn, &services, session, Section::Fleet, &title).await?;
    let records = SchemaRecords {
        schema: baselines::schema(&mut conn, model.model_id).await?,
        versions: proposals::versions(&mut conn, model.model_id, schemas::LISTED).await?,
        proposals: proposals::of_model(&mut conn, model.model_id, schemas::LISTED).await?,
        file: stored::find(&mut conn, session.project_id, "model", &model.name)
            .await?
            .filter(|definition| definition.body["schema"].is_object())
            .map(|definition| format!("{} at {}", definition.file, definition.revision)),
    };
    let view = schema_page(shell, &model.name, records, may_operate(session));
    page(&view)
}

/// What the page is made of.
#[derive(Debug, Default)]
pub struct SchemaRecords {
    pub schema: Option<baselines::Schema>,
    pub versions: Vec<SchemaVersion>,
    pub proposals: Vec<Proposal>,
    pub file: Option<String>,
}

/// The page for what was read.
#[must_use]
pub fn schema_page(
    shell: Shell,
    model: &str,
    records: SchemaRecords,
    may_operate: bool,
) -> SchemaPage {
    let (open, decided): (Vec<Proposal>, Vec<Proposal>) = records
        .proposals
        .into_iter()
        .partition(|p| matches!(p.state, ProposalState::Proposed | ProposalState::Accepting));
    let model_href = format!("/models/{}", path_segment(model));
    SchemaPage {
        shell,
        model: model.to_owned(),
        version: records
            .schema
            .as_ref()
            .map(|s| format!("Version {}", s.version)),
        file: records.file,
        features: records
            .schema
            .iter()
            .flat_map(|s| &s.features)
            .map(feature_line)
            .collect(),
        open: open.iter().map(|p| card(p, &model_href)).collect(),
        history: history(&records.versions, &decided),
        may_operate,
        model_href,
    }
}

#[derive(Deserialize)]
pub struct Decision {
    decision: String,
    reason: String,
}

/// `POST /models/{name}/schema/proposals/{id}`
pub async fn decide(
    State(services): State<Services>,
    Path((model, id)): Path<(String, String)>,
    SignedForm { visitor, form }: SignedForm<Decision>,
) -> Result<Response, Failure> {
    visitor.require(Scope::Operate)?;
    let proposal_id: ProposalId = id.parse().map_err(|_| Failure::page_not_found())?;
    let accept = match form.decision.as_str() {
        "accept" => true,
        "decline" => false,
        _ => return Err(Error::invalid_field("decision", "is accept or decline").into()),
    };
    let verdict = Verdict {
        proposal_id,
        accept,
        reason: &form.reason,
        actor: &visitor.actor(),
    };
    schemas::decide(&services, visitor.0.project_id, verdict).await?;
    let back = format!("/models/{}/schema", path_segment(&model));
    Ok(Redirect::to(&back).into_response())
}

fn feature_line(expected: &FeatureExpectation) -> FeatureLine {
    FeatureLine {
        feature: expected.feature.clone(),
        feature_type: expected.feature_type.as_str(),
        required: required(expected),
        range: range(expected),
        categories: match &expected.categories {
            Some(known) => named(known.iter().map(String::as_str)),
            None => String::new(),
        },
        nulls: format!("up to {}", wording::percent(expected.max_null_share)),
        values: values(expected),
    }
}

/// What is said of how often values repeat and how many may be outside.
fn values(expected: &FeatureExpectation) -> String {
    let parts = [
        (expected.max_duplicate_share).map(|_| format!("{} repeat", repeats(expected))),
        Some(format!("{} different", distinct(expected)))
            .filter(|_| !distinct(expected).is_empty()),
        (expected.max_outside_share).map(|_| format!("{} outside", outside(expected))),
    ];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join(", ")
}

fn repeats(expected: &FeatureExpectation) -> String {
    let share = expected.max_duplicate_share.map(|share| match share {
        0.0 => "none".to_owned(),
        share if share < 0.001 => "less than 0.1 %".to_owned(),
        share => format!("up to {}", wording::percent(share)),
    });
    share.unwrap_or_default()
}

fn distinct(expected: &FeatureExpectation) -> String {
    match (expected.min_distinct, expected.max_distinct) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) => format!("at least {least}"),
        (None, Some(most)) => format!("at most {most}"),
        (None, None) => String::new(),
    }
}

fn outside(expected: &FeatureExpectation) -> String {
    let share = expected.max_outside_share;
    share.map_or_else(
        || "what the monitor tolerates".to_owned(),
        |share| format!("up to {}", wording::percent(share)),
    )
}

fn required(expected: &FeatureExpectation) -> String {
    match (&expected.environments, expected.required) {
        (_, false) => "no".to_owned(),
        (None, true) => "yes".to_owned(),
        (Some(environments), true) => format!("in {}", environments.join(", ")),
    }
}

fn range(expected: &FeatureExpectation) -> String {
    let end = |end: f64| limit(expected.feature_type, end);
    match (expected.minimum, expected.maximum) {
        (Some(low), Some(high)) => format!("{} to {}", end(low), end(high)),
        (Some(low), None) => format!("from {}", end(low)),
        (None, Some(high)) => format!("up to {}", end(high)),
        (None, None) => String::new(),
    }
}

/// An end of a range with all its digits: somebody has to agree to it.
fn limit(feature_type: FeatureType, end: f64) -> String {
    if feature_type == FeatureType::Timestamp
        && let Some(at) = DateTime::<Utc>::from_timestamp(end as i64, 0)
    {
        return wording::date_time(at);
    }
    let magnitude = end.abs();
    let digits = if magnitude != 0.0 && !(1e-6..1e15).contains(&magnitude) {
        format!("{magnitude:e}")
    } else {
        format!("{magnitude}")
    };
    if end < 0.0 {
        format!("−{digits}")
    } else {
        digits
    }
}

fn named<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let more = names.len().saturating_sub(NAMED);
    let shown: Vec<&str> = names
        .take(NAMED)
        .map(|name| if name.is_empty() { "“”" } else { name })
        .collect();
    match more {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

fn card(proposal: &Proposal, model_href: &str) -> ProposalCard {
    let changed: Vec<FeatureOverride> = proposal
        .changes
        .iter()
        .filter_map(|change| change.to.as_ref().map(FeatureOverride::exactly))
        .collect();
    ProposalCard {
        action: format!("{model_href}/schema/proposals/{}", proposal.proposal_id),
        title: proposal.source.clone(),
        origin: origin(proposal.origin),
        proposed: format!(
            "{} by {}, against {}",
            wording::date_time(proposal.proposed_at),
            proposal.proposed_by,
            match proposal.base_version {
                0 => "no schema".to_owned(),
                version => format!("version {version}"),
            }
        ),
        reasons: proposal.reason.lines().map(str::to_owned).collect(),
        parts: proposal.changes.iter().flat_map(part_lines).collect(),
        notes: proposal.notes.clone(),
        yaml: definitions::schema_yaml(&changed),
        accepted: (proposal.state == ProposalState::Accepting).then(|| accepted(proposal)),
    }
}

fn accepted(proposal: &Proposal) -> String {
    format!(
        "Accepted {} by {}: {}",
        wording::date_time(proposal.decided_at.unwrap_or(proposal.proposed_at)),
        proposal.decided_by.as_deref().unwrap_or_default(),
        proposal.decision_reason.as_deref().unwrap_or_default()
    )
}

fn origin(origin: Origin) -> Badge {
    let word = match origin {
        Origin::File => "From a file",
        Origin::Baseline => "From a baseline",
        Origin::Import => "Imported",
        Origin::Api => "By hand",
        Origin::Observed => "Observed",
    };
    Badge::new(word, Tone::Info)
}

fn part_lines(change: &FeatureChange) -> Vec<PartLine> {
    let line = |part: Part, from: String, to: String| PartLine {
        feature: change.feature.clone(),
        what: what(part),
        from,
        to,
        effect: change
            .effects
            .iter()
            .find(|effect| effect.part == part)
            .map(effect)
            .unwrap_or_default(),
    };
    let whole = |expected: &Option<FeatureExpectation>| match expected {
        Some(expected) => summary(expected),
        None => "not expected".to_owned(),
    };
    let (Some(from), Some(to)) = (&change.from, &change.to) else {
        return vec![line(Part::Feature, whole(&change.from), whole(&change.to))];
    };
    let parts = change.parts();
    let retyped = parts.contains(&Part::Type);
    parts
        .into_iter()
        // Range and categories follow the type, and are told with it.
        .filter(|part| !retyped || !matches!(part, Part::Range | Part::Categories))
        .map(|part| {
            let (from, to) = sides(part, from, to);
            line(part, from, to)
        })
        .collect()
}

fn what(part: Part) -> &'static str {
    match part {
        Part::Feature => "the feature itself",
        Part::Type => "type",
        Part::Required => "required",
        Part::Range => "range",
        Part::Categories => "categories",
        Part::MaxNullShare => "nulls",
        Part::MaxDuplicateShare => "repeated values",
        Part::Distinct => "different values",
        Part::MaxOutsideShare => "values outside",
        Part::Environments => "where it is required",
    }
}

fn sides(part: Part, from: &FeatureExpectation, to: &FeatureExpectation) -> (String, String) {
    let any = |text: String| {
        if text.is_empty() {
            "any".to_owned()
        } else {
            text
        }
    };
    let of = |expected: &FeatureExpectation| match part {
        Part::Feature | Part::Type => summary(expected),
        Part::Required | Part::Environments => required(expected),
        Part::Range => any(range(expected)),
        Part::Categories => match &expected.categories {
            Some(known) => named(known.iter().map(String::as_str)),
            None => "any".to_owned(),
        },
        Part::MaxNullShare => format!("up to {}", wording::percent(expected.max_null_share)),
        Part::MaxDuplicateShare => any(repeats(expected)),
        Part::Distinct => any(distinct(expected)),
        Part::MaxOutsideShare => outside(expected),
    };
    match (part, &from.categories, &to.categories) {
        (Part::Categories, Some(before), Some(after)) => (of(from), moved(before, after)),
        _ => (of(from), of(to)),
    }
}

/// What is added to a list and what is taken from it.
fn moved(before: &[String], after: &[String]) -> String {
    let set = |list: &[String]| -> BTreeSet<String> { list.iter().cloned().collect() };
    let (before, after) = (set(before), set(after));
    let told = |word: &str, names: Vec<&str>| {
        (!names.is_empty()).then(|| format!("{word} {}", named(names.into_iter())))
    };
    let added = after.difference(&before).map(String::as_str).collect();
    let taken = before.difference(&after).map(String::as_str).collect();
    let parts = [told("also", added), told("without", taken)];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    parts.join("; ")
}

/// An expectation in one line.
fn summary(expected: &FeatureExpectation) -> String {
    let mut parts = vec![expected.feature_type.as_str().to_owned()];
    parts.extend(Some(range(expected)).filter(|range| !range.is_empty()));
    if let Some(known) = &expected.categories {
        parts.push(named(known.iter().map(String::as_str)));
    }
    if expected.required {
        parts.push("required".to_owned());
    }
    parts.join(", ")
}

fn effect(effect: &Effect) -> String {
    let rows = |rows: u64| wording::count(i64::try_from(rows).unwrap_or(i64::MAX));
    let then = match effect.flagged_then {
        Some(then) => format!("{} then", rows(then)),
        None => "then not known".to_owned(),
    };
    let (now, all) = (rows(effect.flagged_now), rows(effect.rows));
    format!("{now} of {all} now, {then}")
}

/// Who decided, and who had proposed it, if that was somebody else.
fn hands(decided_by: &str, proposal: Option<&Proposal>) -> String {
    match proposal.map(|proposal| &proposal.proposed_by) {
        Some(proposed_by) if proposed_by != decided_by => {
            format!("{decided_by}, proposed by {proposed_by}")
        }
        _ => decided_by.to_owned(),
    }
}

/// Versions and what was not accepted, newest first.
fn history(versions: &[SchemaVersion], decided: &[Proposal]) -> Vec<HistoryLine> {
    let of_version = |version: &SchemaVersion| {
        let proposal = decided
            .iter()
            .find(|p| Some(p.proposal_id) == version.proposal_id);
        let by = hands(&version.created_by, proposal);
        let line = HistoryLine {
            at: wording::date_time(version.created_at),
            state: Badge::new(format!("Version {}", version.version), Tone::Good),
            source: proposal.map_or_else(|| version.source.clone(), |p| p.source.clone()),
            by,
            reason: proposal
                .and_then(|p| p.decision_reason.clone())
                .filter(|reason| *reason != version.source)
                .unwrap_or_default(),
            parts: proposal
                .map(|p| p.changes.iter().flat_map(part_lines).collect())
                .unwrap_or_default(),
        };
        (version.created_at, line)
    };
    let of_proposal = |proposal: &Proposal| {
        let at = proposal.decided_at.unwrap_or(proposal.proposed_at);
        let line = HistoryLine {
            at: wording::date_time(at),
            state: Badge::state(proposal.state.as_str()),
            source: proposal.source.clone(),
            by: hands(
                proposal.decided_by.as_deref().unwrap_or_default(),
                Some(proposal),
            ),
            reason: proposal.decision_reason.clone().unwrap_or_default(),
            parts: proposal.changes.iter().flat_map(part_lines).collect(),
        };
        (at, line)
    };
    let mut lines: Vec<(DateTime<Utc>, HistoryLine)> = versions.iter().map(of_version).collect();
    let others = decided
        .iter()
        .filter(|p| p.state != ProposalState::Accepted);
    lines.extend(others.map(of_proposal));
    lines.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    lines.into_iter().map(|(_, line)| line).collect()
}

#[cfg(test)]
mod tests;
