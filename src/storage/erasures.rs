//! Erasing predictions: which were erased, and everything beside the rows themselves that may name what they held.

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, PgConnection, Row};
use uuid::Uuid;

use super::intake::BatchKind;
use crate::domain::ids::{BaselineId, BatchId, ModelId, ProjectId, VersionId};

/// Whether any prediction of a model was erased.
pub async fn any(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<bool> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM erased_predictions WHERE model_id = $1) AS "any!""#,
        model_id.0
    )
    .fetch_one(conn)
    .await
}

/// Which of these hashes are of erased predictions.
pub async fn known(
    conn: &mut PgConnection,
    model_id: ModelId,
    hashes: &[Vec<u8>],
) -> sqlx::Result<HashSet<Vec<u8>>> {
    let known = sqlx::query_scalar!(
        "SELECT id_hash FROM erased_predictions WHERE model_id = $1 AND id_hash = ANY($2)",
        model_id.0,
        hashes
    )
    .fetch_all(conn)
    .await?;
    Ok(known.into_iter().collect())
}

/// Notes that predictions are erased, and whether the archive is still to be done; returns how many were not noted yet.
pub async fn add(
    conn: &mut PgConnection,
    (project_id, model_id): (ProjectId, ModelId),
    hashes: &[Vec<u8>],
    archive_pending: bool,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let added = sqlx::query!(
        r#"
        INSERT INTO erased_predictions (project_id, model_id, id_hash, erased_at, archive_pending)
        SELECT $1, $2, id_hash, $4, $5
        FROM unnest($3::bytea[]) AS h (id_hash)
        ON CONFLICT DO NOTHING
        "#,
        project_id.0,
        model_id.0,
        hashes,
        now,
        archive_pending
    )
    .execute(conn)
    .await?;
    Ok(added.rows_affected())
}

/// Notes that the archive is done; returns of how many of these predictions it was still to be.
pub async fn note_archive_done(
    conn: &mut PgConnection,
    model_id: ModelId,
    hashes: &[Vec<u8>],
) -> sqlx::Result<u64> {
    let done = sqlx::query!(
        r#"
        UPDATE erased_predictions
        SET archive_pending = false
        WHERE model_id = $1 AND id_hash = ANY($2) AND archive_pending
        "#,
        model_id.0,
        hashes
    )
    .execute(conn)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes outcomes; returns the times of those that there were, one for each.
pub async fn delete_outcomes(
    conn: &mut PgConnection,
    version_id: VersionId,
    times: &[DateTime<Utc>],
    ids: &[String],
) -> sqlx::Result<Vec<DateTime<Utc>>> {
    sqlx::query_scalar!(
        r#"
        DELETE FROM outcomes
        WHERE model_version_id = $1 AND predicted_at = ANY($2) AND prediction_id = ANY($3)
        RETURNING predicted_at
        "#,
        version_id.0,
        times,
        ids
    )
    .fetch_all(conn)
    .await
}

/// Deletes labels and their corrections; returns how many there were.
pub async fn delete_labels(
    conn: &mut PgConnection,
    model_id: ModelId,
    ids: &[String],
) -> sqlx::Result<u64> {
    let corrected = sqlx::query!(
        "DELETE FROM label_revisions WHERE model_id = $1 AND prediction_id = ANY($2)",
        model_id.0,
        ids
    )
    .execute(&mut *conn)
    .await?;
    let in_force = sqlx::query!(
        "DELETE FROM labels WHERE model_id = $1 AND prediction_id = ANY($2)",
        model_id.0,
        ids
    )
    .execute(conn)
    .await?;
    Ok(corrected.rows_affected() + in_force.rows_affected())
}

/// A landed batch whose body is still there.
#[derive(Debug, Clone)]
pub struct Body {
    pub batch_id: BatchId,
    pub kind: BatchKind,
    pub body: Vec<u8>,
}

/// The landed bodies of a model, locked.
pub async fn bodies(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<Body>> {
    sqlx::query_as!(
        Body,
        r#"
        SELECT batch_id AS "batch_id: BatchId", kind AS "kind: BatchKind", body AS "body!"
        FROM landed_batches
        WHERE model_id = $1 AND body IS NOT NULL
        ORDER BY batch_id
        FOR UPDATE
        "#,
        model_id.0
    )
    .fetch_all(conn)
    .await
}

/// Puts another body in the place of one, with so many rows less; they count as rejected.
pub async fn replace_body(
    conn: &mut PgConnection,
    batch_id: BatchId,
    body: Option<&[u8]>,
    rows: i64,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE landed_batches
        SET body = $2, revision = revision + 1, rejected_rows = rejected_rows + $3,
            state = CASE WHEN $2::bytea IS NULL AND state = 'landed' THEN 'settled' ELSE state END,
            accepted_rows = CASE WHEN $2::bytea IS NULL THEN COALESCE(accepted_rows, 0) END,
            duplicate_rows = CASE WHEN $2::bytea IS NULL THEN COALESCE(duplicate_rows, 0) END,
            conflicting_rows = CASE WHEN $2::bytea IS NULL THEN COALESCE(conflicting_rows, 0) END
        WHERE batch_id = $1
        "#,
        batch_id.0,
        body,
        rows
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Takes rows out of a base window's totals and marks it changed.
pub async fn subtract(
    conn: &mut PgConnection,
    (version_id, window_start): (VersionId, DateTime<Utc>),
    (predictions, errors, labels): (i64, i64, i64),
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE window_states
        SET predictions = GREATEST(predictions - $3, 0), errors = GREATEST(errors - $4, 0),
            labels = GREATEST(labels - $5, 0), revision = revision + 1, pending = true, last_changed_at = $6
        WHERE model_version_id = $1 AND window_start = $2
        "#,
        version_id.0,
        window_start,
        predictions,
        errors,
        labels,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Deletes what was counted and measured of segments that only erased rows had.
pub async fn delete_segments(
    conn: &mut PgConnection,
    model_id: ModelId,
    values: &[String],
) -> sqlx::Result<()> {
    sqlx::query!(
        "DELETE FROM profiles WHERE model_id = $1 AND segment_value = ANY($2)",
        model_id.0,
        values
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM measurements WHERE model_id = $1 AND segment_value = ANY($2)",
        model_id.0,
        values
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        DELETE FROM baseline_profiles
        WHERE segment_value = ANY($2) AND baseline_id IN (SELECT baseline_id FROM baselines WHERE model_id = $1)
        "#,
        model_id.0,
        values
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        DELETE FROM baseline_qualities
        WHERE segment_value = ANY($2) AND baseline_id IN (SELECT baseline_id FROM baselines WHERE model_id = $1)
        "#,
        model_id.0,
        values
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// What a baseline was fitted on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OfBaseline {
    File,
    Window,
}

/// A stored profile of categories, of a window or a baseline, and where it is.
#[derive(Debug, Clone)]
pub struct PlacedProfile {
    pub feature: String,
    pub profile: Vec<u8>,
    /// Whether it is of all rows, and not of a segment.
    pub overall: bool,
    /// Whether it is of a baseline, and then whether that was fitted on a file.
    pub of_baseline: Option<OfBaseline>,
    table: &'static str,
    /// Which partition and which row of it, for the rest of the transaction.
    partition: i64,
    row: String,
}

/// The profiles of a model's features, of windows and of baselines.
pub async fn profiles_of(
    conn: &mut PgConnection,
    model_id: ModelId,
    features: &[String],
) -> sqlx::Result<Vec<PlacedProfile>> {
    let of_windows = sqlx::query!(
        r#"
        SELECT feature, profile, segment_name = '' AS "overall!", tableoid::bigint AS "partition!",
               ctid::text AS "row!"
        FROM profiles
        WHERE model_id = $1 AND feature = ANY($2)
        "#,
        model_id.0,
        features
    )
    .fetch_all(&mut *conn)
    .await?;
    let of_baselines = sqlx::query!(
        r#"
        SELECT p.feature, p.profile, p.segment_name = '' AS "overall!", b.source = 'file' AS "of_file!",
               p.tableoid::bigint AS "partition!", p.ctid::text AS "row!"
        FROM baseline_profiles p
        JOIN baselines b USING (baseline_id)
        WHERE p.feature = ANY($2) AND b.model_id = $1
        "#,
        model_id.0,
        features
    )
    .fetch_all(conn)
    .await?;
    let windows = of_windows.into_iter().map(|row| PlacedProfile {
        feature: row.feature,
        profile: row.profile,
        overall: row.overall,
        of_baseline: None,
        table: "profiles",
        partition: row.partition,
        row: row.row,
    });
    let baselines = of_baselines.into_iter().map(|row| PlacedProfile {
        feature: row.feature,
        profile: row.profile,
        overall: row.overall,
        of_baseline: Some(if row.of_file {
            OfBaseline::File
        } else {
            OfBaseline::Window
        }),
        table: "baseline_profiles",
        partition: row.partition,
        row: row.row,
    });
    Ok(windows.chain(baselines).collect())
}

/// How many rows are counted of values of segments of a model, over all its windows.
pub async fn segment_rows(
    conn: &mut PgConnection,
    model_id: ModelId,
    prediction: &str,
    values: &[String],
) -> sqlx::Result<Vec<(String, i64)>> {
    let rows = sqlx::query!(
        r#"
        SELECT segment_value, SUM(rows)::bigint AS "rows!"
        FROM profiles
        WHERE model_id = $1 AND feature = $2 AND segment_value = ANY($3) AND segment_name <> ''
        GROUP BY segment_value
        "#,
        model_id.0,
        prediction,
        values
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.segment_value, row.rows))
        .collect())
}

/// Stores another profile in the place of one that was read in this transaction, under the model's lock.
pub async fn replace_profile(
    conn: &mut PgConnection,
    placed: &PlacedProfile,
    profile: &[u8],
) -> sqlx::Result<()> {
    // The name of the table is one of the two above.
    let statement = format!(
        "UPDATE {} SET profile = $1 WHERE tableoid::bigint = $2 AND ctid = $3::text::tid",
        placed.table
    );
    sqlx::query(AssertSqlSafe(statement))
        .bind(profile)
        .bind(placed.partition)
        .bind(&placed.row)
        .execute(conn)
        .await?;
    Ok(())
}

/// The samples of rows that baselines of a model keep.
pub async fn samples(
    conn: &mut PgConnection,
    model_id: ModelId,
) -> sqlx::Result<Vec<(BaselineId, Vec<u8>)>> {
    let rows = sqlx::query!(
        r#"
        SELECT baseline_id AS "baseline_id: BaselineId", sample
        FROM baseline_samples
        WHERE model_id = $1
        FOR UPDATE
        "#,
        model_id.0
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|row| (row.baseline_id, row.sample))
        .collect())
}

/// Stores another sample for a baseline.
pub async fn replace_sample(
    conn: &mut PgConnection,
    baseline_id: BaselineId,
    sample: &[u8],
) -> sqlx::Result<()> {
    sqlx::query!(
        "UPDATE baseline_samples SET sample = $2 WHERE baseline_id = $1",
        baseline_id.0,
        sample
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Forgets what the drift detector, the detectors of labels and estimates keep of a model's baselines where it names one of
/// the values; returns of how many baselines.
pub async fn delete_references_naming(
    conn: &mut PgConnection,
    model_id: ModelId,
    values: &[Vec<u8>],
) -> sqlx::Result<u64> {
    let deleted = sqlx::query_scalar!(
        r#"
        DELETE FROM shift_references
        WHERE model_id = $1
          AND EXISTS (SELECT FROM unnest($2::bytea[]) AS v (value) WHERE position(value IN reference) > 0)
        RETURNING baseline_id
        "#,
        model_id.0,
        values
    )
    .fetch_all(&mut *conn)
    .await?;
    sqlx::query!(
        "DELETE FROM shift_days WHERE model_id = $1 AND baseline_id = ANY($2)",
        model_id.0,
        &deleted
    )
    .execute(&mut *conn)
    .await?;
    let mut dropped: BTreeSet<Uuid> = deleted.into_iter().collect();
    let labelled = sqlx::query_scalar!(
        r#"
        DELETE FROM labelled_samples
        WHERE model_id = $1
          AND EXISTS (SELECT FROM unnest($2::bytea[]) AS v (value) WHERE position(value IN sample) > 0)
        RETURNING baseline_id
        "#,
        model_id.0,
        values
    )
    .fetch_all(&mut *conn)
    .await?;
    // What was learnt from a sample goes with it.
    let learnt = sqlx::query_scalar!(
        r#"
        DELETE FROM estimators
        WHERE model_id = $1
          AND (baseline_id = ANY($3)
               OR EXISTS (SELECT FROM unnest($2::bytea[]) AS v (value) WHERE position(value IN estimator) > 0))
        RETURNING baseline_id
        "#,
        model_id.0,
        values,
        &labelled
    )
    .fetch_all(conn)
    .await?;
    dropped.extend(labelled.into_iter().chain(learnt));
    Ok(dropped.len() as u64)
}

/// How a column holds text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    Text,
    Document,
    Texts,
}

/// A column in which something may be said of values, and the condition that chooses a project's rows by `$1`.
#[derive(Debug, Clone, Copy)]
pub struct Told {
    table: &'static str,
    column: &'static str,
    pub form: Form,
    of_project: &'static str,
}

const fn own(table: &'static str, column: &'static str, form: Form) -> Told {
    Told {
        table,
        column,
        form,
        of_project: "project_id = $1",
    }
}

const OF_ALERTS: &str = "alert_id IN (SELECT alert_id FROM alerts WHERE project_id = $1)";
const OF_RUNS: &str = "run_id IN (SELECT run_id FROM runs WHERE project_id = $1)";
const OF_DELIVERIES: &str =
    "delivery_id IN (SELECT delivery_id FROM deliveries WHERE project_id = $1)";
const OF_BATCHES: &str = "batch_id IN (SELECT batch_id FROM landed_batches WHERE project_id = $1)";
const OF_SCHEMAS: &str = "schema_id IN (SELECT schema_id FROM schemas WHERE project_id = $1)";

/// Every column in which something may be said of values. A test looks for a value in all columns of all tables.
pub const TOLD: &[Told] = &[
    own("measurements", "recipe", Form::Document),
    own("rule_states", "state", Form::Document),
    own("alerts", "summary", Form::Text),
    own("alerts", "evidence", Form::Document),
    own("alerts", "explanation", Form::Document),
    Told {
        table: "alert_events",
        column: "text",
        form: Form::Text,
        of_project: OF_ALERTS,
    },
    Told {
        table: "alert_events",
        column: "detail",
        form: Form::Document,
        of_project: OF_ALERTS,
    },
    own("deliveries", "message", Form::Document),
    own("deliveries", "cause", Form::Text),
    Told {
        table: "delivery_attempts",
        column: "detail",
        form: Form::Text,
        of_project: OF_DELIVERIES,
    },
    own("runs", "parameters", Form::Document),
    own("runs", "outcome", Form::Text),
    Told {
        table: "run_steps",
        column: "detail",
        form: Form::Document,
        of_project: OF_RUNS,
    },
    own("approvals", "question", Form::Text),
    own("approvals", "reason", Form::Text),
    own("pipeline_runs", "parameters", Form::Document),
    own("pipeline_runs", "cause", Form::Text),
    own("gate_results", "reason", Form::Text),
    own("gate_results", "comparisons", Form::Document),
    own("schema_proposals", "reason", Form::Text),
    own("schema_proposals", "changes", Form::Document),
    own("schema_proposals", "notes", Form::Texts),
    Told {
        table: "schema_features",
        column: "categories",
        form: Form::Texts,
        of_project: OF_SCHEMAS,
    },
    own("baselines", "inferred", Form::Document),
    own("baselines", "cause", Form::Text),
    own("shift_days", "state", Form::Document),
    own("landed_batches", "cause", Form::Text),
    Told {
        table: "rejected_rows",
        column: "cause",
        form: Form::Text,
        of_project: OF_BATCHES,
    },
    own("audit_events", "object_id", Form::Text),
    own("audit_events", "detail", Form::Document),
];

/// A place in such a column that holds a needle.
#[derive(Debug, Clone)]
pub struct Found {
    /// The text; a document, and texts, as JSON.
    pub text: String,
    partition: i64,
    row: String,
}

/// The places of a project that hold one of the needles.
pub async fn find(
    conn: &mut PgConnection,
    told: Told,
    project_id: ProjectId,
    needles: &[String],
) -> sqlx::Result<Vec<Found>> {
    let Told {
        table,
        column,
        form,
        of_project,
    } = told;
    let text = match form {
        Form::Text => column.to_owned(),
        Form::Document => format!("{column}::text"),
        Form::Texts => format!("to_jsonb({column})::text"),
    };
    // The names come from the list above.
    let statement = format!(
        "SELECT {text} AS text, tableoid::bigint AS partition, ctid::text AS row
         FROM {table}
         WHERE {of_project}
           AND EXISTS (SELECT FROM unnest($2::text[]) AS n (needle) WHERE strpos({text}, needle) > 0)"
    );
    let rows = sqlx::query(AssertSqlSafe(statement))
        .bind(project_id.0)
        .bind(needles)
        .fetch_all(conn)
        .await?;
    rows.into_iter()
        .map(|row| {
            Ok(Found {
                text: row.try_get("text")?,
                partition: row.try_get("partition")?,
                row: row.try_get("row")?,
            })
        })
        .collect()
}

/// Puts another text in the place of one that was found in this transaction.
pub async fn replace(
    conn: &mut PgConnection,
    told: Told,
    found: &Found,
    text: &str,
) -> sqlx::Result<()> {
    let Told {
        table,
        column,
        form,
        ..
    } = told;
    let value = match form {
        Form::Text => "$1",
        Form::Document => "$1::jsonb",
        Form::Texts => "ARRAY(SELECT jsonb_array_elements_text($1::jsonb))",
    };
    // The names come from the list above.
    let statement = format!(
        "UPDATE {table} SET {column} = {value} WHERE tableoid::bigint = $2 AND ctid = $3::text::tid"
    );
    sqlx::query(AssertSqlSafe(statement))
        .bind(text)
        .bind(found.partition)
        .bind(&found.row)
        .execute(conn)
        .await?;
    Ok(())
}
