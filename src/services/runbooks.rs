//! Runs of runbooks: what people decide and start.

use chrono::{DateTime, Utc};
use sqlx::PgPool;

use super::Error;
use crate::domain::ids::{ApprovalId, PersonId, ProjectId, RunId};

/// Records a person's answer to a question of a run.
///
/// # Errors
/// When there is no such question, or it has been answered.
pub async fn decide(
    pool: &PgPool,
    now: DateTime<Utc>,
    approval_id: ApprovalId,
    approve: bool,
    reason: &str,
    person: PersonId,
    actor: &str,
) -> Result<(), Error> {
    let decision = if approve { "approved" } else { "declined" };
    let answered = sqlx::query!(
        "UPDATE approvals SET decision = $2, decided_at = $3, decided_by = $4, reason = $5
          WHERE approval_id = $1 AND decision IS NULL",
        approval_id.0,
        decision,
        now,
        person.0,
        reason
    )
    .execute(pool)
    .await?;
    tracing::info!(actor, "decided");
    if answered.rows_affected() == 1 {
        Ok(())
    } else {
        Err(Error::Conflict("the question has been answered".to_owned()))
    }
}

/// Starts a runbook on a model by hand.
///
/// # Errors
/// When there is no such model or runbook.
pub async fn start_by_hand(
    pool: &PgPool,
    now: DateTime<Utc>,
    project_id: ProjectId,
    model: &str,
    runbook: &str,
    reason: &str,
    actor: &str,
) -> Result<RunId, Error> {
    let run = RunId::new(now);
    let started = sqlx::query!(
        "INSERT INTO runs (run_id, project_id, model_id, runbook, title, definition, parameters, state,
                           outcome, started_by, started_at, version)
         SELECT $1, $2, m.model_id, $4, $4, '{}', jsonb_build_object('reason', $5::text), 'running', '',
                $6, $7, 1
           FROM models m WHERE m.project_id = $2 AND m.name = $3",
        run.0,
        project_id.0,
        model,
        runbook,
        reason,
        actor,
        now
    )
    .execute(pool)
    .await?;
    if started.rows_affected() == 1 {
        Ok(run)
    } else {
        Err(Error::not_found(format!("model {model}")))
    }
}
