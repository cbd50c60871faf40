//! Runs of retraining pipelines: asked for by a run of a runbook, started by a call that may be repeated only
//! where the pipeline promises that asking twice starts one run, followed by callback and by polling.

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use sqlx::PgConnection;
use subtle::ConstantTimeEq;

use super::{Error, Services, alerting, configuration, registry};
use crate::domain::ids::{PipelineRunId, uuid_at};
use crate::domain::message::one_line;
use crate::domain::pipeline::{CandidateReport, PipelineDef, PipelineState, PipelineStatus};
use crate::pipelines::http::{HttpPipeline, TIME_OUT};
use crate::pipelines::{Callback, Pipeline, PollError, StartError, StartRequest};
use crate::storage::models::{self, Model};
use crate::storage::runs::{self, PipelineProgress, PipelineRun, Run};

/// How long a call may take before another process may claim the run.
const LEASE: TimeDelta = TimeDelta::seconds(120);
/// The pause after the first failed call; it doubles with each further one, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: TimeDelta = TimeDelta::seconds(5);
const LONGEST_PAUSE: TimeDelta = TimeDelta::minutes(10);
/// How much of what a pipeline says about a run's end is kept.
const LONGEST_DETAIL: usize = 500;
/// The name of the key that callback tokens are derived from.
const CALLBACK_KEY: &str = "pipeline-callback";

/// Asks for a pipeline run, in the transaction of the step that wants it; returns its key.
pub(super) async fn request(
    services: &Services,
    conn: &mut PgConnection,
    run: &Run,
    position: i32,
    pipeline: &str,
    parameters: &Value,
    now: DateTime<Utc>,
) -> Result<String, Error> {
    let run_key = uuid_at(now).to_string();
    let pipeline_run = PipelineRun {
        pipeline_run_id: PipelineRunId::new(now),
        project_id: run.project_id,
        model_id: run.model_id,
        run_id: run.run_id,
        position,
        pipeline: pipeline.to_owned(),
        run_key: run_key.clone(),
        parameters: parameters.clone(),
        state: "requested".to_owned(),
        status_url: None,
        link: None,
        expected_at: None,
        requested_at: now,
        attempts: 0,
        cause: None,
        finished_at: None,
    };
    runs::insert_pipeline_run(conn, &pipeline_run).await?;
    crate::faults::crash_point("pipeline.requested");
    services.nudges.respond.notify_one();
    Ok(run_key)
}

/// Why a model must not be trained now, if it must not.
pub(super) async fn refusal(
    conn: &mut PgConnection,
    model: &Model,
) -> Result<Option<String>, Error> {
    let open = alerting::schema_skew_is_open(conn, model).await?;
    Ok(open.map(|rule| {
        format!(
            "schema skew is open (rule {rule:?}): a model trained on broken inputs would learn them; mend the inputs first"
        )
    }))
}

/// Starts or polls one pipeline run that is due. Returns whether there was one.
///
/// # Errors
/// When the database fails.
pub async fn activate(services: &Services, now: DateTime<Utc>) -> Result<bool, Error> {
    let wall_now = services.wall.now();
    let mut tx = services.pool.begin().await?;
    let claimed = runs::claim_pipeline_run(&mut tx, now, wall_now, wall_now + LEASE).await?;
    let Some(run) = claimed else {
        return Ok(false);
    };
    let Some(definition) = configuration::pipeline(&mut tx, run.project_id, &run.pipeline).await?
    else {
        let cause = format!("pipeline {:?} is not defined any more", run.pipeline);
        settle(&mut tx, &run, "failed", &cause, now).await?;
        tx.commit().await?;
        return Ok(true);
    };
    let cut_off = run.state == "sending" && !definition.idempotent;
    if cut_off {
        // We died between asking and hearing. Asking again could start a second training.
        settle(
            &mut tx,
            &run,
            "unknown",
            "the service stopped while it asked for the run",
            now,
        )
        .await?;
        tx.commit().await?;
        services.nudges.respond.notify_one();
        return Ok(true);
    }
    // What was asked for while the inputs were well may have waited for hours: its pipeline did not answer.
    if run.state == "requested"
        && let Some(model) = models::get(&mut tx, run.model_id).await?
        && let Some(cause) = refusal(&mut tx, &model).await?
    {
        settle(&mut tx, &run, "failed", &cause, now).await?;
        tx.commit().await?;
        services.nudges.respond.notify_one();
        return Ok(true);
    }
    let starting = matches!(run.state.as_str(), "requested" | "sending");
    if starting {
        runs::mark_sending(&mut tx, run.pipeline_run_id).await?;
    }
    tx.commit().await?;
    if starting {
        start(services, &run, &definition, now).await?;
    } else {
        poll(services, &run, &definition, now).await?;
    }
    Ok(true)
}

fn adapter(services: &Services) -> HttpPipeline {
    HttpPipeline::new(
        services.outward.outbound.clone(),
        services.outward.secrets.clone(),
        TIME_OUT,
    )
}

async fn start(
    services: &Services,
    run: &PipelineRun,
    definition: &PipelineDef,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut conn = services.pool.acquire().await?;
    let model = models::get(&mut conn, run.model_id).await?;
    let token = callback_token(&mut conn, &run.run_key).await?;
    drop(conn);
    let base = services.public_url.trim_end_matches('/');
    let request = StartRequest {
        run_key: run.run_key.clone(),
        model: model.map(|m| m.name).unwrap_or_default(),
        parameters: serde_json::from_value(run.parameters.clone()).unwrap_or_default(),
        requested_at: run.requested_at,
        callback: Callback {
            url: format!("{base}/api/v1/pipeline-runs/{}/status", run.run_key),
            token,
        },
    };
    crate::faults::crash_point("pipeline.before_trigger");
    let progress = adapter(services)
        .start(definition, &request, services.wall.now())
        .await;
    crate::faults::crash_point("pipeline.triggered");
    let mut tx = services.pool.begin().await?;
    match progress {
        Ok(started) => {
            let progress = PipelineProgress {
                state: "running",
                external_id: started.external_id.as_deref(),
                status_url: started.status_url.as_deref(),
                link: started.link.as_deref(),
                expected_at: started.expected_at,
                cause: None,
                not_before: next_poll(definition, now),
                finished: false,
                attempted: true,
            };
            runs::put_pipeline_progress(&mut tx, run.pipeline_run_id, &progress, now).await?;
        }
        Err(StartError::Retry { after, cause }) if !is_overdue(run, definition, now) => {
            let asked = after
                .and_then(|wait| TimeDelta::from_std(wait).ok())
                .unwrap_or_default();
            let not_before = now + pause(run.attempts).max(asked);
            let progress = waiting("requested", &cause, not_before);
            runs::put_pipeline_progress(&mut tx, run.pipeline_run_id, &progress, now).await?;
        }
        Err(StartError::Unknown { cause }) => settle(&mut tx, run, "unknown", &cause, now).await?,
        Err(StartError::Refused { cause } | StartError::Retry { cause, .. }) => {
            settle(&mut tx, run, "failed", &cause, now).await?;
        }
    }
    tx.commit().await?;
    crate::faults::crash_point("pipeline.recorded");
    services.nudges.respond.notify_one();
    Ok(())
}

async fn poll(
    services: &Services,
    run: &PipelineRun,
    definition: &PipelineDef,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    if is_overdue(run, definition, now) {
        let mut tx = services.pool.begin().await?;
        settle(
            &mut tx,
            run,
            "failed",
            "it did not end within its time",
            now,
        )
        .await?;
        tx.commit().await?;
        services.nudges.respond.notify_one();
        return Ok(());
    }
    let status = match &run.status_url {
        Some(status_url) => {
            adapter(services)
                .poll(definition, status_url, services.wall.now())
                .await
        }
        None => Err(PollError::Retry {
            after: None,
            cause: String::new(),
        }),
    };
    match status {
        Ok(status) if status.state.is_final() => {
            let mut tx = services.pool.begin().await?;
            finish(&mut tx, &run.run_key, &status, now).await?;
            tx.commit().await?;
            services.nudges.respond.notify_one();
        }
        Ok(_) => note_waiting(services, run, definition, "", now).await?,
        Err(PollError::Retry { cause, .. } | PollError::Permanent { cause }) => {
            note_waiting(services, run, definition, &cause, now).await?;
        }
    }
    Ok(())
}

async fn note_waiting(
    services: &Services,
    run: &PipelineRun,
    definition: &PipelineDef,
    cause: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let mut conn = services.pool.acquire().await?;
    let progress = PipelineProgress {
        attempted: false,
        ..waiting("running", cause, next_poll(definition, now))
    };
    runs::put_pipeline_progress(&mut conn, run.pipeline_run_id, &progress, now).await?;
    Ok(())
}

fn waiting<'a>(state: &'a str, cause: &'a str, not_before: DateTime<Utc>) -> PipelineProgress<'a> {
    PipelineProgress {
        state,
        external_id: None,
        status_url: None,
        link: None,
        expected_at: None,
        cause: (!cause.is_empty()).then_some(cause),
        not_before,
        finished: false,
        attempted: true,
    }
}

async fn settle(
    conn: &mut PgConnection,
    run: &PipelineRun,
    state: &str,
    cause: &str,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let progress = PipelineProgress {
        finished: true,
        ..waiting(state, cause, now)
    };
    runs::put_pipeline_progress(conn, run.pipeline_run_id, &progress, now).await?;
    Ok(())
}

fn next_poll(definition: &PipelineDef, now: DateTime<Utc>) -> DateTime<Utc> {
    now + seconds(definition.poll_seconds.max(1))
}

fn is_overdue(run: &PipelineRun, definition: &PipelineDef, now: DateTime<Utc>) -> bool {
    now > run.requested_at + seconds(definition.timeout_seconds)
}

fn seconds(seconds: u64) -> TimeDelta {
    TimeDelta::seconds(
        i64::try_from(seconds)
            .unwrap_or(i64::MAX / 1_000)
            .min(i64::MAX / 1_000),
    )
}

fn pause(attempts: i32) -> TimeDelta {
    (FIRST_PAUSE * (1 << attempts.clamp(0, 12))).min(LONGEST_PAUSE)
}

/// Takes a pipeline's report on its callback. Reporting the same end again changes nothing.
///
/// # Errors
/// Not found for an unknown key or a wrong token, which look alike; invalid for a state that is not known.
pub async fn report(
    services: &Services,
    run_key: &str,
    token: &str,
    status: &PipelineStatus,
) -> Result<(), Error> {
    let now = services.clock.now();
    let unknown = || Error::not_found(format!("pipeline run {run_key:?} with this token"));
    let mut tx = services.pool.begin().await?;
    let expected = callback_token(&mut tx, run_key).await?;
    if !bool::from(expected.as_bytes().ct_eq(token.as_bytes())) {
        return Err(unknown());
    }
    if status.state == PipelineState::Unknown {
        return Err(Error::invalid_field(
            "state",
            "must be queued, running, succeeded, failed or cancelled",
        ));
    }
    let run = runs::lock_pipeline_run(&mut tx, run_key)
        .await?
        .ok_or_else(unknown)?;
    if run.finished_at.is_none() && status.state.is_final() {
        finish(&mut tx, run_key, status, now).await?;
    }
    tx.commit().await?;
    services.nudges.respond.notify_one();
    Ok(())
}

/// Ends a pipeline run; what it delivered becomes a version and a challenger.
async fn finish(
    conn: &mut PgConnection,
    run_key: &str,
    status: &PipelineStatus,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let Some(run) = runs::lock_pipeline_run(conn, run_key)
        .await?
        .filter(|run| run.finished_at.is_none())
    else {
        return Ok(());
    };
    let succeeded = status.state == PipelineState::Succeeded;
    if let (true, Some(candidate)) = (succeeded, &status.candidate) {
        match take(conn, &run, candidate, now).await {
            // Asking again would bring the same name: the run ends here, and says why.
            Err(Error::Invalid { message, .. }) => {
                let cause = format!("it delivered a version that cannot be taken: {message}");
                return settle(conn, &run, "failed", &cause, now).await;
            }
            taken => taken?,
        }
    }
    let state = if succeeded { "succeeded" } else { "failed" };
    let detail = one_line(&status.detail, LONGEST_DETAIL);
    crate::faults::crash_point("pipeline.before_finish");
    settle(conn, &run, state, &detail, now).await
}

/// Registers what a pipeline has delivered.
async fn take(
    conn: &mut PgConnection,
    run: &PipelineRun,
    candidate: &CandidateReport,
    now: DateTime<Utc>,
) -> Result<(), Error> {
    let Some(model) = models::get(conn, run.model_id).await? else {
        return Ok(());
    };
    let actor = format!("pipeline {}", run.pipeline);
    let reported = without_nul(candidate.lineage.clone());
    let lineage =
        serde_json::json!({"pipeline": run.pipeline, "run_key": run.run_key, "reported": reported});
    let (version_id, _) =
        registry::add_version(conn, &model, &candidate.version, lineage, &actor, now).await?;
    runs::insert_candidate(conn, run, version_id, now).await?;
    Ok(())
}

/// The same JSON without NUL characters, which Postgres cannot keep.
fn without_nul(json: Value) -> Value {
    let replaced = |text: String| text.replace('\0', "\u{2400}");
    match json {
        Value::String(text) => Value::String(replaced(text)),
        Value::Array(items) => items.into_iter().map(without_nul).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (replaced(name), without_nul(value)))
            .collect(),
        other => other,
    }
}

/// The token of one run's callback: derived, so that a request that is repeated after a crash carries the same.
async fn callback_token(conn: &mut PgConnection, run_key: &str) -> Result<String, Error> {
    let fresh: [u8; 32] = rand::random();
    let key = runs::service_key(conn, CALLBACK_KEY, &fresh).await?;
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).map_err(Error::internal)?;
    mac.update(run_key.as_bytes());
    let digest = mac.finalize().into_bytes();
    Ok(digest.iter().map(|byte| format!("{byte:02x}")).collect())
}
