//! Runs of runbooks: one step after the other, each in a transaction of its own that ends with the step's new
//! state. `activate` looks at every open run and moves it as far as it can go; a crash at any line leaves the
//! run where its last transaction put it.

mod steps;

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use super::{Error, Services, configuration, reason, registry};
use crate::domain::ids::{ApprovalId, PersonId, ProjectId, RunId};
use crate::domain::runbook::{Action, Runbook};
use crate::storage::alerts::{self, Alert, AlertEvent};
use crate::storage::models::{self, Model};
use crate::storage::runs::{self, Decision, Run, RunStep};

/// Starts the runbook of an alert that opens. A runbook that retrains is not started while another retraining
/// of the model is under way: two alerts about one loss must not train twice.
///
/// # Errors
/// When the database fails.
pub(super) async fn start_for_alert(
    services: &Services,
    conn: &mut PgConnection,
    model: &Model,
    alert: &Alert,
    runbook: Runbook,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    // Another process may be opening another alert of this model, or somebody may be starting a run by hand.
    models::lock(conn, model.model_id).await?;
    if let Some(present) = retraining_under_way(conn, model, &runbook).await? {
        let text = format!(
            "runbook {:?} was not started: run {} of {:?} is under way",
            runbook.name, present.run_id, present.runbook
        );
        note(
            conn,
            alert.alert_id,
            "runbook_skipped",
            &text,
            "bellwether",
            now,
        )
        .await?;
        return Ok(());
    }
    let parameters = serde_json::json!({});
    let run = new_run(
        model,
        Some(alert),
        runbook,
        parameters,
        format!("alert {}", alert.rule),
        now,
    );
    insert(services, conn, &run, now).await
}

/// Starts a runbook because a person asks for it.
///
/// # Errors
/// Not found for an unknown model or runbook; invalid without a reason; conflict while the model is being
/// retrained already.
pub async fn start_by_hand(
    services: &Services,
    project_id: ProjectId,
    model: &str,
    runbook: &str,
    reason: &str,
    actor: &str,
) -> Result<RunId, Error> {
    let now = services.clock.now();
    let reason = reason::checked(reason)?;
    let mut tx = services.pool.begin().await?;
    let model = registry::model(&mut tx, project_id, model).await?;
    let found = configuration::runbook(&mut tx, project_id, runbook).await?;
    let definition = found.ok_or_else(|| Error::not_found(format!("runbook {runbook:?}")))?;
    models::lock(&mut tx, model.model_id).await?;
    if let Some(present) = retraining_under_way(&mut tx, &model, &definition).await? {
        return Err(Error::Conflict(format!(
            "model {:?} is being retrained already, by run {} of {:?}",
            model.name, present.run_id, present.runbook
        )));
    }
    let parameters = serde_json::json!({"reason": reason});
    let run = new_run(&model, None, definition, parameters, actor.to_owned(), now);
    insert(services, &mut tx, &run, now).await?;
    let object = run.run_id.to_string();
    registry::record(
        &mut tx,
        project_id,
        actor,
        "run.start",
        ("run", &object),
        now,
    )
    .await?;
    tx.commit().await?;
    services.nudges.respond.notify_one();
    Ok(run.run_id)
}

/// A run that would train the model at the same time as `runbook`.
async fn retraining_under_way(
    conn: &mut PgConnection,
    model: &Model,
    runbook: &Runbook,
) -> Result<Option<Run>, Error> {
    let retrains = |runbook: &Runbook| {
        runbook
            .steps
            .iter()
            .any(|step| matches!(step.action, Action::Trigger { .. }))
    };
    if !retrains(runbook) {
        return Ok(None);
    }
    let open = runs::open_of_model(conn, model.model_id).await?;
    Ok(open
        .into_iter()
        .find(|run| run.state != "watching" && retrains(&run.definition)))
}

fn new_run(
    model: &Model,
    alert: Option<&Alert>,
    runbook: Runbook,
    parameters: serde_json::Value,
    started_by: String,
    now: DateTime<Utc>,
) -> Run {
    Run {
        run_id: RunId::new(now),
        project_id: model.project_id,
        model_id: model.model_id,
        alert_id: alert.map(|alert| alert.alert_id),
        runbook: runbook.name.clone(),
        title: runbook.title.clone(),
        definition: Json(runbook),
        parameters,
        state: "running".to_owned(),
        outcome: String::new(),
        started_by,
        started_at: now,
        finished_at: None,
        version: 1,
    }
}

async fn insert(
    services: &Services,
    conn: &mut PgConnection,
    run: &Run,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    runs::insert(conn, run).await?;
    if let Some(alert_id) = run.alert_id {
        let text = format!("runbook {:?} started", run.runbook);
        note(conn, alert_id, "runbook_started", &text, "bellwether", now).await?;
    }
    services.nudges.respond.notify_one();
    Ok(())
}

async fn note(
    conn: &mut PgConnection,
    alert_id: crate::domain::ids::AlertId,
    kind: &str,
    text: &str,
    actor: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let event = AlertEvent {
        kind,
        text,
        detail: serde_json::json!({}),
        actor,
    };
    alerts::add_event(conn, alert_id, event, now).await?;
    Ok(())
}

/// A person's answer to an approval.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    pub approval_id: ApprovalId,
    pub approve: bool,
    pub reason: &'a str,
    pub person_id: PersonId,
    pub actor: &'a str,
}

/// Approves or declines what a run asks.
///
/// # Errors
/// Not found; invalid without a reason; conflict when somebody has answered already.
pub async fn decide(
    services: &Services,
    project_id: ProjectId,
    answer: Answer<'_>,
) -> Result<(), Error> {
    let now = services.clock.now();
    let reason = reason::checked(answer.reason)?;
    let mut tx = services.pool.begin().await?;
    let found = runs::run_of_approval(&mut tx, project_id, answer.approval_id).await?;
    let run_id =
        found.ok_or_else(|| Error::not_found(format!("approval {}", answer.approval_id)))?;
    let run = runs::lock(&mut tx, run_id)
        .await?
        .ok_or_else(|| Error::not_found(format!("run {run_id}")))?;
    let decision = Decision {
        approve: answer.approve,
        reason,
        person_id: answer.person_id,
        at: now,
    };
    if !runs::decide(&mut tx, answer.approval_id, decision).await? {
        return Err(Error::Conflict(
            "somebody has answered this already; reload the page to see how".to_owned(),
        ));
    }
    let action = if answer.approve {
        "run.approve"
    } else {
        "run.decline"
    };
    let object = run_id.to_string();
    registry::record(
        &mut tx,
        project_id,
        answer.actor,
        action,
        ("run", &object),
        now,
    )
    .await?;
    if let Some(alert_id) = run.alert_id {
        let word = if answer.approve {
            "approved"
        } else {
            "declined"
        };
        note(
            &mut tx,
            alert_id,
            word,
            &format!("{word}: {reason}"),
            answer.actor,
            now,
        )
        .await?;
    }
    tx.commit().await?;
    services.nudges.respond.notify_one();
    Ok(())
}

/// Moves every open run as far as it can go. Returns whether any moved.
///
/// # Errors
/// When the database fails.
pub async fn activate(services: &Services, now: DateTime<Utc>) -> Result<bool, Error> {
    let mut conn = services.pool.acquire().await?;
    let open = runs::open(&mut conn).await?;
    drop(conn);
    let mut moved = false;
    for run_id in open {
        while advance(services, run_id, now).await? {
            moved = true;
        }
    }
    Ok(moved)
}

/// What a look at a step found.
enum StepResult {
    /// Nothing new.
    Unchanged,
    /// The step goes on; its detail or state may have changed.
    Goes {
        state: &'static str,
        detail: serde_json::Value,
    },
    /// Done; the next step may begin.
    Done { detail: serde_json::Value },
    /// The run ends here, for a reason people should read.
    Ends {
        step: &'static str,
        run: &'static str,
        detail: serde_json::Value,
        outcome: String,
    },
}

/// Takes one run one step further, if it can go.
async fn advance(services: &Services, run_id: RunId, now: DateTime<Utc>) -> Result<bool, Error> {
    let mut tx = services.pool.begin().await?;
    let Some(run) = runs::lock(&mut tx, run_id)
        .await?
        .filter(|run| run.finished_at.is_none())
    else {
        return Ok(false);
    };
    let Some(model) = models::get(&mut tx, run.model_id).await? else {
        return Ok(false);
    };
    let all = runs::steps(&mut tx, run_id).await?;
    let Some(step) = all
        .iter()
        .find(|step| matches!(step.state.as_str(), "pending" | "running" | "waiting"))
    else {
        finish(&mut tx, &run, "succeeded", "every step is done", now).await?;
        tx.commit().await?;
        return Ok(true);
    };
    let position = usize::try_from(step.position).unwrap_or(usize::MAX);
    let Some(definition) = run.definition.steps.get(position) else {
        return Err(Error::internal(format!(
            "run {run_id} has no definition of step {position}"
        )));
    };
    let look = steps::Look {
        services,
        model: &model,
        run: &run,
        step,
        now,
    };
    let result = look.at(&mut tx, &definition.action).await?;
    let moved = apply(&mut tx, &run, step, result, now).await?;
    crate::faults::crash_point("runbook.before_commit");
    tx.commit().await?;
    crate::faults::crash_point("runbook.after_commit");
    Ok(moved)
}

async fn apply(
    conn: &mut PgConnection,
    run: &Run,
    step: &RunStep,
    result: StepResult,
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    let put = |state: &str, detail| RunStep {
        state: state.to_owned(),
        detail,
        ..step.clone()
    };
    match result {
        StepResult::Unchanged => Ok(false),
        StepResult::Goes { state, detail } => {
            if step.state == state && step.detail == detail {
                return Ok(false);
            }
            runs::put_step(conn, run.run_id, &put(state, detail), false, now).await?;
            let run_state = match (step.kind.as_str(), state) {
                ("watch", _) => "watching",
                (_, "waiting") => "waiting",
                _ => "running",
            };
            runs::put_state(conn, run.run_id, run_state, &run.outcome, None).await?;
            // The step was looked at with all that is known now; looking again would find the same.
            Ok(false)
        }
        StepResult::Done { detail } => {
            runs::put_step(conn, run.run_id, &put("succeeded", detail), true, now).await?;
            runs::put_state(conn, run.run_id, "running", &run.outcome, None).await?;
            Ok(true)
        }
        StepResult::Ends {
            step: step_state,
            run: run_state,
            detail,
            outcome,
        } => {
            runs::put_step(conn, run.run_id, &put(step_state, detail), true, now).await?;
            finish(conn, run, run_state, &outcome, now).await?;
            Ok(true)
        }
    }
}

async fn finish(
    conn: &mut PgConnection,
    run: &Run,
    state: &str,
    outcome: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    runs::skip_pending(conn, run.run_id).await?;
    runs::put_state(conn, run.run_id, state, outcome, Some(now)).await?;
    if let Some(alert_id) = run.alert_id {
        let text = format!("runbook {:?} {state}: {outcome}", run.runbook);
        note(conn, alert_id, "runbook_finished", &text, "bellwether", now).await?;
    }
    Ok(())
}
