//! Whether an acknowledged commit survives a crash on this server.

use sqlx::PgConnection;

/// The settings an acknowledgement rests on, as the server has them for this session.
#[derive(Debug, Clone, PartialEq, Eq, sqlx::FromRow)]
pub struct Durability {
    fsync: String,
    synchronous_commit: String,
    full_page_writes: String,
}

impl Durability {
    /// Asks the server.
    ///
    /// # Errors
    /// When the query fails.
    pub async fn check(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        sqlx::query_as(
            "SELECT
                current_setting('fsync') AS fsync,
                current_setting('synchronous_commit') AS synchronous_commit,
                current_setting('full_page_writes') AS full_page_writes",
        )
        .fetch_one(connection)
        .await
    }

    /// The settings that are off. While there is one, an acknowledged batch can be lost in a crash. The weaker forms of
    /// `synchronous_commit` still wait for the disk of this server, and count as on.
    #[must_use]
    pub fn switched_off(&self) -> Vec<&'static str> {
        [
            ("fsync", &self.fsync),
            ("synchronous_commit", &self.synchronous_commit),
            ("full_page_writes", &self.full_page_writes),
        ]
        .into_iter()
        .filter(|(_, value)| *value == "off")
        .map(|(name, _)| name)
        .collect()
    }

    /// Whether an acknowledgement is durable.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.switched_off().is_empty()
    }
}
