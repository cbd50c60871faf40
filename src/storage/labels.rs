//! Labels, their corrections, and outcomes: predictions together with their labels.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use crate::domain::batch::LabelValue;
use crate::domain::ids::{BatchId, ModelId, ProjectId, VersionId};

/// A label in force.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredLabel {
    pub prediction_id: String,
    pub value: Option<f64>,
    pub class: Option<String>,
    pub observed_at: DateTime<Utc>,
    pub batch_id: BatchId,
}

/// The labels in force of the given predictions.
pub async fn find(
    conn: &mut PgConnection,
    model_id: ModelId,
    ids: &[String],
) -> sqlx::Result<Vec<StoredLabel>> {
    sqlx::query_as!(
        StoredLabel,
        r#"
        SELECT prediction_id, value, class, observed_at, batch_id AS "batch_id: BatchId"
        FROM labels
        WHERE model_id = $1 AND prediction_id = ANY($2)
        "#,
        model_id.0,
        ids
    )
    .fetch_all(conn)
    .await
}

/// The labels of the given predictions that were in force once, or came too late to be.
pub async fn revisions(
    conn: &mut PgConnection,
    model_id: ModelId,
    ids: &[String],
) -> sqlx::Result<Vec<StoredLabel>> {
    sqlx::query_as!(
        StoredLabel,
        r#"
        SELECT prediction_id, value, class, observed_at, batch_id AS "batch_id: BatchId"
        FROM label_revisions
        WHERE model_id = $1 AND prediction_id = ANY($2)
        "#,
        model_id.0,
        ids
    )
    .fetch_all(conn)
    .await
}

/// Puts labels into force; one that is replaced goes to `label_revisions`.
pub async fn put(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    labels: &[StoredLabel],
    now: DateTime<Utc>,
) -> sqlx::Result<()> {
    let ids: Vec<&str> = labels.iter().map(|l| l.prediction_id.as_str()).collect();
    let values: Vec<Option<f64>> = labels.iter().map(|l| l.value).collect();
    let classes: Vec<Option<&str>> = labels.iter().map(|l| l.class.as_deref()).collect();
    let observed: Vec<DateTime<Utc>> = labels.iter().map(|l| l.observed_at).collect();
    let batches: Vec<Uuid> = labels.iter().map(|l| l.batch_id.0).collect();
    sqlx::query!(
        r#"
        INSERT INTO label_revisions (project_id, model_id, prediction_id, value, class, observed_at,
                                     received_at, batch_id, replaced_at, replaced_by)
        SELECT l.project_id, l.model_id, l.prediction_id, l.value, l.class, l.observed_at, l.received_at,
               l.batch_id, $4, n.batch_id
        FROM labels l
        JOIN unnest($2::text[], $3::uuid[]) AS n (prediction_id, batch_id) USING (prediction_id)
        WHERE l.model_id = $1
        "#,
        model_id.0,
        &ids as &[&str],
        &batches,
        now
    )
    .execute(&mut *conn)
    .await?;
    sqlx::query!(
        r#"
        INSERT INTO labels (project_id, model_id, prediction_id, value, class, observed_at, received_at,
                            batch_id, joined)
        SELECT $1, $2, prediction_id, value, class, observed_at, $8, batch_id, false
        FROM unnest($3::text[], $4::float8[], $5::text[], $6::timestamptz[], $7::uuid[])
            AS n (prediction_id, value, class, observed_at, batch_id)
        ON CONFLICT (model_id, prediction_id) DO UPDATE
        SET value = EXCLUDED.value, class = EXCLUDED.class, observed_at = EXCLUDED.observed_at,
            received_at = EXCLUDED.received_at, batch_id = EXCLUDED.batch_id
        "#,
        project_id.0,
        model_id.0,
        &ids as &[&str],
        &values as &[Option<f64>],
        &classes as &[Option<&str>],
        &observed,
        &batches,
        now
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Keeps labels that arrived but are older than the ones in force, for the history.
pub async fn keep_revisions(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    outdated: &[StoredLabel],
    replaced_by: BatchId,
    received_at: DateTime<Utc>,
) -> sqlx::Result<()> {
    for label in outdated {
        sqlx::query!(
            r#"
            INSERT INTO label_revisions (project_id, model_id, prediction_id, value, class, observed_at,
                                         received_at, batch_id, replaced_at, replaced_by)
            VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $7, $9)
            "#,
            project_id.0,
            model_id.0,
            label.prediction_id,
            label.value,
            label.class,
            label.observed_at,
            received_at,
            label.batch_id.0,
            replaced_by.0
        )
        .execute(&mut *conn)
        .await?;
    }
    Ok(())
}

/// An outcome that was added or changed.
#[derive(Debug, Clone, PartialEq)]
pub struct Joined {
    pub version_id: VersionId,
    pub predicted_at: DateTime<Utc>,
    /// False when a correction replaced the label of an outcome that was there.
    pub is_new: bool,
}

/// Joins the labels of the given predictions with every prediction of theirs, of any version, whose event
/// time lies in `[from, to]` (which lets Postgres leave out the other partitions), and returns the outcomes
/// that were added or changed. Predictions that report an error have no outcome.
pub async fn join(
    conn: &mut PgConnection,
    model_id: ModelId,
    ids: &[String],
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<Joined>> {
    let mut joined = sqlx::query_as!(
        Joined,
        r#"
        UPDATE outcomes o
        SET label_value = l.value, label_class = l.class, observed_at = l.observed_at
        FROM labels l
        JOIN prediction_keys k ON k.model_id = l.model_id AND k.prediction_id = l.prediction_id
        WHERE l.model_id = $1 AND l.prediction_id = ANY($2)
          AND o.model_version_id = k.model_version_id AND o.prediction_id = k.prediction_id
          AND o.predicted_at = k.predicted_at AND o.predicted_at BETWEEN $3 AND $4
          AND (o.label_value, o.label_class, o.observed_at)
              IS DISTINCT FROM (l.value, l.class, l.observed_at)
        RETURNING o.model_version_id AS "version_id: VersionId", o.predicted_at, false AS "is_new!"
        "#,
        model_id.0,
        ids,
        from,
        to
    )
    .fetch_all(&mut *conn)
    .await?;
    let added = sqlx::query_as!(
        Joined,
        r#"
        INSERT INTO outcomes (project_id, model_id, model_version_id, predicted_at, prediction_id, segments,
                              predicted_value, predicted_class, score, probabilities, label_value, label_class,
                              observed_at)
        SELECT p.project_id, p.model_id, p.model_version_id, p.predicted_at, p.prediction_id, p.segments,
               p.value, p.class, p.score, p.probabilities, l.value, l.class, l.observed_at
        FROM labels l
        JOIN prediction_keys k ON k.model_id = l.model_id AND k.prediction_id = l.prediction_id
        JOIN predictions p ON p.model_version_id = k.model_version_id AND p.prediction_id = k.prediction_id
                          AND p.predicted_at = k.predicted_at
        WHERE l.model_id = $1 AND l.prediction_id = ANY($2) AND p.predicted_at BETWEEN $3 AND $4
          AND p.error IS NULL
        ON CONFLICT (model_version_id, predicted_at, prediction_id) DO NOTHING
        RETURNING model_version_id AS "version_id: VersionId", predicted_at, true AS "is_new!"
        "#,
        model_id.0,
        ids,
        from,
        to
    )
    .fetch_all(&mut *conn)
    .await?;
    joined.extend(added);
    sqlx::query!(
        r#"
        UPDATE labels
        SET joined = true
        WHERE model_id = $1 AND prediction_id = ANY($2) AND NOT joined
          AND EXISTS (
              SELECT FROM prediction_keys k
              WHERE k.model_id = labels.model_id AND k.prediction_id = labels.prediction_id
          )
        "#,
        model_id.0,
        ids
    )
    .execute(conn)
    .await?;
    Ok(joined)
}

/// One outcome, as quality is computed from it.
#[derive(Debug, Clone, PartialEq)]
pub struct Outcome {
    pub segments: Vec<String>,
    pub predicted_value: Option<f64>,
    pub predicted_class: Option<String>,
    pub score: Option<f64>,
    pub probabilities: Option<serde_json::Value>,
    pub label_value: Option<f64>,
    pub label_class: Option<String>,
}

/// The outcomes of a version whose predictions were made in `[from, to)`.
pub async fn outcomes(
    conn: &mut PgConnection,
    version_id: VersionId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<Outcome>> {
    sqlx::query_as!(
        Outcome,
        r#"
        SELECT segments, predicted_value, predicted_class, score, probabilities, label_value, label_class
        FROM outcomes
        WHERE model_version_id = $1 AND predicted_at >= $2 AND predicted_at < $3
        ORDER BY predicted_at, prediction_id
        "#,
        version_id.0,
        from,
        to
    )
    .fetch_all(conn)
    .await
}

/// Outcomes that two versions share, for a fair comparison: `(candidate's, champion's)` row by row.
pub async fn shared_outcomes(
    conn: &mut PgConnection,
    candidate: VersionId,
    champion: VersionId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Vec<(Outcome, Outcome)>> {
    let rows = sqlx::query!(
        r#"
        SELECT a.segments,
               a.predicted_value AS a_value, a.predicted_class AS a_class, a.score AS a_score,
               a.probabilities AS a_probabilities,
               b.predicted_value AS b_value, b.predicted_class AS b_class, b.score AS b_score,
               b.probabilities AS b_probabilities,
               a.label_value, a.label_class
        FROM outcomes a
        JOIN outcomes b ON b.prediction_id = a.prediction_id
        WHERE a.model_version_id = $1 AND b.model_version_id = $2
          AND a.predicted_at >= $3 AND a.predicted_at < $4
          AND b.predicted_at >= $3 AND b.predicted_at < $4
        ORDER BY a.predicted_at, a.prediction_id
        "#,
        candidate.0,
        champion.0,
        from,
        to
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let outcome = |value, class, score, probabilities| Outcome {
                segments: r.segments.clone(),
                predicted_value: value,
                predicted_class: class,
                score,
                probabilities,
                label_value: r.label_value,
                label_class: r.label_class.clone(),
            };
            (
                outcome(
                    r.a_value,
                    r.a_class.clone(),
                    r.a_score,
                    r.a_probabilities.clone(),
                ),
                outcome(
                    r.b_value,
                    r.b_class.clone(),
                    r.b_score,
                    r.b_probabilities.clone(),
                ),
            )
        })
        .collect())
}

/// Puts every row's segment values into another order: `places` has, for each segment, its place so far, from
/// 1, or nothing where it is new and has no values.
pub async fn reorder_segments(
    conn: &mut PgConnection,
    model_id: ModelId,
    places: &[Option<i32>],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE outcomes
        SET segments = ARRAY(
            SELECT COALESCE(segments[place], '')
            FROM unnest($2::int[]) WITH ORDINALITY AS n (place, position)
            ORDER BY position
        )
        WHERE model_id = $1
        "#,
        model_id.0,
        places as &[Option<i32>]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A label as stored.
#[must_use]
pub fn stored(
    prediction_id: String,
    label: LabelValue,
    observed_at: DateTime<Utc>,
    batch_id: BatchId,
) -> StoredLabel {
    let (value, class) = match label {
        LabelValue::Number(value) => (Some(value), None),
        LabelValue::Class(class) => (None, Some(class)),
    };
    StoredLabel {
        prediction_id,
        value,
        class,
        observed_at,
        batch_id,
    }
}
