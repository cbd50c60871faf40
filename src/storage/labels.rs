//! Labels, their corrections, and outcomes: predictions together with their labels.

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sqlx::PgConnection;
use uuid::Uuid;

use super::windows;
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

/// As [`revisions`], of those that were observed at one of these times.
pub async fn revisions_observed_at(
    conn: &mut PgConnection,
    model_id: ModelId,
    ids: &[String],
    times: &[DateTime<Utc>],
) -> sqlx::Result<Vec<StoredLabel>> {
    sqlx::query_as!(
        StoredLabel,
        r#"
        SELECT r.prediction_id, value, class, r.observed_at, batch_id AS "batch_id: BatchId"
        FROM (SELECT DISTINCT * FROM unnest($2::text[], $3::timestamptz[]) AS l (prediction_id, observed_at)) AS l
        JOIN label_revisions r ON r.model_id = $1 AND r.prediction_id = l.prediction_id
                                  AND r.observed_at = l.observed_at
        "#,
        model_id.0,
        ids,
        times
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
            received_at = EXCLUDED.received_at, batch_id = EXCLUDED.batch_id, expired_at = NULL
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
    if outdated.is_empty() {
        return Ok(());
    }
    let ids: Vec<String> = outdated.iter().map(|l| l.prediction_id.clone()).collect();
    let values: Vec<Option<f64>> = outdated.iter().map(|label| label.value).collect();
    let classes: Vec<Option<String>> = outdated.iter().map(|l| l.class.clone()).collect();
    let observed: Vec<DateTime<Utc>> = outdated.iter().map(|l| l.observed_at).collect();
    let batches: Vec<Uuid> = outdated.iter().map(|label| label.batch_id.0).collect();
    sqlx::query!(
        r#"
        INSERT INTO label_revisions (project_id, model_id, prediction_id, value, class, observed_at,
                                     received_at, batch_id, replaced_at, replaced_by)
        SELECT $1, $2, prediction_id, value, class, observed_at, $8, batch_id, $8, $9
        FROM unnest($3::text[], $4::float8[], $5::text[], $6::timestamptz[], $7::uuid[])
             AS l (prediction_id, value, class, observed_at, batch_id)
        "#,
        project_id.0,
        model_id.0,
        &ids,
        &values as &[Option<f64>],
        &classes as &[Option<String>],
        &observed,
        &batches,
        received_at,
        replaced_by.0
    )
    .execute(conn)
    .await?;
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

/// A prediction together with the label in force of it.
#[derive(Debug, Clone, PartialEq)]
pub struct NewOutcome {
    pub version_id: VersionId,
    pub predicted_at: DateTime<Utc>,
    pub label: StoredLabel,
    /// In the order of the model's segments.
    pub segments: Vec<String>,
    pub predicted_value: Option<f64>,
    pub predicted_class: Option<String>,
    pub score: Option<f64>,
    pub probabilities: Option<serde_json::Value>,
}

/// Whether the model has any label, so that looking for those of new predictions is worth it.
pub async fn any(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<bool> {
    let any = sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM labels WHERE model_id = $1) AS "any!""#,
        model_id.0
    )
    .fetch_one(conn)
    .await?;
    Ok(any)
}

/// Adds outcomes, or puts another label into those that are there, and returns which were added or changed.
pub async fn put_outcomes(
    conn: &mut PgConnection,
    project_id: ProjectId,
    model_id: ModelId,
    outcomes: &[NewOutcome],
) -> sqlx::Result<Vec<Joined>> {
    if outcomes.is_empty() {
        return Ok(Vec::new());
    }
    let versions: Vec<Uuid> = outcomes.iter().map(|o| o.version_id.0).collect();
    let times: Vec<DateTime<Utc>> = outcomes.iter().map(|o| o.predicted_at).collect();
    let ids: Vec<&str> = (outcomes.iter())
        .map(|o| o.label.prediction_id.as_str())
        .collect();
    // A JSON array of segment values per row: Postgres cannot unnest an array of arrays.
    let segments: Vec<serde_json::Value> = (outcomes.iter())
        .map(|o| serde_json::json!(o.segments))
        .collect();
    let values: Vec<Option<f64>> = outcomes.iter().map(|o| o.predicted_value).collect();
    let classes: Vec<Option<&str>> = (outcomes.iter())
        .map(|o| o.predicted_class.as_deref())
        .collect();
    let scores: Vec<Option<f64>> = outcomes.iter().map(|o| o.score).collect();
    let probabilities: Vec<Option<serde_json::Value>> =
        outcomes.iter().map(|o| o.probabilities.clone()).collect();
    let label_values: Vec<Option<f64>> = outcomes.iter().map(|o| o.label.value).collect();
    let label_classes: Vec<Option<&str>> = (outcomes.iter())
        .map(|o| o.label.class.as_deref())
        .collect();
    let observed: Vec<DateTime<Utc>> = outcomes.iter().map(|o| o.label.observed_at).collect();
    sqlx::query_as!(
        Joined,
        r#"
        WITH n AS (
            SELECT *
            FROM unnest($3::uuid[], $4::timestamptz[], $5::text[], $6::jsonb[], $7::float8[], $8::text[],
                        $9::float8[], $10::jsonb[], $11::float8[], $12::text[], $13::timestamptz[])
                AS n (model_version_id, predicted_at, prediction_id, segments, predicted_value,
                      predicted_class, score, probabilities, label_value, label_class, observed_at)
        ), known AS (
            SELECT model_version_id, predicted_at, prediction_id
            FROM outcomes
            JOIN n USING (model_version_id, predicted_at, prediction_id)
        )
        INSERT INTO outcomes AS o
            (project_id, model_id, model_version_id, predicted_at, prediction_id, segments, predicted_value,
             predicted_class, score, probabilities, label_value, label_class, observed_at)
        SELECT $1, $2, model_version_id, predicted_at, prediction_id,
               ARRAY(SELECT jsonb_array_elements_text(segments)), predicted_value, predicted_class, score,
               probabilities, label_value, label_class, observed_at
        FROM n
        ON CONFLICT (model_version_id, predicted_at, prediction_id) DO UPDATE
        SET label_value = EXCLUDED.label_value, label_class = EXCLUDED.label_class,
            observed_at = EXCLUDED.observed_at
        WHERE (o.label_value, o.label_class, o.observed_at)
              IS DISTINCT FROM (EXCLUDED.label_value, EXCLUDED.label_class, EXCLUDED.observed_at)
        RETURNING model_version_id AS "version_id: VersionId", predicted_at,
                  NOT EXISTS (
                      SELECT FROM known
                      WHERE known.model_version_id = o.model_version_id
                        AND known.predicted_at = o.predicted_at
                        AND known.prediction_id = o.prediction_id
                  ) AS "is_new!"
        "#,
        project_id.0,
        model_id.0,
        &versions,
        &times,
        &ids as &[&str],
        &segments,
        &values as &[Option<f64>],
        &classes as &[Option<&str>],
        &scores as &[Option<f64>],
        &probabilities as &[Option<serde_json::Value>],
        &label_values as &[Option<f64>],
        &label_classes as &[Option<&str>],
        &observed
    )
    .fetch_all(conn)
    .await
}

/// Notes that the predictions of these labels are there.
pub async fn mark_joined(
    conn: &mut PgConnection,
    model_id: ModelId,
    ids: &[&str],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE labels
        SET joined = true, expired_at = NULL
        WHERE model_id = $1 AND prediction_id = ANY($2) AND NOT joined
        "#,
        model_id.0,
        ids as &[&str]
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// Labels of a model whose prediction is unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Orphans {
    pub waiting: i64,
    /// Those that have waited for so long that they were given up.
    pub expired: i64,
}

/// Counts the labels in force whose prediction is unknown.
pub async fn orphans(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Orphans> {
    sqlx::query_as!(
        Orphans,
        r#"
        SELECT COUNT(*) FILTER (WHERE expired_at IS NULL) AS "waiting!", COUNT(expired_at) AS "expired!"
        FROM labels
        WHERE model_id = $1 AND NOT joined
        "#,
        model_id.0
    )
    .fetch_one(conn)
    .await
}

/// Marks labels as given up that came before `received_before` and have no prediction yet, the oldest first and
/// `limit` at most; returns how many. Labels that somebody is just joining are left to them.
pub async fn expire(
    conn: &mut PgConnection,
    received_before: DateTime<Utc>,
    limit: i64,
    now: DateTime<Utc>,
) -> sqlx::Result<u64> {
    let result = sqlx::query!(
        r#"
        UPDATE labels l
        SET expired_at = $3
        FROM (
            SELECT model_id, prediction_id
            FROM labels
            WHERE NOT joined AND expired_at IS NULL AND received_at < $1
            ORDER BY received_at
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        ) AS old
        WHERE l.model_id = old.model_id AND l.prediction_id = old.prediction_id
        "#,
        received_before,
        limit,
        now
    )
    .execute(conn)
    .await?;
    Ok(result.rows_affected())
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
    pub predicted_at: DateTime<Utc>,
    /// Time from the prediction to the label, in seconds.
    pub lag_seconds: f64,
}

/// From about how many outcomes on a share of them stands for all: they are in memory together, some 200 bytes each.
pub const MOST_OUTCOMES: u64 = 1_000_000;

/// The outcomes of a span of time, or a share of them.
#[derive(Debug, Clone)]
pub struct Outcomes {
    /// In the order of their predictions.
    pub rows: Vec<Outcome>,
    /// How many there are.
    pub seen: u64,
    /// One in so many is among the rows, whichever their ids say: the same ones every time.
    pub one_in: u64,
}

/// The outcomes of a version whose predictions were made in `[from, to)`; of very many, a share.
pub async fn outcomes(
    conn: &mut PgConnection,
    version_id: VersionId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
) -> sqlx::Result<Outcomes> {
    thinned_outcomes(conn, version_id, (from, to), MOST_OUTCOMES).await
}

/// [`outcomes`], where from about `most` on a share stands for all.
pub async fn thinned_outcomes(
    conn: &mut PgConnection,
    version_id: VersionId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    most: u64,
) -> sqlx::Result<Outcomes> {
    let totals = windows::totals(conn, version_id, from, to).await?;
    let known = u64::try_from(totals.labels).unwrap_or(0);
    let one_in = known.div_ceil(most).max(1);
    let rows = sqlx::query_as!(
        Outcome,
        r#"
        SELECT segments, predicted_value, predicted_class, score, probabilities, label_value, label_class,
               predicted_at, EXTRACT(EPOCH FROM observed_at - predicted_at)::float8 AS "lag_seconds!"
        FROM outcomes
        WHERE model_version_id = $1 AND predicted_at >= $2 AND predicted_at < $3
          AND ($4::bigint = 1 OR (hashtextextended(prediction_id, 0) & 9223372036854775807) % $4 = 0)
        ORDER BY predicted_at, prediction_id
        "#,
        version_id.0,
        from,
        to,
        super::intake::count(one_in)
    )
    .fetch_all(&mut *conn)
    .await?;
    let seen = if one_in == 1 {
        rows.len() as u64
    } else {
        let seen = sqlx::query_scalar!(
            r#"
            SELECT COUNT(*) AS "seen!"
            FROM outcomes
            WHERE model_version_id = $1 AND predicted_at >= $2 AND predicted_at < $3
            "#,
            version_id.0,
            from,
            to
        );
        u64::try_from(seen.fetch_one(conn).await?).unwrap_or(0)
    };
    Ok(Outcomes { rows, seen, one_in })
}

/// Calls with each outcome of a version whose predictions were made in `[from, to)`, in no order.
pub async fn each_outcome(
    conn: &mut PgConnection,
    version_id: VersionId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    mut outcome: impl FnMut(Outcome),
) -> sqlx::Result<()> {
    let mut rows = sqlx::query_as!(
        Outcome,
        r#"
        SELECT segments, predicted_value, predicted_class, score, probabilities, label_value, label_class,
               predicted_at, EXTRACT(EPOCH FROM observed_at - predicted_at)::float8 AS "lag_seconds!"
        FROM outcomes
        WHERE model_version_id = $1 AND predicted_at >= $2 AND predicted_at < $3
        "#,
        version_id.0,
        from,
        to
    )
    .fetch(conn);
    while let Some(row) = rows.try_next().await? {
        outcome(row);
    }
    Ok(())
}

/// An outcome, and which prediction it is of.
#[derive(Debug, Clone, PartialEq)]
pub struct SampledOutcome {
    pub prediction_id: String,
    pub outcome: Outcome,
    /// The outcomes it was drawn from.
    pub seen: i64,
}

/// At most `most` outcomes of a version whose predictions were made in `[from, to)`, evenly spread over them in the order of
/// time.
pub async fn sampled_outcomes(
    conn: &mut PgConnection,
    version_id: VersionId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
    most: i64,
) -> sqlx::Result<Vec<SampledOutcome>> {
    let rows = sqlx::query!(
        r#"
        SELECT prediction_id AS "prediction_id!", segments AS "segments!", predicted_value, predicted_class, score,
               probabilities, label_value, label_class, predicted_at AS "predicted_at!",
               EXTRACT(EPOCH FROM observed_at - predicted_at)::float8 AS "lag_seconds!", seen AS "seen!"
        FROM (
            SELECT *, row_number() OVER (ORDER BY predicted_at, prediction_id) - 1 AS place, COUNT(*) OVER () AS seen
            FROM outcomes
            WHERE model_version_id = $1 AND predicted_at >= $2 AND predicted_at < $3
        ) o
        WHERE seen <= $4 OR (place + 1) * $4 / seen <> place * $4 / seen
        ORDER BY predicted_at, prediction_id
        "#,
        version_id.0,
        from,
        to,
        most
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| SampledOutcome {
            prediction_id: r.prediction_id,
            outcome: Outcome {
                segments: r.segments,
                predicted_value: r.predicted_value,
                predicted_class: r.predicted_class,
                score: r.score,
                probabilities: r.probabilities,
                label_value: r.label_value,
                label_class: r.label_class,
                predicted_at: r.predicted_at,
                lag_seconds: r.lag_seconds,
            },
            seen: r.seen,
        })
        .collect())
}

/// A label of an outcome before it was corrected.
#[derive(Debug, Clone, PartialEq)]
pub struct EarlierLabel {
    pub prediction_id: String,
    pub value: Option<f64>,
    pub class: Option<String>,
    /// Time from the prediction to this label, in seconds.
    pub lag_seconds: f64,
}

/// The labels that outcomes of a version had before those in force, of predictions made in `[from, to)`; in the order in which
/// they were observed.
pub async fn earlier(
    conn: &mut PgConnection,
    version_id: VersionId,
    (from, to): (DateTime<Utc>, DateTime<Utc>),
) -> sqlx::Result<Vec<EarlierLabel>> {
    sqlx::query_as!(
        EarlierLabel,
        r#"
        SELECT r.prediction_id, r.value, r.class,
               EXTRACT(EPOCH FROM r.observed_at - o.predicted_at)::float8 AS "lag_seconds!"
        FROM outcomes o
        JOIN label_revisions r ON r.model_id = o.model_id AND r.prediction_id = o.prediction_id
        WHERE o.model_version_id = $1 AND o.predicted_at >= $2 AND o.predicted_at < $3
          AND r.observed_at < o.observed_at
        ORDER BY r.prediction_id, r.observed_at, r.received_at
        "#,
        version_id.0,
        from,
        to
    )
    .fetch_all(conn)
    .await
}

/// The outcomes of these predictions of a version, made in `[from, to)`, with their ids.
pub async fn outcomes_of(
    conn: &mut PgConnection,
    (version_id, from, to): (VersionId, DateTime<Utc>, DateTime<Utc>),
    ids: &[&str],
) -> sqlx::Result<Vec<(String, Outcome)>> {
    let rows = sqlx::query!(
        r#"
        SELECT prediction_id, segments, predicted_value, predicted_class, score, probabilities, label_value,
               label_class, predicted_at, EXTRACT(EPOCH FROM observed_at - predicted_at)::float8 AS "lag_seconds!"
        FROM outcomes
        WHERE model_version_id = $1 AND predicted_at >= $2 AND predicted_at < $3 AND prediction_id = ANY($4)
        "#,
        version_id.0,
        from,
        to,
        ids as &[&str]
    )
    .fetch_all(conn)
    .await?;
    Ok(rows
        .into_iter()
        .map(|r| {
            let outcome = Outcome {
                segments: r.segments,
                predicted_value: r.predicted_value,
                predicted_class: r.predicted_class,
                score: r.score,
                probabilities: r.probabilities,
                label_value: r.label_value,
                label_class: r.label_class,
                predicted_at: r.predicted_at,
                lag_seconds: r.lag_seconds,
            };
            (r.prediction_id, outcome)
        })
        .collect())
}

/// When the newest prediction of a version that has a label was made.
pub async fn newest_outcome(
    conn: &mut PgConnection,
    version_id: VersionId,
) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!(
        "SELECT MAX(predicted_at) FROM outcomes WHERE model_version_id = $1",
        version_id.0
    )
    .fetch_one(conn)
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
               a.label_value, a.label_class, a.predicted_at,
               EXTRACT(EPOCH FROM a.observed_at - a.predicted_at)::float8 AS "lag_seconds!"
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
                predicted_at: r.predicted_at,
                lag_seconds: r.lag_seconds,
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

/// Gives outcomes of a version in `[from, to)` the values they have of the segments declared now.
pub async fn put_segments(
    conn: &mut PgConnection,
    version_id: VersionId,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    ids: &[&str],
    segments: &[serde_json::Value],
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        UPDATE outcomes o
        SET segments = ARRAY(SELECT jsonb_array_elements_text(n.segments))
        FROM unnest($4::text[], $5::jsonb[]) AS n (prediction_id, segments)
        WHERE o.model_version_id = $1 AND o.predicted_at >= $2 AND o.predicted_at < $3
          AND o.prediction_id = n.prediction_id
          AND o.segments IS DISTINCT FROM ARRAY(SELECT jsonb_array_elements_text(n.segments))
        "#,
        version_id.0,
        from,
        to,
        ids as &[&str],
        segments
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
