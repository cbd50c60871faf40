//! Landed batches: what was acknowledged, until and after it is settled, and the counts of the conservation
//! law `received = accepted + duplicate + conflicting + rejected`.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::batch::{Reject, RejectReason, Rejects};
use crate::domain::ids::{BatchId, ModelId, ProjectId};

/// What a batch holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum BatchKind {
    Predictions,
    Labels,
    /// Requests and responses of inferences, one by one.
    Events,
}

impl BatchKind {
    /// The word used in SQL and JSON.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Predictions => "predictions",
            Self::Labels => "labels",
            Self::Events => "events",
        }
    }
}

/// A decoded batch about to land.
#[derive(Debug, Clone)]
pub struct Landing {
    pub batch_id: BatchId,
    pub project_id: ProjectId,
    pub model_id: ModelId,
    pub kind: BatchKind,
    pub format: &'static str,
    /// Encoded batch; `None` when every row was refused and nothing is left to settle.
    pub body: Option<Vec<u8>>,
    /// How many of the rows each request sent that shares the batch, in their order; nothing where one sent them all.
    pub request_rows: Option<Vec<u64>>,
    pub received: u64,
    /// The first are kept, all are counted.
    pub rejects: Rejects,
    pub received_at: DateTime<Utc>,
    /// The project's generation, where it was not asked for: what the batch depends on is right if it still is that.
    pub presumed: Option<i64>,
}

/// Lands batches: the rows, samples of what was refused, and the counts, in one statement, which is a transaction
/// of its own. It takes one round trip, so that those who wait for the next one wait for little. Returns whether what
/// batches presume still holds; if not, none of them has landed.
pub async fn land(conn: &mut PgConnection, landings: &[Landing]) -> sqlx::Result<bool> {
    let ids: Vec<Uuid> = landings.iter().map(|l| l.batch_id.0).collect();
    let projects: Vec<Uuid> = landings.iter().map(|l| l.project_id.0).collect();
    let models: Vec<Uuid> = landings.iter().map(|l| l.model_id.0).collect();
    let kinds: Vec<&str> = landings.iter().map(|l| l.kind.as_str()).collect();
    let formats: Vec<&str> = landings.iter().map(|l| l.format).collect();
    let bodies: Vec<Option<&[u8]>> = landings.iter().map(|l| l.body.as_deref()).collect();
    let received: Vec<i64> = landings.iter().map(|l| count(l.received)).collect();
    let rejected: Vec<i64> = (landings.iter())
        .map(|l| count(l.rejects.total()))
        .collect();
    let received_at: Vec<DateTime<Utc>> = landings.iter().map(|l| l.received_at).collect();
    // As JSON, because Postgres cannot unnest an array of arrays.
    let requests: Vec<Option<serde_json::Value>> = (landings.iter())
        .map(|l| l.request_rows.as_ref().map(|rows| serde_json::json!(rows)))
        .collect();
    let sample = RejectSample::of(landings);
    let counts = Sums::of(&landing_counts(landings));
    let presumed: BTreeSet<(Uuid, i64)> = (landings.iter())
        .filter_map(|l| Some((l.project_id.0, l.presumed?)))
        .collect();
    let (presuming, generations): (Vec<Uuid>, Vec<i64>) = presumed.into_iter().unzip();
    sqlx::query_scalar!(
        r#"
        WITH presumed AS (
            SELECT NOT EXISTS (
                SELECT
                FROM unnest($22::uuid[], $23::bigint[]) AS p (project_id, generation)
                LEFT JOIN projects USING (project_id)
                WHERE projects.generation IS DISTINCT FROM p.generation
            ) AS holds
        ), landed AS (
            INSERT INTO landed_batches (batch_id, project_id, model_id, kind, format, state, body, received_rows,
                                        rejected_rows, accepted_rows, duplicate_rows, conflicting_rows,
                                        received_at, settled_at, attempts, not_before, request_rows)
            SELECT batch_id, project_id, model_id, kind, format,
                   CASE WHEN body IS NULL THEN 'settled' ELSE 'landed' END, body, received, rejected,
                   -- Nothing is left of a batch without a body.
                   CASE WHEN body IS NULL THEN 0 END, CASE WHEN body IS NULL THEN 0 END,
                   CASE WHEN body IS NULL THEN 0 END,
                   -- At once, whatever clock is right: that of who lands may be ahead of that of who settles.
                   received_at, CASE WHEN body IS NULL THEN received_at END, 0, TIMESTAMPTZ 'epoch', request_rows
            FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::bytea[], $7::bigint[],
                        $8::bigint[], $9::timestamptz[], $21::jsonb[])
                AS batch (batch_id, project_id, model_id, kind, format, body, received, rejected, received_at,
                          request_rows)
            WHERE (SELECT holds FROM presumed)
        ), sampled AS (
            INSERT INTO rejected_rows (batch_id, line, field, reason, cause)
            SELECT batch_id, line, field, reason, cause
            FROM unnest($10::uuid[], $11::bigint[], $12::text[], $13::text[], $14::text[])
                AS sample (batch_id, line, field, reason, cause)
            WHERE (SELECT holds FROM presumed)
            ON CONFLICT DO NOTHING
        ), counted AS (
            INSERT INTO intake_counts (project_id, model_id, kind, outcome, reason, rows)
            SELECT project_id, model_id, kind, outcome, reason, rows
            FROM unnest($15::uuid[], $16::uuid[], $17::text[], $18::text[], $19::text[], $20::bigint[])
                AS addition (project_id, model_id, kind, outcome, reason, rows)
            WHERE (SELECT holds FROM presumed)
            ON CONFLICT (project_id, model_id, kind, outcome, reason) DO UPDATE
            SET rows = intake_counts.rows + EXCLUDED.rows
        )
        SELECT holds AS "holds!" FROM presumed
        "#,
        &ids,
        &projects,
        &models,
        &kinds as &[&str],
        &formats as &[&str],
        &bodies as &[Option<&[u8]>],
        &received,
        &rejected,
        &received_at,
        &sample.batches,
        &sample.lines,
        &sample.fields,
        &sample.reasons as &[&str],
        &sample.causes,
        &counts.projects,
        &counts.models,
        &counts.kinds as &[&str],
        &counts.outcomes as &[&str],
        &counts.reasons as &[&str],
        &counts.rows,
        &requests as &[Option<serde_json::Value>],
        &presuming,
        &generations
    )
    .fetch_one(conn)
    .await
}

/// The first refused rows of each batch, column by column.
#[derive(Default)]
struct RejectSample {
    batches: Vec<Uuid>,
    lines: Vec<i64>,
    fields: Vec<String>,
    reasons: Vec<&'static str>,
    causes: Vec<String>,
}

impl RejectSample {
    fn of(landings: &[Landing]) -> Self {
        let mut sample = Self::default();
        for landing in landings {
            for reject in landing.rejects.first() {
                sample.batches.push(landing.batch_id.0);
                sample.lines.push(count(reject.line));
                sample.fields.push(without_nul(&reject.field));
                sample.reasons.push(reject.reason.as_str());
                sample.causes.push(without_nul(&reject.cause));
            }
        }
        sample
    }
}

/// One addition to the intake counts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct CountAddition {
    pub project_id: ProjectId,
    pub model_id: ModelId,
    pub kind: BatchKind,
    pub outcome: &'static str,
    pub reason: &'static str,
    pub rows: u64,
}

fn landing_counts(landings: &[Landing]) -> Vec<CountAddition> {
    let addition = |landing: &Landing, outcome, reason, rows| CountAddition {
        project_id: landing.project_id,
        model_id: landing.model_id,
        kind: landing.kind,
        outcome,
        reason,
        rows,
    };
    let received = landings
        .iter()
        .filter(|l| l.format != ARCHIVED)
        .map(|l| addition(l, "received", "", l.received));
    let rejected = landings.iter().flat_map(|l| {
        let by_reason = l.rejects.by_reason().iter();
        by_reason.map(move |(reason, rows)| addition(l, "rejected", reason.as_str(), *rows))
    });
    received.chain(rejected).collect()
}

/// Additions summed per key, column by column and in key order, so that concurrent writers cannot deadlock.
#[derive(Default)]
struct Sums {
    projects: Vec<Uuid>,
    models: Vec<Uuid>,
    kinds: Vec<&'static str>,
    outcomes: Vec<&'static str>,
    reasons: Vec<&'static str>,
    rows: Vec<i64>,
}

impl Sums {
    fn of(additions: &[CountAddition]) -> Self {
        let mut by_key = BTreeMap::new();
        for a in additions.iter().filter(|a| a.rows > 0) {
            let key = (a.project_id, a.model_id, a.kind, a.outcome, a.reason);
            *by_key.entry(key).or_insert(0_u64) += a.rows;
        }
        let mut sums = Self::default();
        for ((project_id, model_id, kind, outcome, reason), rows) in by_key {
            sums.projects.push(project_id.0);
            sums.models.push(model_id.0);
            sums.kinds.push(kind.as_str());
            sums.outcomes.push(outcome);
            sums.reasons.push(reason);
            sums.rows.push(count(rows));
        }
        sums
    }
}

/// Adds to the intake counts.
pub async fn add_counts(conn: &mut PgConnection, additions: &[CountAddition]) -> sqlx::Result<()> {
    let sums = Sums::of(additions);
    sqlx::query!(
        r#"
        INSERT INTO intake_counts (project_id, model_id, kind, outcome, reason, rows)
        SELECT project_id, model_id, kind, outcome, reason, rows
        FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[], $5::text[], $6::bigint[])
            AS addition (project_id, model_id, kind, outcome, reason, rows)
        ON CONFLICT (project_id, model_id, kind, outcome, reason) DO UPDATE
        SET rows = intake_counts.rows + EXCLUDED.rows
        "#,
        &sums.projects,
        &sums.models,
        &sums.kinds as &[&str],
        &sums.outcomes as &[&str],
        &sums.reasons as &[&str],
        &sums.rows
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// The format of batches that come back from the archive. What is in them was received once, so they are no part of the
/// account of what came in.
pub const ARCHIVED: &str = "archive";

/// How many rows of a model have been stored, as they came or as they came back. The count grows in the transaction that
/// settles them.
pub async fn stored(
    conn: &mut PgConnection,
    model_id: ModelId,
    kind: BatchKind,
) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"
        SELECT COALESCE(SUM(rows), 0)::bigint AS "rows!"
        FROM intake_counts
        WHERE model_id = $1 AND kind = $2 AND outcome IN ('accepted', 'restored')
        "#,
        model_id.0,
        kind.as_str()
    )
    .fetch_one(conn)
    .await
}

/// A count as kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntakeCount {
    pub kind: BatchKind,
    pub outcome: String,
    pub reason: String,
    pub rows: i64,
}

/// The counts of a model; the outcome `failed` is of batches that were set aside.
pub async fn counts(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<IntakeCount>> {
    sqlx::query_as!(
        IntakeCount,
        r#"
        SELECT kind AS "kind!: BatchKind", outcome AS "outcome!", reason AS "reason!", rows AS "rows!"
        FROM (
            SELECT kind, outcome, reason, rows FROM intake_counts WHERE model_id = $1
            UNION ALL
            SELECT kind, 'failed', '', SUM(received_rows - rejected_rows)::bigint
            FROM landed_batches
            WHERE model_id = $1 AND state = 'failed'
            GROUP BY kind
        ) AS counts
        ORDER BY kind, outcome, reason
        "#,
        model_id.0
    )
    .fetch_all(conn)
    .await
}

/// A landed batch as people ask for it.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchStatus {
    pub batch_id: BatchId,
    pub kind: BatchKind,
    pub state: String,
    pub received_rows: i64,
    pub rejected_rows: i64,
    pub accepted_rows: Option<i64>,
    pub duplicate_rows: Option<i64>,
    pub conflicting_rows: Option<i64>,
    pub received_at: DateTime<Utc>,
    pub settled_at: Option<DateTime<Utc>>,
    pub cause: Option<String>,
}

/// The state of one batch of the project.
pub async fn status(
    conn: &mut PgConnection,
    project_id: ProjectId,
    batch_id: BatchId,
) -> sqlx::Result<Option<BatchStatus>> {
    sqlx::query_as!(
        BatchStatus,
        r#"
        SELECT batch_id AS "batch_id: BatchId", kind AS "kind: BatchKind", state, received_rows, rejected_rows,
               accepted_rows, duplicate_rows, conflicting_rows, received_at, settled_at, cause
        FROM landed_batches
        WHERE project_id = $1 AND batch_id = $2
        "#,
        project_id.0,
        batch_id.0
    )
    .fetch_optional(conn)
    .await
}

/// The batches of a model that were set aside, oldest first.
pub async fn failed(
    conn: &mut PgConnection,
    model_id: ModelId,
    most: i64,
) -> sqlx::Result<Vec<BatchStatus>> {
    sqlx::query_as!(
        BatchStatus,
        r#"
        SELECT batch_id AS "batch_id: BatchId", kind AS "kind: BatchKind", state, received_rows, rejected_rows,
               accepted_rows, duplicate_rows, conflicting_rows, received_at, settled_at, cause
        FROM landed_batches
        WHERE model_id = $1 AND state = 'failed'
        ORDER BY batch_id
        LIMIT $2
        "#,
        model_id.0,
        most
    )
    .fetch_all(conn)
    .await
}

/// Has a batch that was set aside tried again. Returns why it was set aside, or `None` where it was not.
pub async fn retry(
    conn: &mut PgConnection,
    project_id: ProjectId,
    batch_id: BatchId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar!(
        r#"
        UPDATE landed_batches
        SET state = 'landed', attempts = 0, not_before = $3
        WHERE project_id = $1 AND batch_id = $2 AND state = 'failed'
        RETURNING COALESCE(cause, '') AS "cause!"
        "#,
        project_id.0,
        batch_id.0,
        now
    )
    .fetch_optional(conn)
    .await
}

/// What was given up with a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GivenUp {
    pub model_id: ModelId,
    pub kind: BatchKind,
    pub format: String,
    /// Rows that had not been refused before.
    pub rows: i64,
    /// Why the batch was set aside.
    pub cause: Option<String>,
}

/// Refuses all rows of a batch that was set aside and drops its body. `None` where it was not set aside.
pub async fn give_up(
    conn: &mut PgConnection,
    project_id: ProjectId,
    batch_id: BatchId,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<GivenUp>> {
    sqlx::query_as!(
        GivenUp,
        r#"
        UPDATE landed_batches b
        SET state = 'settled', body = NULL, settled_at = $3, accepted_rows = 0, duplicate_rows = 0,
            conflicting_rows = 0, rejected_rows = b.received_rows
        FROM (
            SELECT batch_id, received_rows - rejected_rows AS rows
            FROM landed_batches
            WHERE project_id = $1 AND batch_id = $2 AND state = 'failed'
            FOR UPDATE
        ) AS before
        WHERE b.batch_id = before.batch_id
        RETURNING b.model_id AS "model_id: ModelId", b.kind AS "kind: BatchKind", b.format, before.rows AS "rows!", b.cause
        "#,
        project_id.0,
        batch_id.0,
        now
    )
    .fetch_optional(conn)
    .await
}

/// The kept sample of a batch's refused rows, in the order of the body.
pub async fn rejects(conn: &mut PgConnection, batch_id: BatchId) -> sqlx::Result<Vec<Reject>> {
    let rows = sqlx::query!(
        r#"
        SELECT line, field, reason AS "reason: RejectReason", cause
        FROM rejected_rows
        WHERE batch_id = $1
        ORDER BY line, field
        "#,
        batch_id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| Reject {
            line: u64::try_from(row.line).unwrap_or(0),
            field: row.field,
            reason: row.reason,
            cause: row.cause,
        })
        .collect())
}

/// A batch waiting to be settled.
#[derive(Debug, Clone)]
pub struct Waiting {
    pub batch_id: BatchId,
    pub kind: BatchKind,
    pub format: String,
    pub body: Vec<u8>,
    /// How many of the rows each request sent that shares the batch, as JSON; nothing where one sent them all.
    pub request_rows: Option<serde_json::Value>,
    /// How often the body was written anew.
    pub revision: i32,
    pub attempts: i32,
    pub received_at: DateTime<Utc>,
}

/// What has landed and is not settled, of all models.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unsettled {
    /// Rows that wait, of each project that has any.
    pub by_project: BTreeMap<ProjectId, u64>,
    /// Batches that were set aside.
    pub failed_batches: u64,
}

impl Unsettled {
    /// How many rows wait, of all projects together.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.by_project.values().sum()
    }
}

/// How much is not settled.
pub async fn unsettled(conn: &mut PgConnection) -> sqlx::Result<Unsettled> {
    let waiting = sqlx::query!(
        r#"
        SELECT
            m.project_id AS "project_id: ProjectId",
            SUM(b.received_rows - b.rejected_rows)::bigint AS "rows!"
        FROM landed_batches b
        JOIN models m USING (model_id)
        WHERE b.state = 'landed'
        GROUP BY m.project_id
        "#
    )
    .fetch_all(&mut *conn)
    .await?;
    let failed = sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "batches!" FROM landed_batches WHERE state = 'failed'"#
    )
    .fetch_one(conn)
    .await?;
    Ok(Unsettled {
        by_project: waiting
            .into_iter()
            .map(|row| (row.project_id, u64::try_from(row.rows).unwrap_or(0)))
            .collect(),
        failed_batches: u64::try_from(failed).unwrap_or(0),
    })
}

/// A model that has batches to settle, the next one behind `last` in the order of their ids: one that nobody is working
/// on if there is any, so that several workers spread over the models.
pub async fn due_model(
    conn: &mut PgConnection,
    last: Option<ModelId>,
    now: DateTime<Utc>,
) -> sqlx::Result<Option<ModelId>> {
    for last in [last.map(|last| last.0), None] {
        let idle = sqlx::query_scalar!(
            r#"
            SELECT model_id AS "model_id: ModelId"
            FROM models
            WHERE ($1::uuid IS NULL OR model_id > $1) AND EXISTS (
                SELECT FROM landed_batches b
                WHERE b.model_id = models.model_id AND b.state = 'landed' AND b.not_before <= $2
            )
            ORDER BY model_id
            LIMIT 1
            FOR NO KEY UPDATE SKIP LOCKED
            "#,
            last,
            now
        )
        .fetch_optional(&mut *conn)
        .await?;
        if idle.is_some() {
            return Ok(idle);
        }
    }
    sqlx::query_scalar!(
        r#"
        SELECT model_id AS "model_id: ModelId"
        FROM landed_batches
        WHERE state = 'landed' AND not_before <= $1
        ORDER BY batch_id
        LIMIT 1
        "#,
        now
    )
    .fetch_optional(conn)
    .await
}

/// How many batches are settled together at most.
const BATCHES: i64 = 1_000;

/// The oldest batches of a model that are due, behind `after` in the order they landed: as many as bring `rows`
/// rows together, and at least one if there is any.
pub async fn due(
    conn: &mut PgConnection,
    model_id: ModelId,
    after: Option<BatchId>,
    now: DateTime<Utc>,
    rows: i64,
) -> sqlx::Result<Vec<Waiting>> {
    sqlx::query_as!(
        Waiting,
        r#"
        WITH queue AS (
            SELECT batch_id, received_rows - rejected_rows AS rows
            FROM landed_batches
            WHERE model_id = $1 AND state = 'landed' AND not_before <= $2
              AND ($5::uuid IS NULL OR batch_id > $5)
            ORDER BY batch_id
            LIMIT $4
        ), due AS (
            SELECT batch_id, SUM(rows) OVER (ORDER BY batch_id) - rows AS rows_before
            FROM queue
        )
        SELECT b.batch_id AS "batch_id: BatchId", kind AS "kind: BatchKind", format, body AS "body!", revision,
               attempts, received_at, request_rows
        FROM due
        JOIN landed_batches b USING (batch_id)
        WHERE rows_before < $3::bigint
        ORDER BY batch_id
        "#,
        model_id.0,
        now,
        rows,
        BATCHES,
        after.map(|id| id.0)
    )
    .fetch_all(conn)
    .await
}

/// Which of the batches are still to be settled, and have the bodies that were read.
pub async fn still_landed(
    conn: &mut PgConnection,
    batches: &[(BatchId, i32)],
) -> sqlx::Result<HashSet<BatchId>> {
    let ids: Vec<Uuid> = batches.iter().map(|(id, _)| id.0).collect();
    let revisions: Vec<i32> = batches.iter().map(|(_, revision)| *revision).collect();
    let landed = sqlx::query_scalar!(
        r#"
        SELECT b.batch_id AS "batch_id: BatchId"
        FROM landed_batches b
        JOIN unnest($1::uuid[], $2::integer[]) AS known (batch_id, revision)
            ON known.batch_id = b.batch_id AND known.revision = b.revision
        WHERE b.batch_id = ANY($1) AND state = 'landed'
        "#,
        &ids,
        &revisions
    )
    .fetch_all(conn)
    .await?;
    Ok(landed.into_iter().collect())
}

/// What became of a batch's kept rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Settled {
    pub accepted: u64,
    pub duplicate: u64,
    pub conflicting: u64,
    /// Of days that are gone.
    pub late: u64,
    /// Of predictions that were erased.
    pub erased: u64,
}

impl Settled {
    /// Rows that were refused after all.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.late + self.erased
    }
}

/// Lets the transaction's commit be answered before it is on the disk. Only for what is done again after a crash: what
/// it was made of has been durable for longer, and whatever is committed behind it on the disk has it in front.
pub async fn commit_without_waiting(conn: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query!("SELECT set_config('synchronous_commit', 'off', true)")
        .fetch_one(conn)
        .await?;
    Ok(())
}

/// Marks batches settled and drops their bodies.
pub async fn mark_settled(
    conn: &mut PgConnection,
    settled: &[(BatchId, Settled)],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = settled.iter().map(|(id, _)| id.0).collect();
    let accepted: Vec<i64> = settled.iter().map(|(_, of)| count(of.accepted)).collect();
    let duplicate: Vec<i64> = settled.iter().map(|(_, of)| count(of.duplicate)).collect();
    let conflicting: Vec<i64> = (settled.iter())
        .map(|(_, of)| count(of.conflicting))
        .collect();
    let refused: Vec<i64> = settled.iter().map(|(_, of)| count(of.refused())).collect();
    sqlx::query!(
        r#"
        UPDATE landed_batches b
        SET state = 'settled', body = NULL, settled_at = $2, accepted_rows = s.accepted,
            duplicate_rows = s.duplicate, conflicting_rows = s.conflicting,
            rejected_rows = rejected_rows + s.refused
        FROM unnest($1::uuid[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
            AS s (batch_id, accepted, duplicate, conflicting, refused)
        WHERE b.batch_id = s.batch_id AND b.state = 'landed'
        "#,
        &ids,
        now,
        &accepted,
        &duplicate,
        &conflicting,
        &refused
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Records that settling failed; the batch is tried again at `not_before`, or set aside (its body is kept, nothing is
/// lost) when that is `None`.
pub async fn mark_attempt(
    conn: &mut PgConnection,
    batch_ids: &[BatchId],
    cause: &str,
    not_before: Option<DateTime<Utc>>,
) -> sqlx::Result<()> {
    let ids: Vec<Uuid> = batch_ids.iter().map(|id| id.0).collect();
    sqlx::query!(
        r#"
        UPDATE landed_batches
        SET attempts = attempts + 1,
            cause = $2,
            state = CASE WHEN $3::timestamptz IS NULL THEN 'failed' ELSE state END,
            not_before = COALESCE($3, not_before)
        WHERE batch_id = ANY($1) AND state = 'landed'
        "#,
        &ids,
        cause,
        not_before
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A count as Postgres keeps it. Counts of rows are far below 2^63.
pub(crate) fn count(rows: u64) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}

fn without_nul(text: &str) -> String {
    text.replace('\0', "\u{2400}")
}
