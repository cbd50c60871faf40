//! Schemas change by proposals: made by people, by files, by baselines, by imports and by the service itself, read by
//! somebody, then accepted or declined. What is accepted becomes a version of the schema, which is in force once the
//! stored rows have been counted by it. What a file declares or a baseline says is proposed and accepted in one step:
//! whoever applied it has decided already; it leaves the same history.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::error::FieldProblem;
use super::profiling::{PREDICTION, Yardstick};
use super::{Bounds, Error, Services, reason, recount, registry};
use crate::domain::ids::{ProjectId, ProposalId, VersionId};
use crate::domain::names;
use crate::domain::proposal::{self, FeatureChange, Origin, ProposalState};
use crate::domain::schema::{FeatureExpectation, FeatureOverride, Limit};
use crate::stats::profile::FeatureProfile;
use crate::storage::audit::{self, AuditEvent};
use crate::storage::baselines::{self, Schema, SchemaChange};
use crate::storage::models::{self, Model};
use crate::storage::profiles;
use crate::storage::proposals::{self, Ending, Proposal};

/// How far back the effect of a change is told, and the service looks for changes to propose.
pub const LOOKED_BACK: TimeDelta = TimeDelta::days(7);
/// How many proposals and versions a list has at the most.
pub const LISTED: i64 = 100;

/// How many proposals of a model may wait for a decision.
const MOST_OPEN: usize = 50;
const MOST_FEATURES: usize = 2_000;
const MOST_CATEGORIES: usize = 10_000;
const MOST_NOTES: usize = 1_000;
const LONGEST_NAME: usize = 256;

/// What somebody wants a schema to be.
#[derive(Debug, Clone)]
pub struct Wish {
    pub origin: Origin,
    /// Where it comes from, in words.
    pub source: String,
    pub reason: String,
    /// What is said of features; where it is silent, what is in force stays.
    pub features: Vec<FeatureOverride>,
    /// Features that are no longer to be expected.
    pub removed: Vec<String>,
    /// Whether features that are not among `features` are no longer to be expected.
    pub replace: bool,
    /// What an import did not carry over.
    pub notes: Vec<String>,
}

/// Proposes a change of a model's schema. `None` when nothing would change; where the same is proposed already and
/// open, that proposal, so that a pipeline can import again and again.
///
/// # Errors
/// Not found for an unknown model; invalid, with every field, for what cannot be expected of a feature; conflict
/// when too many proposals wait already.
pub async fn propose(
    services: &Services,
    project_id: ProjectId,
    model: &str,
    wish: Wish,
    actor: &str,
) -> Result<Option<Proposal>, Error> {
    let now = services.clock.now();
    check(&wish)?;
    let mut tx = services.pool.begin().await?;
    let model = registry::model(&mut tx, project_id, model).await?;
    models::lock(&mut tx, model.model_id).await?;
    let present = baselines::schema(&mut tx, model.model_id).await?;
    let in_force = present.as_ref().map_or(&[][..], |s| &s.features);
    let wanted = wanted(in_force, &wish)?;
    let changes = proposal::difference(in_force, &wanted);
    if changes.is_empty() {
        return Ok(None);
    }
    let earlier = proposals::of_model(&mut tx, model.model_id, LISTED).await?;
    let mut open: Vec<Proposal> = earlier
        .into_iter()
        .filter(|p| p.state == ProposalState::Proposed)
        .collect();
    if let Some(same) = open.iter().position(|p| is_same(&p.changes, &changes)) {
        return Ok(Some(open.swap_remove(same)));
    }
    if open.len() >= MOST_OPEN {
        return Err(Error::Conflict(format!(
            "{MOST_OPEN} proposals wait for a decision on the schema of model {:?} already; decide on some first",
            model.name
        )));
    }
    let new = New {
        origin: wish.origin,
        source: wish.source,
        reason: wish.reason,
        notes: wish.notes,
        changes,
    };
    let proposal = add(&mut tx, &model, present.as_ref(), new, actor, now).await?;
    tx.commit().await?;
    Ok(Some(proposal))
}

/// Whether changes ask for the same, whatever they would have meant when they were proposed.
fn is_same(a: &[FeatureChange], b: &[FeatureChange]) -> bool {
    let asked = |change: &FeatureChange| (change.from.clone(), change.to.clone());
    a.iter().map(asked).eq(b.iter().map(asked))
}

/// The schema once a wish is granted.
fn wanted(in_force: &[FeatureExpectation], wish: &Wish) -> Result<Vec<FeatureExpectation>, Error> {
    let mut present: BTreeMap<&str, &FeatureExpectation> =
        in_force.iter().map(|f| (f.feature.as_str(), f)).collect();
    let mut problems = Vec::new();
    let mut wanted: BTreeMap<String, FeatureExpectation> = BTreeMap::new();
    for (position, said) in wish.features.iter().enumerate() {
        let known = present.remove(said.feature.as_str()).cloned();
        match said.apply(known) {
            Some(expected) => match fault_of(&expected) {
                None => {
                    wanted.insert(said.feature.clone(), expected);
                }
                Some(cause) => {
                    problems.push(FieldProblem::new(format!("features[{position}]"), cause));
                }
            },
            None => problems.push(FieldProblem::new(
                format!("features[{position}].type"),
                format!(
                    "{:?} is not in the schema yet, so it needs a type",
                    said.feature
                ),
            )),
        }
    }
    for (position, name) in wish.removed.iter().enumerate() {
        if present.remove(name.as_str()).is_none() {
            problems.push(FieldProblem::new(
                format!("removed[{position}]"),
                format!("{name:?} is not in the schema, or is among the features as well"),
            ));
        }
    }
    if !problems.is_empty() {
        return Err(Error::invalid_fields(problems));
    }
    if !wish.replace {
        wanted.extend(
            present
                .into_values()
                .map(|f| (f.feature.clone(), f.clone())),
        );
    }
    Ok(wanted.into_values().collect())
}

fn fault_of(expected: &FeatureExpectation) -> Option<String> {
    match (expected.minimum, expected.maximum) {
        (Some(minimum), Some(maximum)) if minimum > maximum => Some(format!(
            "no value lies in this range: the minimum {minimum} is above the maximum {maximum}"
        )),
        _ => None,
    }
}

/// What can be said to be wrong without the model.
fn check(wish: &Wish) -> Result<(), Error> {
    let mut problems = Vec::new();
    let mut note = |field: String, cause: &str| problems.push(FieldProblem::new(field, cause));
    reason::checked(&wish.reason)?;
    if wish.source.len() > reason::LONGEST || wish.source.contains('\0') {
        note("source".to_owned(), "must be at most 2,000 bytes of text");
    }
    if wish.notes.len() > MOST_NOTES
        || wish
            .notes
            .iter()
            .any(|n| n.len() > reason::LONGEST || n.contains('\0'))
    {
        note(
            "notes".to_owned(),
            "must be at most 1,000 texts of at most 2,000 bytes",
        );
    }
    if wish.features.len() > MOST_FEATURES {
        note("features".to_owned(), "must be at most 2,000");
    }
    let mut seen = std::collections::BTreeSet::new();
    for (position, said) in wish.features.iter().enumerate() {
        let field = |name: &str| format!("features[{position}]{name}");
        let name = &said.feature;
        let deceives =
            |c: char| c.is_control() || names::turns_direction(c) || names::is_invisible(c);
        if name.is_empty() || name.len() > LONGEST_NAME || name.contains(deceives) {
            note(
                field(".feature"),
                "must be 1 to 256 bytes without invisible characters",
            );
        } else if names::canonical(name) != *name {
            note(field(".feature"), "must be in Unicode's normal form NFC");
        } else if !seen.insert(name.as_str()) {
            note(field(".feature"), "occurs twice");
        }
        let finite = |limit: &Limit<f64>| !matches!(limit, Limit::Given(n) if !n.is_finite());
        if !finite(&said.minimum) || !finite(&said.maximum) {
            note(field(""), "a range has finite ends");
        }
        let duplicate_share = match said.max_duplicate_share {
            Limit::Given(share) => Some(share),
            Limit::Inferred | Limit::Any => None,
        };
        let shares = [
            (".max_null_share", said.max_null_share),
            (".max_duplicate_share", duplicate_share),
            (".max_outside_share", said.max_outside_share),
        ];
        for (name, share) in shares {
            if share.is_some_and(|share| !(0.0..=1.0).contains(&share)) {
                note(field(name), "must lie between 0 and 1");
            }
        }
        let (least, most) = (said.min_distinct, said.max_distinct);
        let none = least.zip(most).is_some_and(|(least, most)| least > most);
        if none || [least, most].into_iter().flatten().any(i64::is_negative) {
            note(
                field(""),
                "`min_distinct` and `max_distinct` are numbers in order",
            );
        }
        if let Limit::Given(categories) = &said.categories
            && (categories.len() > MOST_CATEGORIES
                || categories
                    .iter()
                    .any(|c| c.len() > reason::LONGEST || c.contains('\0')))
        {
            note(
                field(".categories"),
                "must be at most 10,000 texts of at most 2,000 bytes, without NUL",
            );
        }
        if let Some(kind) = said.feature_type {
            let range = [&said.minimum, &said.maximum];
            if !kind.is_numeric() && range.iter().any(|l| matches!(l, Limit::Given(_))) {
                note(
                    field(""),
                    "only numbers, timestamps and vectors have a range",
                );
            }
            if !kind.has_categories() && matches!(said.categories, Limit::Given(_)) {
                note(
                    field(".categories"),
                    "only categories and booleans have a list",
                );
            }
        }
    }
    if problems.is_empty() {
        return Ok(());
    }
    Err(Error::invalid_fields(problems))
}

/// A proposal to be added.
#[derive(Debug)]
pub(super) struct New {
    pub origin: Origin,
    pub source: String,
    pub reason: String,
    pub notes: Vec<String>,
    pub changes: Vec<FeatureChange>,
}

/// Adds a proposal; the caller holds the model's lock.
pub(super) async fn add(
    conn: &mut PgConnection,
    model: &Model,
    present: Option<&Schema>,
    new: New,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<Proposal, Error> {
    let mut changes = new.changes;
    tell_effects(conn, model, &mut changes, now).await?;
    let proposal = Proposal {
        proposal_id: ProposalId::new(now),
        model_id: model.model_id,
        origin: new.origin,
        source: new.source,
        reason: new.reason.trim().to_owned(),
        base_version: present.map_or(0, |schema| schema.version),
        changes: Json(changes),
        notes: new.notes,
        state: ProposalState::Proposed,
        proposed_at: now,
        proposed_by: actor.to_owned(),
        decided_at: None,
        decided_by: None,
        decision_reason: None,
        accepted_version: None,
    };
    proposals::insert(conn, model.project_id, &proposal).await?;
    record(conn, model, "schema.propose", &proposal, actor, now).await?;
    Ok(proposal)
}

async fn record(
    conn: &mut PgConnection,
    model: &Model,
    action: &str,
    proposal: &Proposal,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let event = AuditEvent {
        project_id: Some(model.project_id),
        at: now,
        actor,
        action,
        object_kind: "model",
        object_id: &model.name,
        detail: serde_json::json!({
            "proposal_id": proposal.proposal_id,
            "source": proposal.source,
            "features": proposal.changes.iter().map(|c| c.feature.as_str()).take(100).collect::<Vec<_>>(),
        }),
    };
    Ok(audit::record(conn, &event).await?)
}

/// Counts what the changes would have meant for the champion's rows of the last days.
async fn tell_effects(
    conn: &mut PgConnection,
    model: &Model,
    changes: &mut [FeatureChange],
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let Some(champion) = registry::champion(conn, model).await? else {
        return Ok(());
    };
    let features: Vec<String> = changes.iter().map(|c| c.feature.clone()).collect();
    let seen = seen_lately(conn, model, champion.version_id, &features, now).await?;
    for change in changes {
        if let Some(profile) = seen.profiles.get(&change.feature) {
            change.effects = change.effects(profile, seen.rows);
        }
    }
    Ok(())
}

/// What the last days brought of some features, all segments together.
pub(super) struct SeenLately {
    pub rows: u64,
    pub profiles: BTreeMap<String, FeatureProfile>,
}

/// Sums the profiles of some features over the windows of the last days.
pub(super) async fn seen_lately(
    conn: &mut PgConnection,
    model: &Model,
    version_id: VersionId,
    features: &[String],
    now: DateTime<Utc>,
) -> Result<SeenLately, Error> {
    let grid_id = Yardstick::load(conn, model.model_id).await?.grid_id;
    let mut wanted = features.to_vec();
    wanted.push(PREDICTION.to_owned());
    let days = (now - LOOKED_BACK, now);
    let mut seen = SeenLately {
        rows: 0,
        profiles: BTreeMap::new(),
    };
    for (feature, stored) in profiles::overall(conn, version_id, days, grid_id, &wanted).await? {
        // A damaged profile is counted again when its window is measured; here it is only left out.
        let Ok(profile) = FeatureProfile::decode(&stored) else {
            continue;
        };
        let profile = profile.without_quantiles();
        if feature == PREDICTION {
            seen.rows += profile.counts().rows;
        } else if let Some(sum) = seen.profiles.get_mut(&feature) {
            if let Err(error) = sum.merge(&profile) {
                tracing::warn!(feature, %error, "profiles of a feature do not fit together");
            }
        } else {
            seen.profiles.insert(feature, profile);
        }
    }
    Ok(seen)
}

/// Somebody's decision on a proposal.
#[derive(Debug, Clone, Copy)]
pub struct Verdict<'a> {
    pub proposal_id: ProposalId,
    pub accept: bool,
    pub reason: &'a str,
    pub actor: &'a str,
}

/// Accepts or declines a proposal. What is accepted comes into force once the stored rows have been counted by it
/// ([`activate`]), which takes longer than anybody should wait for an answer. Returns where the proposal stands.
///
/// # Errors
/// Not found; invalid without a reason; conflict when it is not open any more, or does not fit what is in force.
pub async fn decide(
    services: &Services,
    project_id: ProjectId,
    verdict: Verdict<'_>,
) -> Result<ProposalState, Error> {
    let now = services.clock.now();
    let reason = reason::checked(verdict.reason)?;
    let mut tx = services.pool.begin().await?;
    let (model, proposal) = locked(&mut tx, project_id, verdict.proposal_id).await?;
    if proposal.state != ProposalState::Proposed {
        return Err(Error::Conflict(format!(
            "the proposal is {} already; reload the page to see how",
            proposal.state.as_str()
        )));
    }
    if verdict.accept {
        made_of(&mut tx, &proposal).await?;
    }
    let (state, action) = if verdict.accept {
        (ProposalState::Accepting, "schema.accept")
    } else {
        (ProposalState::Declined, "schema.decline")
    };
    let ending = Ending {
        state,
        by: verdict.actor,
        reason,
        at: now,
        version: None,
    };
    proposals::end(&mut tx, proposal.proposal_id, ending).await?;
    record(&mut tx, &model, action, &proposal, verdict.actor, now).await?;
    tx.commit().await?;
    services.nudges.evaluate.notify_waiters();
    Ok(state)
}

/// A proposal and its model, which is locked: nobody else can decide meanwhile.
async fn locked(
    conn: &mut PgConnection,
    project_id: ProjectId,
    proposal_id: ProposalId,
) -> Result<(Model, Proposal), Error> {
    let not_found = || Error::not_found(format!("schema proposal {proposal_id}"));
    let found = proposals::get(conn, project_id, proposal_id).await?;
    let model_id = found.ok_or_else(not_found)?.model_id;
    let model = registry::lock_model(conn, model_id).await?;
    let found = proposals::get(conn, project_id, proposal_id).await?;
    Ok((model, found.ok_or_else(not_found)?))
}

/// What a proposal makes of the schema that is in force.
async fn made_of(
    conn: &mut PgConnection,
    proposal: &Proposal,
) -> Result<Vec<FeatureExpectation>, Error> {
    let present = baselines::schema(conn, proposal.model_id).await?;
    let in_force = present.as_ref().map_or(&[][..], |s| &s.features);
    proposal::changed(in_force, &proposal.changes)
        .map_err(|outdated| Error::Conflict(format!("{outdated}; propose it again")))
}

/// Puts what was accepted into force: each proposal in one transaction with the count of the stored rows by it, so that
/// a process that dies on the way leaves the schema before it and the proposal to be taken up again. Ends the open
/// proposals that lose their ground. Returns whether there was anything to do.
///
/// # Errors
/// When the database fails or a stored value cannot be counted.
pub async fn activate(services: &Services, now: DateTime<Utc>) -> Result<bool, Error> {
    let mut conn = services.pool.acquire().await?;
    let accepted = proposals::accepting(&mut conn).await?;
    drop(conn);
    for (project_id, proposal_id) in &accepted {
        let mut tx = services.pool.begin().await?;
        let (model, proposal) = locked(&mut tx, *project_id, *proposal_id).await?;
        // Another process may have done it meanwhile.
        if proposal.state == ProposalState::Accepting {
            come_into_force(&mut tx, &model, &proposal, services.bounds, now).await?;
        }
        tx.commit().await?;
    }
    if !accepted.is_empty() {
        services.nudges.evaluate.notify_waiters();
    }
    Ok(!accepted.is_empty())
}

async fn come_into_force(
    conn: &mut PgConnection,
    model: &Model,
    proposal: &Proposal,
    bounds: Bounds,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let features = match made_of(conn, proposal).await {
        Ok(features) => features,
        Err(Error::Conflict(cause)) => return supersede(conn, model, proposal, &cause, now).await,
        Err(error) => return Err(error),
    };
    let by = proposal.decided_by.as_deref().unwrap_or_default();
    let reason = proposal.decision_reason.as_deref().unwrap_or_default();
    let source = format!("{}: {reason}", proposal.source);
    let version = put_into_force(conn, model, &features, &source, by, now).await?;
    let ending = Ending {
        state: ProposalState::Accepted,
        by,
        reason,
        at: proposal.decided_at.unwrap_or(now),
        version: Some(version),
    };
    proposals::end(conn, proposal.proposal_id, ending).await?;
    end_outdated(conn, model, now).await?;
    recount::count_again(conn, model, bounds, now).await
}

async fn put_into_force(
    conn: &mut PgConnection,
    model: &Model,
    features: &[FeatureExpectation],
    source: &str,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<i32, Error> {
    let change = SchemaChange {
        source,
        by: actor,
        at: now,
    };
    let (project_id, model_id) = (model.project_id, model.model_id);
    let version = baselines::add_schema(conn, project_id, model_id, features, change).await?;
    Ok(version)
}

/// Ends the open proposals whose features are no longer what the proposals were made against, or are as they ask
/// already.
async fn end_outdated(
    conn: &mut PgConnection,
    model: &Model,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let present = baselines::schema(conn, model.model_id).await?;
    let Some(present) = present else {
        return Ok(());
    };
    let open = proposals::of_model(conn, model.model_id, LISTED).await?;
    for proposal in open
        .into_iter()
        .filter(|p| p.state == ProposalState::Proposed)
    {
        let reason = match proposal::changed(&present.features, &proposal.changes) {
            Err(outdated) => outdated.to_string(),
            Ok(wanted) if wanted == present.features => "it is in force already".to_owned(),
            Ok(_) => continue,
        };
        let reason = format!("schema version {}: {reason}", present.version);
        supersede(conn, model, &proposal, &reason, now).await?;
    }
    Ok(())
}

/// Ends an open proposal because it has lost its ground.
pub(super) async fn supersede(
    conn: &mut PgConnection,
    model: &Model,
    proposal: &Proposal,
    reason: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let ending = Ending {
        state: ProposalState::Superseded,
        by: "bellwether",
        reason,
        at: now,
        version: None,
    };
    if proposals::end(conn, proposal.proposal_id, ending).await? {
        record(conn, model, "schema.supersede", proposal, "bellwether", now).await?;
    }
    Ok(())
}

/// Proposes and accepts in one step what a file declares or a baseline says; returns whether anything changed. The
/// caller counts again.
pub(super) async fn adopt(
    conn: &mut PgConnection,
    model: &Model,
    expected: &[FeatureExpectation],
    (origin, source): (Origin, &str),
    actor: &str,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    models::lock(conn, model.model_id).await?;
    let present = baselines::schema(conn, model.model_id).await?;
    if present
        .as_ref()
        .is_some_and(|schema| schema.features == expected)
    {
        return Ok(false);
    }
    let in_force = present.as_ref().map_or(&[][..], |s| &s.features);
    let new = New {
        origin,
        source: source.to_owned(),
        reason: source.to_owned(),
        notes: Vec::new(),
        changes: proposal::difference(in_force, expected),
    };
    let proposal = add(conn, model, present.as_ref(), new, actor, now).await?;
    let version = put_into_force(conn, model, expected, source, actor, now).await?;
    let ending = Ending {
        state: ProposalState::Accepted,
        by: actor,
        reason: source,
        at: now,
        version: Some(version),
    };
    proposals::end(conn, proposal.proposal_id, ending).await?;
    record(conn, model, "schema.change", &proposal, actor, now).await?;
    end_outdated(conn, model, now).await?;
    Ok(true)
}
