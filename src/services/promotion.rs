//! Changing a model's champion: roles move, and who did it and why is recorded in the same transaction.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use super::Error;
use super::registry::{self, PRODUCTION};
use crate::domain::ids::{PromotionId, RunId, VersionId};
use crate::domain::model::Role;
use crate::storage::models::{self, Model};
use crate::storage::runs::{self, Promotion};

/// What is promoted, by whom and why.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    pub version_id: VersionId,
    pub run_id: Option<RunId>,
    pub by: &'a str,
    pub reason: &'a str,
}

/// Makes a version the champion; the one it replaces becomes a shadow, so that there is a way back.
///
/// # Errors
/// Conflict when the version is the champion already or does not belong to the model.
pub async fn promote(
    conn: &mut PgConnection,
    model: &Model,
    order: Order<'_>,
    now: DateTime<Utc>,
) -> Result<Promotion, Error> {
    models::lock(conn, model.model_id).await?;
    let versions = models::versions(conn, model.model_id).await?;
    let Some(to) = versions.iter().find(|v| v.version_id == order.version_id) else {
        return Err(Error::Conflict(format!(
            "the version is not one of model {:?}",
            model.name
        )));
    };
    let champion = registry::champion(conn, model).await?;
    if champion
        .as_ref()
        .is_some_and(|c| c.version_id == to.version_id)
    {
        return Err(Error::Conflict(format!(
            "{} is the champion already",
            to.name
        )));
    }
    if let Some(champion) = &champion {
        models::deploy(
            conn,
            model,
            champion.version_id,
            PRODUCTION,
            Role::Shadow,
            0.0,
            now,
        )
        .await?;
    }
    models::deploy(
        conn,
        model,
        to.version_id,
        PRODUCTION,
        Role::Champion,
        1.0,
        now,
    )
    .await?;
    let promotion = Promotion {
        promotion_id: PromotionId::new(now),
        run_id: order.run_id,
        environment: PRODUCTION.to_owned(),
        from_version: champion.as_ref().map(|c| c.version_id),
        from_name: champion.map(|c| c.version),
        to_version: to.version_id,
        to_name: to.name.clone(),
        promoted_at: now,
        promoted_by: order.by.to_owned(),
        reason: order.reason.to_owned(),
    };
    runs::insert_promotion(conn, model.project_id, model.model_id, &promotion).await?;
    let object = format!("{}/{}", model.name, to.name);
    registry::record(
        conn,
        model.project_id,
        order.by,
        "version.promote",
        ("version", &object),
        now,
    )
    .await?;
    Ok(promotion)
}
