//! How long a sender waits for the database: as long as the pool it was given waits for a connection, and not
//! once for each of the steps. A database that takes connections and never answers would otherwise hold every
//! request that reached it, and with the requests their memory.
//!
//! What was given up is cancelled. Its connection is dropped with it or tested when it returns to the pool;
//! the idle ones are thrown away at once, because those of a database that stopped answering are likely to be
//! just as dead, and each would cost another request its whole wait.

use std::time::Duration;

use sqlx::PgPool;

use super::Error;

/// When a sender who met a database that does not answer should try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// How long work with this pool may take. A little less than the pool waits for a connection, so that idle
/// connections are thrown away also when it was the pool's own test of one that got no answer.
pub(super) fn patience(pool: &PgPool) -> Duration {
    pool.options().get_acquire_timeout().mul_f64(0.9)
}

/// What `work` came to, if the database answered in time.
///
/// # Errors
/// Unavailable when it did not.
pub async fn answered<W: Future>(pool: &PgPool, work: W) -> Result<W::Output, Error> {
    match tokio::time::timeout(patience(pool), work).await {
        Ok(outcome) => Ok(outcome),
        Err(_) => {
            discard_idle(pool);
            Err(Error::unavailable(
                RETRY_AFTER,
                "the database does not answer in time; nothing was kept, send it again",
            ))
        }
    }
}

/// Drops the connections nobody uses, without a word to the server.
pub(super) fn discard_idle(pool: &PgPool) {
    while let Some(conn) = pool.try_acquire() {
        drop(conn.detach());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sqlx::postgres::{PgConnectOptions, PgPoolOptions};

    #[sqlx::test]
    async fn work_that_hangs_is_given_up_and_the_pool_works_on(
        _: PgPoolOptions,
        to: PgConnectOptions,
    ) {
        let pool = PgPoolOptions::new()
            .max_connections(2)
            .acquire_timeout(Duration::from_millis(200))
            .connect_lazy_with(to);
        let hanging = answered(&pool, sqlx::query("SELECT pg_sleep(60)").execute(&pool)).await;
        let error = hanging.expect_err("given up");
        assert!(matches!(error, Error::Unavailable { .. }), "{error:?}");
        // The second connection answers, whatever became of the first.
        let mut conn = pool.acquire().await.expect("a connection");
        let one: i32 = sqlx::query_scalar("SELECT 1")
            .fetch_one(&mut *conn)
            .await
            .expect("an answer");
        assert_eq!(one, 1);
    }
}
