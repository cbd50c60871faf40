//! Stepping rules: what the measurements say becomes alerts, their history and messages, in one transaction.
//!
//! What should happen is decided by `domain::alert::step` alone. This module reads what the windows say,
//! stores the result, and writes down everything that follows from it.

pub(in crate::services) mod late;
mod limits;

use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::explain::{self, Explanation, Scene};
use super::registry::{self, PRODUCTION};
use super::{Error, Services, configuration, delivery, runbooks};
use crate::domain::alert::{Change, Observation, Patience, RuleState, Transition, Verdict, step};
use crate::domain::ids::{AlertId, VersionId};
use crate::domain::measurement::{Measure, Status};
use crate::domain::message::NotifyReason;
use crate::domain::model::Role;
use crate::domain::rule::{Condition, MeasuredCondition, Rule, Threshold};
use crate::domain::window::Window;
use crate::storage::alerts::{self, Alert, AlertEvent};
use crate::storage::measurements::{self, Selection, StoredMeasurement};
use crate::storage::models::{self, Model};
use crate::storage::{labelled, predictions};

/// How many windows more than a rule asks for are read, so that windows which say too little can be passed over.
const SPARE_WINDOWS: usize = 3;
/// How many stored values a rule reads at a time, whose windows it judges before it reads older ones.
const VALUES: i64 = 50_000;

/// Steps every rule of every model, and what is watched of the projects themselves. Returns whether anything changed.
///
/// # Errors
/// When the database fails.
pub async fn activate(services: &Services, now: DateTime<Utc>) -> Result<bool, Error> {
    let mut conn = services.pool.acquire().await?;
    let all = models::list(&mut conn, None).await?;
    drop(conn);
    let mut changed = limits::activate(services, now).await?;
    for model in &all {
        let mut conn = services.pool.acquire().await?;
        let rules = configuration::rules(&mut conn, model).await?;
        if rules.is_empty() {
            continue;
        }
        let monitors = configuration::monitors(&mut conn, model).await?;
        let learnt = labelled::lags(&mut conn, model.model_id).await?;
        drop(conn);
        for rule in &rules {
            let monitor = monitors.iter().find(|monitor| rule.reads(&monitor.name));
            let awaiting = monitor.map_or(0, |m| m.windows_awaited(&learnt));
            changed |= step_rule(services, model, rule, awaiting, now).await?;
        }
    }
    Ok(changed)
}

/// What the windows say, and the values behind the newest verdict.
struct Reading {
    observations: Vec<Observation>,
    evidence: Vec<serde_json::Value>,
    version_id: Option<VersionId>,
    patience: Patience,
    /// The newest window that says something, where the condition is about windows.
    newest: Option<Window>,
}

/// Steps a rule whose monitor may have so many windows that are still `awaiting` predictions or labels.
async fn step_rule(
    services: &Services,
    model: &Model,
    rule: &Rule,
    awaiting: usize,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let mut tx = services.pool.begin().await?;
    // First, so that what is read is no older than what the state was stepped by.
    let present = alerts::state(&mut tx, model.model_id, &rule.name).await?;
    let Some(reading) = read(&mut tx, model, rule, awaiting, now).await? else {
        return Ok(false);
    };
    let (state, alert_id, version) = present.map_or((RuleState::Inactive, None, 0), |p| {
        (p.state, p.alert_id, p.version)
    });
    let transition = step(state, &reading.observations, reading.patience, now);
    if transition.state == state && transition.change == Change::None {
        return Ok(false);
    }
    crate::faults::crash_point("alert.decided");
    let open = follow(
        services, &mut tx, model, rule, &reading, transition, alert_id, now,
    )
    .await?;
    let place = (model.project_id, model.model_id, rule.name.as_str());
    if !alerts::put_state(&mut tx, place, &transition.state, open, version, now).await? {
        // Another replica stepped the rule first; what it wrote is read at the next activation.
        return Ok(false);
    }
    crate::faults::crash_point("alert.before_commit");
    tx.commit().await?;
    crate::faults::crash_point("alert.after_commit");
    if matches!(
        transition.change,
        Change::Opened { .. } | Change::Resolved { .. }
    ) {
        services.nudges.deliver.notify_one();
        services.nudges.respond.notify_one();
    }
    Ok(true)
}

#[expect(
    clippy::too_many_arguments,
    reason = "one place where everything that follows from a step is written"
)]
async fn follow(
    services: &Services,
    conn: &mut PgConnection,
    model: &Model,
    rule: &Rule,
    reading: &Reading,
    transition: Transition,
    alert_id: Option<AlertId>,
    now: DateTime<Utc>,
) -> Result<Option<AlertId>, Error> {
    match (transition.change, alert_id) {
        (Change::Opened { value, threshold }, _) => open(
            services,
            conn,
            model,
            rule,
            reading,
            transition.state,
            (value, threshold),
            now,
        )
        .await
        .map(Some),
        (Change::Seen { value, threshold }, Some(alert_id)) => {
            alerts::mark_seen(
                conn,
                alert_id,
                value,
                &serde_json::json!(reading.evidence),
                now,
            )
            .await?;
            let condition = condition_text(model, rule, value, threshold);
            note(conn, alert_id, "seen", &condition, now).await?;
            let text = format!("confirmed: {condition}");
            tell_of_what_goes_on(services, conn, model, rule, reading, alert_id, &text, now)
                .await?;
            Ok(Some(alert_id))
        }
        (Change::Resolved { value, threshold }, Some(alert_id)) => {
            alerts::mark_resolved(conn, alert_id, now).await?;
            let condition = condition_text(model, rule, value, threshold);
            note(conn, alert_id, "resolved", &condition, now).await?;
            let text = format!("resolved: {condition}");
            let alert = alerts::find(conn, model.project_id, alert_id).await?;
            // Who was not told that it opened need not be told that it is over.
            if let Some(alert) = alert.filter(|alert| !alert.late) {
                delivery::announce(
                    services,
                    conn,
                    model.into(),
                    &rule.receivers,
                    &alert,
                    NotifyReason::AlertResolved,
                    &text,
                    now,
                )
                .await?;
            }
            Ok(None)
        }
        _ => Ok(alert_id),
    }
}

#[expect(clippy::too_many_arguments, reason = "as above")]
async fn open(
    services: &Services,
    conn: &mut PgConnection,
    model: &Model,
    rule: &Rule,
    reading: &Reading,
    state: RuleState,
    (value, threshold): (f64, f64),
    now: DateTime<Utc>,
) -> Result<AlertId, Error> {
    let since = match state {
        RuleState::Firing { since, .. } => since,
        RuleState::Inactive | RuleState::Pending { .. } => now,
    };
    let runbook = match &rule.runbook {
        Some(name) => configuration::runbook(conn, model.project_id, name).await?,
        None => None,
    };
    let causes = match reading.version_id {
        Some(version_id) => {
            let scene = Scene {
                model,
                version_id,
                measure: measure_of(rule),
                since,
                now,
            };
            explain::causes(conn, scene).await?
        }
        None => Vec::new(),
    };
    let explanation = Explanation {
        causes,
        next_step: runbook
            .as_ref()
            .map_or_else(String::new, |r| r.first_step.clone()),
    };
    let found = told_finding(rule, &reading.evidence);
    let condition = found.unwrap_or_else(|| condition_text(model, rule, value, threshold));
    let alert = Alert {
        alert_id: AlertId::new(now),
        project_id: model.project_id,
        model_id: Some(model.model_id),
        version_id: reading.version_id,
        rule: rule.name.clone(),
        severity: rule.severity,
        summary: rule.title.clone(),
        condition: condition.clone(),
        since,
        fired_at: now,
        last_seen_at: now,
        resolved_at: None,
        value: Some(value),
        threshold: Some(threshold),
        evidence: serde_json::json!(reading.evidence),
        explanation: serde_json::to_value(&explanation).map_err(Error::internal)?,
        runbook: rule.runbook.clone(),
        late: late::is_late(services, conn, model, rule, reading, now).await?,
    };
    alerts::insert(conn, &alert).await?;
    crate::faults::crash_point("alert.inserted");
    note(conn, alert.alert_id, "opened", &condition, now).await?;
    if alert.late {
        let text = "the data came late: the newest window that says so ended too long ago to tell anybody, or to \
                    start a runbook";
        note(conn, alert.alert_id, "late", text, now).await?;
    } else {
        tell(services, conn, model, rule, &alert, &condition, now).await?;
    }
    Ok(alert.alert_id)
}

/// Tells the receivers that an alert has opened, and starts its runbook.
async fn tell(
    services: &Services,
    conn: &mut PgConnection,
    model: &Model,
    rule: &Rule,
    alert: &Alert,
    what: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    delivery::announce(
        services,
        conn,
        model.into(),
        &rule.receivers,
        alert,
        NotifyReason::AlertOpened,
        what,
        now,
    )
    .await?;
    if let Some(name) = &rule.runbook
        && let Some(runbook) = configuration::runbook(conn, model.project_id, name).await?
    {
        runbooks::start_for_alert(services, conn, model, alert, runbook, now).await?;
    }
    Ok(())
}

/// An alert that opened late and is confirmed by a window of the present is news after all.
#[expect(clippy::too_many_arguments, reason = "as above")]
async fn tell_of_what_goes_on(
    services: &Services,
    conn: &mut PgConnection,
    model: &Model,
    rule: &Rule,
    reading: &Reading,
    alert_id: AlertId,
    what: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let alert = alerts::find(conn, model.project_id, alert_id).await?;
    let Some(mut alert) = alert.filter(|alert| alert.late) else {
        return Ok(());
    };
    if late::is_late(services, conn, model, rule, reading, now).await? {
        return Ok(());
    }
    alert.late = false;
    alerts::mark_told(conn, alert_id).await?;
    tell(services, conn, model, rule, &alert, what, now).await
}

async fn note(
    conn: &mut PgConnection,
    alert_id: AlertId,
    kind: &str,
    text: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let event = AlertEvent {
        kind,
        text,
        detail: serde_json::json!({}),
        actor: "bellwether",
    };
    alerts::add_event(conn, alert_id, event, now).await?;
    Ok(())
}

/// The measure a rule is about, if it is about one.
#[must_use]
pub fn measure_of(rule: &Rule) -> Option<Measure> {
    match &rule.condition {
        Condition::Measured(condition) => condition.measures.first().copied(),
        Condition::Silence { .. } => None,
    }
}

/// The worst finding in its own words, where these say more than a number does: which name, which unit.
fn told_finding(rule: &Rule, evidence: &[serde_json::Value]) -> Option<String> {
    let worst = evidence.first()?;
    let text = |key| worst.get(key).and_then(serde_json::Value::as_str);
    let (measure, feature, detail) = (text("measure")?, text("feature")?, text("detail")?);
    let single = match &rule.condition {
        Condition::Measured(condition) => condition.at_least == 1,
        Condition::Silence { .. } => false,
    };
    let telling = measure.parse().is_ok_and(Measure::is_told_in_words);
    (single && telling).then(|| {
        let others = match evidence.len() - 1 {
            0 => String::new(),
            1 => "; and one more finding".to_owned(),
            more => format!("; and {more} more findings"),
        };
        let subject = format!("{feature} {}", measure.replace('_', " "));
        format!("{}: {detail}{others}", subject.trim_start())
    })
}

fn condition_text(model: &Model, rule: &Rule, value: f64, threshold: f64) -> String {
    match &rule.condition {
        Condition::Silence { .. } => {
            format!(
                "no prediction for {}, limit {}",
                hours(value),
                hours(threshold)
            )
        }
        Condition::Measured(condition) => {
            let windows = match condition.windows {
                1 => format!("in the last {}", condition.grain.as_str()),
                n => format!("for {n} {}s", condition.grain.as_str()),
            };
            if condition.at_least > 1 {
                return format!(
                    "{value:.0} features beyond their limit of {}, {threshold:.0} or more are too many, {windows}",
                    condition
                        .measures
                        .iter()
                        .map(|m| m.as_str())
                        .collect::<Vec<_>>()
                        .join(", ")
                );
            }
            match condition.measures.as_slice() {
                [measure] if measure.is_quality() => {
                    let unit = if model.unit.is_empty() || !measure.has_unit() {
                        String::new()
                    } else {
                        format!(" {}", model.unit)
                    };
                    format!(
                        "{} {value:.2}{unit}, limit {threshold:.2}, {windows}",
                        measure.as_str()
                    )
                }
                [measure] if measure.is_sign() => {
                    let found = if value > threshold {
                        "found"
                    } else {
                        "not found"
                    };
                    format!("{} {found} {windows}", measure.as_str())
                }
                [measure] => format!(
                    "{} {value:.3}, limit {threshold:.3}, {windows}",
                    measure.as_str()
                ),
                _ => format!(
                    "{:.1} % of rows do not fit the schema, limit {:.1} %, {windows}",
                    100.0 * value,
                    100.0 * threshold
                ),
            }
        }
    }
}

fn hours(seconds: f64) -> String {
    format!("{:.0} h", seconds / 3600.0)
}

async fn read(
    conn: &mut PgConnection,
    model: &Model,
    rule: &Rule,
    awaiting: usize,
    now: DateTime<Utc>,
) -> Result<Option<Reading>, Error> {
    let condition = match &rule.condition {
        Condition::Silence { after_seconds } => {
            return read_silence(conn, model, *after_seconds, now).await;
        }
        Condition::Measured(condition) => condition,
    };
    let Some(champion) = registry::champion(conn, model).await? else {
        return Ok(None);
    };
    let windows = recent_windows(condition, awaiting, now);
    read_measured(conn, model, champion.version_id, condition, windows)
        .await
        .map(Some)
}

/// Silence is judged by the clock: nothing has been heard for so long of the versions that answer users in production, from
/// the newest prediction on or, if that is later, since the champion is one. A model that never predicted is not silent.
#[expect(clippy::cast_precision_loss, reason = "seconds between two instants")]
async fn read_silence(
    conn: &mut PgConnection,
    model: &Model,
    after_seconds: i64,
    now: DateTime<Utc>,
) -> Result<Option<Reading>, Error> {
    let mut serving = registry::deployed(conn, model).await?;
    serving.retain(|d| d.environment == PRODUCTION && d.answers_users());
    if serving.is_empty() || !predictions::any(conn, model.model_id).await? {
        return Ok(None);
    }
    let versions: Vec<VersionId> = serving.iter().map(|d| d.version_id).collect();
    let heard = predictions::newest_heard(conn, &versions).await?;
    let champion = serving.iter().find(|d| d.role == Role::Champion);
    let Some(newest) = heard.max(champion.map(|champion| champion.started_at)) else {
        return Ok(None);
    };
    let silent = (now - newest).num_seconds().max(0);
    let (value, threshold) = (silent as f64, after_seconds as f64);
    let verdict = if silent > after_seconds {
        Verdict::Breach { value, threshold }
    } else {
        Verdict::Fine { value, threshold }
    };
    // The window of a silence begins with it; it has no end before it is broken.
    let end = if silent > after_seconds {
        newest + TimeDelta::seconds(after_seconds)
    } else {
        newest
    };
    Ok(Some(Reading {
        observations: vec![Observation {
            start: newest,
            end,
            verdict,
        }],
        evidence: vec![serde_json::json!({"last_prediction_at": heard})],
        version_id: champion.map(|champion| champion.version_id),
        patience: Patience {
            windows: 1,
            resolve_windows: 1,
        },
        newest: None,
    }))
}

/// Reads the newest windows first. Where they have more values than are read at a time, older ones are left out as soon as
/// enough say something, and none is ever read by half.
async fn read_measured(
    conn: &mut PgConnection,
    model: &Model,
    version_id: VersionId,
    condition: &MeasuredCondition,
    windows: Vec<Window>,
) -> Result<Reading, Error> {
    let measures = late::measures_read(condition);
    let mut selection = Selection {
        version_id: Some(version_id),
        monitor: Some(&condition.monitor),
        measures: Some(&measures),
        from: windows.first().map(|window| window.start),
        overall_only: !condition.segments,
        ..Selection::default()
    };
    let mut evidence = Vec::new();
    let mut newest = None;
    // The newest first, as they are read.
    let mut observations = Vec::with_capacity(windows.len());
    let mut left = windows.as_slice();
    let mut telling = 0;
    while !left.is_empty() && (selection.to.is_none() || telling < windows_needed(condition)) {
        let values =
            measurements::of_newest_windows(conn, model.model_id, selection, VALUES).await?;
        let mut by_window: HashMap<DateTime<Utc>, Vec<&StoredMeasurement>> = HashMap::new();
        for value in &values {
            by_window.entry(value.window.start).or_default().push(value);
        }
        // Values that fill a read may have older ones before them.
        let oldest = values.first().map(|value| value.window.start);
        let is_full = usize::try_from(VALUES).is_ok_and(|most| values.len() >= most);
        let reached = oldest.filter(|_| is_full);
        let (older, read) =
            left.split_at(reached.map_or(0, |at| left.partition_point(|w| w.start < at)));
        for window in read.iter().rev() {
            let of_window = by_window.remove(&window.start).unwrap_or_default();
            let (verdict, beyond) = judge(condition, &of_window);
            if !matches!(verdict, Verdict::Insufficient) {
                telling += 1;
                if newest.is_none() {
                    (newest, evidence) = (Some(*window), beyond);
                }
            }
            observations.push(Observation {
                start: window.start,
                end: window.end,
                verdict,
            });
        }
        (left, selection.to) = (older, reached);
    }
    observations.reverse();
    Ok(Reading {
        observations,
        evidence,
        version_id: Some(version_id),
        patience: Patience {
            windows: condition.windows,
            resolve_windows: condition.resolve_windows,
        },
        newest,
    })
}

/// How many windows have to say something for the rule to open or to resolve.
fn windows_needed(condition: &MeasuredCondition) -> usize {
    condition.windows.max(condition.resolve_windows)
}

/// The windows that are over and recent enough to tell of the present, oldest first: as many more than the rule asks for as
/// may be `awaiting` predictions or labels.
fn recent_windows(
    condition: &MeasuredCondition,
    awaiting: usize,
    now: DateTime<Utc>,
) -> Vec<Window> {
    let count = windows_needed(condition)
        .saturating_add(awaiting)
        .saturating_add(SPARE_WINDOWS);
    let mut window = condition.grain.window_at(now).previous();
    let mut windows = Vec::new();
    for _ in 0..count {
        windows.push(window);
        window = window.previous();
    }
    windows.reverse();
    windows
}

/// A window against a condition, with the values beyond the threshold (or the best witness that none is).
#[expect(clippy::cast_precision_loss, reason = "a handful of features")]
fn judge(
    condition: &MeasuredCondition,
    values: &[&StoredMeasurement],
) -> (Verdict, Vec<serde_json::Value>) {
    let coverage = values
        .iter()
        .find(|v| v.measure == Measure::LabelCoverage.as_str())
        .and_then(|v| v.value);
    let needs_labels = condition.measures.iter().any(|m| m.needs_labels());
    if needs_labels && coverage.is_none_or(|coverage| coverage < condition.min_coverage) {
        return (Verdict::Insufficient, Vec::new());
    }
    let telling: Vec<(&StoredMeasurement, f64, f64)> = values
        .iter()
        .filter(|v| condition.measures.iter().any(|m| m.as_str() == v.measure))
        .filter(|v| {
            // That no feature has it is true of this one as well.
            let found = |m: Measure| m.is_told_where_found();
            let of_none = v.feature.is_empty() && v.measure.parse().is_ok_and(found);
            let named = condition.feature.as_ref();
            named.is_none_or(|feature| *feature == v.feature || of_none)
        })
        .filter(|v| v.current_rows >= condition.min_rows && v.status != Status::Insufficient)
        .filter_map(|v| Some((*v, v.value?, limit(condition.threshold, v)?)))
        .collect();
    let mut beyond: Vec<&(&StoredMeasurement, f64, f64)> = telling
        .iter()
        .filter(|(v, value, limit)| is_beyond(condition.threshold, v, *value, *limit))
        .collect();
    let excess = |value: f64, limit: f64| match condition.threshold {
        Threshold::Below(_) | Threshold::BelowTimesBaseline(_) => limit - value,
        Threshold::Above(_) | Threshold::AboveTimesBaseline(_) => value - limit,
        // A change may go either way.
        Threshold::OwnStatus => value.abs() - limit,
    };
    beyond.sort_by(|a, b| excess(b.1, b.2).total_cmp(&excess(a.1, a.2)));
    let evidence = beyond
        .iter()
        .map(|(v, value, limit)| witness(v, *value, *limit))
        .collect();
    let breached = !beyond.is_empty() && beyond.len() >= condition.at_least;
    let verdict = match (breached, condition.at_least > 1) {
        _ if telling.is_empty() => Verdict::Insufficient,
        (true, true) => Verdict::Breach {
            value: beyond.len() as f64,
            threshold: condition.at_least as f64,
        },
        (false, true) => Verdict::Fine {
            value: beyond.len() as f64,
            threshold: condition.at_least as f64,
        },
        (true, false) => Verdict::Breach {
            value: beyond[0].1,
            threshold: beyond[0].2,
        },
        (false, false) => {
            let worst = telling
                .iter()
                .max_by(|a, b| excess(a.1, a.2).total_cmp(&excess(b.1, b.2)));
            worst.map_or(Verdict::Insufficient, |(_, value, threshold)| {
                Verdict::Fine {
                    value: *value,
                    threshold: *threshold,
                }
            })
        }
    };
    (verdict, evidence)
}

/// The limit in force for a value; nothing when it relates to a reference the value does not have.
fn limit(threshold: Threshold, value: &StoredMeasurement) -> Option<f64> {
    match threshold {
        Threshold::Above(limit) | Threshold::Below(limit) => Some(limit),
        Threshold::AboveTimesBaseline(factor) | Threshold::BelowTimesBaseline(factor) => {
            Some(factor * value.reference?)
        }
        Threshold::OwnStatus => value
            .recipe
            .get("threshold")
            .and_then(serde_json::Value::as_f64),
    }
}

fn is_beyond(threshold: Threshold, measured: &StoredMeasurement, value: f64, limit: f64) -> bool {
    match threshold {
        Threshold::Above(_) | Threshold::AboveTimesBaseline(_) => value > limit,
        Threshold::Below(_) | Threshold::BelowTimesBaseline(_) => value < limit,
        Threshold::OwnStatus => measured.status == Status::Drift,
    }
}

fn witness(measured: &StoredMeasurement, value: f64, limit: f64) -> serde_json::Value {
    serde_json::json!({
        "measure": measured.measure,
        "feature": measured.feature,
        "segment": if measured.segment.is_overall() { String::new() }
                   else { format!("{}={}", measured.segment.name, measured.segment.value) },
        "value": value,
        "limit": limit,
        "rows": measured.current_rows,
        "detail": measured.recipe.get("detail"),
        "against": measured.recipe.pointer("/reference/text"),
        "window_start": measured.window.start,
        "window_end": measured.window.end,
    })
}

/// Whether some rule about the schema has an open alert on the model: retraining must wait then.
///
/// # Errors
/// When the database fails.
pub async fn schema_skew_is_open(
    conn: &mut PgConnection,
    model: &Model,
) -> Result<Option<String>, Error> {
    let open = alerts::open_rules(conn, model.model_id).await?;
    let rules = configuration::rules(conn, model).await?;
    Ok(rules
        .into_iter()
        .find(|rule| is_about_schema(rule) && open.iter().any(|(name, _)| *name == rule.name))
        .map(|rule| rule.name))
}

fn is_about_schema(rule: &Rule) -> bool {
    match &rule.condition {
        Condition::Measured(condition) => condition.measures.iter().any(|m| m.breaks_schema()),
        Condition::Silence { .. } => false,
    }
}
