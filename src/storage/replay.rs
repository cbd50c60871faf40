//! How far a service on the replay clock has come.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;

/// The instant reached, if this database has been replayed into before.
pub async fn reached(conn: &mut PgConnection) -> sqlx::Result<Option<DateTime<Utc>>> {
    sqlx::query_scalar!("SELECT reached_at FROM replay_clock")
        .fetch_optional(conn)
        .await
}

/// Records the instant reached; never moves back.
pub async fn reach(conn: &mut PgConnection, at: DateTime<Utc>) -> sqlx::Result<()> {
    sqlx::query!(
        r#"
        INSERT INTO replay_clock (singleton, reached_at)
        VALUES (true, $1)
        ON CONFLICT (singleton) DO UPDATE
        SET reached_at = GREATEST(replay_clock.reached_at, EXCLUDED.reached_at)
        "#,
        at
    )
    .execute(conn)
    .await?;
    Ok(())
}
