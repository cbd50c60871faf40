//! Proposed changes of schemas, and the versions that came of them.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use sqlx::types::Json;

use crate::domain::ids::{ModelId, ProjectId, ProposalId};
use crate::domain::proposal::{FeatureChange, Origin, ProposalState};

/// A proposal as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    pub proposal_id: ProposalId,
    pub model_id: ModelId,
    pub origin: Origin,
    /// Where it comes from, in words.
    pub source: String,
    pub reason: String,
    /// The version of the schema that was in force; 0 for none.
    pub base_version: i32,
    pub changes: Json<Vec<FeatureChange>>,
    /// What an import did not carry over.
    pub notes: Vec<String>,
    pub state: ProposalState,
    pub proposed_at: DateTime<Utc>,
    pub proposed_by: String,
    pub decided_at: Option<DateTime<Utc>>,
    pub decided_by: Option<String>,
    pub decision_reason: Option<String>,
    /// The version of the schema that it became.
    pub accepted_version: Option<i32>,
}

/// Adds a proposal.
pub async fn insert(
    conn: &mut PgConnection,
    project_id: ProjectId,
    proposal: &Proposal,
) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO schema_proposals (proposal_id, project_id, model_id, origin, source, reason, base_version, changes,
                                      notes, state, proposed_at, proposed_by, decided_at, decided_by,
                                      decision_reason, accepted_version)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
        "#,
        proposal.proposal_id.0,
        project_id.0,
        proposal.model_id.0,
        proposal.origin as Origin,
        proposal.source,
        proposal.reason,
        proposal.base_version,
        &proposal.changes as _,
        &proposal.notes,
        proposal.state as ProposalState,
        proposal.proposed_at,
        proposal.proposed_by,
        proposal.decided_at,
        proposal.decided_by.as_deref(),
        proposal.decision_reason.as_deref(),
        proposal.accepted_version
    )
    .execute(conn)
    .await?;
    Ok(())
}

/// A checked query of whole proposals, of which only the end differs.
macro_rules! proposal_query {
    ($tail:literal, $($args:expr),* $(,)?) => {
        sqlx::query_as!(
            Proposal,
            r#"
            SELECT proposal_id AS "proposal_id: ProposalId", model_id AS "model_id: ModelId", origin AS "origin: Origin",
                   source, reason, base_version, changes AS "changes: Json<Vec<FeatureChange>>", notes,
                   state AS "state: ProposalState", proposed_at, proposed_by, decided_at, decided_by, decision_reason,
                   accepted_version
            FROM schema_proposals
            "# + $tail,
            $($args),*
        )
    };
}

/// A proposal of a project.
pub async fn get(
    conn: &mut PgConnection,
    project_id: ProjectId,
    proposal_id: ProposalId,
) -> sqlx::Result<Option<Proposal>> {
    proposal_query!(
        "WHERE project_id = $1 AND proposal_id = $2",
        project_id.0,
        proposal_id.0
    )
    .fetch_optional(conn)
    .await
}

/// The proposals of a model, open ones first, then newest first.
pub async fn of_model(
    conn: &mut PgConnection,
    model_id: ModelId,
    limit: i64,
) -> sqlx::Result<Vec<Proposal>> {
    proposal_query!(
        "WHERE model_id = $1 ORDER BY state = 'proposed' DESC, state = 'accepting' DESC, proposed_at DESC, proposal_id DESC LIMIT $2",
        model_id.0,
        limit
    )
    .fetch_all(conn)
    .await
}

/// How a proposal ends.
#[derive(Debug, Clone, Copy)]
pub struct Ending<'a> {
    pub state: ProposalState,
    pub by: &'a str,
    pub reason: &'a str,
    pub at: DateTime<Utc>,
    /// The version of the schema that it became, where it was accepted.
    pub version: Option<i32>,
}

/// Ends a proposal that is open or being put into force; returns whether it was.
pub async fn end(
    conn: &mut PgConnection,
    proposal_id: ProposalId,
    ending: Ending<'_>,
) -> sqlx::Result<bool> {
    let ended = sqlx::query!(
        r#"
        UPDATE schema_proposals
        SET state = $2, decided_by = $3, decision_reason = $4, decided_at = $5, accepted_version = $6
        WHERE proposal_id = $1 AND state IN ('proposed', 'accepting')
        "#,
        proposal_id.0,
        ending.state as ProposalState,
        ending.by,
        ending.reason,
        ending.at,
        ending.version
    )
    .execute(conn)
    .await?;
    Ok(ended.rows_affected() == 1)
}

/// The proposals that are accepted and not in force yet, in the order of the decisions.
pub async fn accepting(conn: &mut PgConnection) -> sqlx::Result<Vec<(ProjectId, ProposalId)>> {
    let found = sqlx::query!(
        r#"
        SELECT project_id, proposal_id
        FROM schema_proposals
        WHERE state = 'accepting'
        ORDER BY decided_at, proposal_id
        "#
    )
    .fetch_all(conn)
    .await?;
    let of = |project_id, proposal_id| (ProjectId(project_id), ProposalId(proposal_id));
    Ok(found
        .into_iter()
        .map(|found| of(found.project_id, found.proposal_id))
        .collect())
}

/// How many proposals of a model wait for a decision.
pub async fn open_count(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<i64> {
    sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!" FROM schema_proposals WHERE model_id = $1 AND state = 'proposed'"#,
        model_id.0
    )
    .fetch_one(conn)
    .await
}

/// A version of a schema that is or was in force.
#[derive(Debug, Clone, PartialEq)]
pub struct SchemaVersion {
    pub version: i32,
    pub source: String,
    pub created_at: DateTime<Utc>,
    pub created_by: String,
    pub features: i64,
    /// What it came of; nothing for versions of before there were proposals.
    pub proposal_id: Option<ProposalId>,
}

/// The versions of a model's schema, newest first.
pub async fn versions(
    conn: &mut PgConnection,
    model_id: ModelId,
    limit: i64,
) -> sqlx::Result<Vec<SchemaVersion>> {
    sqlx::query_as!(
        SchemaVersion,
        r#"
        SELECT s.version, s.source, s.created_at, s.created_by,
               (SELECT COUNT(*) FROM schema_features f WHERE f.schema_id = s.schema_id) AS "features!",
               p.proposal_id AS "proposal_id?: ProposalId"
        FROM schemas s
        LEFT JOIN schema_proposals p ON p.model_id = s.model_id AND p.accepted_version = s.version
        WHERE s.model_id = $1
        ORDER BY s.version DESC
        LIMIT $2
        "#,
        model_id.0,
        limit
    )
    .fetch_all(conn)
    .await
}
