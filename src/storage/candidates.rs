//! Lists of what became of candidates: the verdicts on them and the promotions, over all models of a project.
//! Written by the statements in [`super::runs`]; here they are only read, together with the names people know.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use crate::domain::ids::{ProjectId, PromotionId, RunId};

/// A delivered candidate, a verdict, or both: a rollback is judged without a delivery.
#[derive(Debug, Clone, PartialEq)]
pub struct JudgedCandidate {
    pub model: String,
    pub version: String,
    pub run_id: RunId,
    pub delivered_at: Option<DateTime<Utc>>,
    pub champion: Option<String>,
    pub verdict: Option<String>,
    pub reason: Option<String>,
    pub comparisons: Option<serde_json::Value>,
    pub window_from: Option<DateTime<Utc>>,
    pub window_to: Option<DateTime<Utc>>,
    pub decided_at: Option<DateTime<Utc>>,
}

/// The candidates of a project, newest first.
pub async fn list(
    conn: &mut PgConnection,
    project_id: ProjectId,
    limit: i64,
) -> sqlx::Result<Vec<JudgedCandidate>> {
    sqlx::query_as!(
        JudgedCandidate,
        r#"
        WITH delivered AS (
            SELECT model_id, run_id, model_version_id, delivered_at
            FROM candidates
            WHERE project_id = $1
        ),
        judged AS (
            SELECT model_id, run_id, candidate_version_id AS model_version_id, champion_version_id, verdict,
                   reason, comparisons, window_from, window_to, decided_at
            FROM gate_results
            WHERE project_id = $1
        )
        SELECT m.name AS model, v.name AS version, run_id AS "run_id!: RunId", d.delivered_at AS "delivered_at?",
               champion.name AS "champion?", j.verdict AS "verdict?", j.reason AS "reason?",
               j.comparisons AS "comparisons?", j.window_from AS "window_from?", j.window_to AS "window_to?",
               j.decided_at AS "decided_at?"
        FROM delivered d
        FULL JOIN judged j USING (model_id, run_id, model_version_id)
        JOIN models m USING (model_id)
        JOIN model_versions v USING (model_version_id)
        LEFT JOIN model_versions champion ON champion.model_version_id = j.champion_version_id
        ORDER BY COALESCE(d.delivered_at, j.decided_at) DESC, run_id DESC, j.decided_at DESC
        LIMIT $2
        "#,
        project_id.0,
        limit
    )
    .fetch_all(conn)
    .await
}

/// A promotion with the names of what it changed.
#[derive(Debug, Clone, PartialEq)]
pub struct ListedPromotion {
    pub promotion_id: PromotionId,
    pub model: String,
    pub run_id: Option<RunId>,
    pub environment: String,
    pub from_version: Option<String>,
    pub to_version: String,
    pub promoted_at: DateTime<Utc>,
    pub promoted_by: String,
    pub reason: String,
}

/// The promotions of a project, newest first.
pub async fn promotions(
    conn: &mut PgConnection,
    project_id: ProjectId,
    limit: i64,
) -> sqlx::Result<Vec<ListedPromotion>> {
    sqlx::query_as!(
        ListedPromotion,
        r#"
        SELECT p.promotion_id AS "promotion_id: PromotionId", m.name AS model, p.run_id AS "run_id: RunId",
               p.environment, former.name AS "from_version?", present.name AS to_version, p.promoted_at,
               p.promoted_by, p.reason
        FROM promotions p
        JOIN models m ON m.model_id = p.model_id
        LEFT JOIN model_versions former ON former.model_version_id = p.from_version_id
        JOIN model_versions present ON present.model_version_id = p.to_version_id
        WHERE p.project_id = $1
        ORDER BY p.promoted_at DESC, p.promotion_id DESC
        LIMIT $2
        "#,
        project_id.0,
        limit
    )
    .fetch_all(conn)
    .await
}
