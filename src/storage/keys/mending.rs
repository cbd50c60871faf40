//! Keys whose pages are damaged, taken out so that they can be read from the chunks again.

use sqlx::PgConnection;

use super::removal::{drop_empty, rewrite};
use super::{Damaged, PAGES, listed, page, stored_pages};
use crate::domain::ids::ModelId;
use crate::storage::intake;

/// Hashes of which keys are lost: from the first to the second, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost(i64, i64);

impl Lost {
    /// Whether keys with this hash may be lost.
    #[must_use]
    pub fn has(&self, hash: i64) -> bool {
        (self.0..=self.1).contains(&hash)
    }
}

/// Whether an error, or what it was caused by, says that keys are damaged.
#[must_use]
pub fn is_damage(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| {
        let inside = error.downcast_ref::<sqlx::Error>();
        error.is::<Damaged>()
            || matches!(inside, Some(sqlx::Error::Decode(cause)) if cause.is::<Damaged>())
    })
}

/// Takes the damaged pages of a model out and says which hashes they had. The caller holds the runs ([`super::hold`]) and the
/// model's lock, and stores what was lost as a run of its own.
pub async fn take_damaged(conn: &mut PgConnection, model_id: ModelId) -> sqlx::Result<Vec<Lost>> {
    let mut lost = Vec::new();
    for run in listed(conn, model_id).await? {
        let survey = survey(conn, model_id, run.run).await?;
        for (first, last) in &survey.damaged {
            rewrite(conn, model_id, (run.run, *first), &[]).await?;
            lost.push(Lost(*first, *last));
        }
        if survey.damaged.is_empty() && survey.keys == run.keys {
            continue;
        }
        if survey.damaged.is_empty() {
            // A page is not there, and nothing says which one.
            lost.push(Lost(i64::MIN, i64::MAX));
        }
        sqlx::query!(
            "UPDATE prediction_key_runs SET keys = $3 WHERE model_id = $1 AND run = $2",
            model_id.0,
            run.run,
            intake::count(survey.keys)
        )
        .execute(&mut *conn)
        .await?;
    }
    drop_empty(conn, model_id).await?;
    Ok(lost)
}

/// What the pages of a run hold.
struct Survey {
    /// Keys of the pages that can be read.
    keys: u64,
    /// The first and the last hash that each damaged page may have.
    damaged: Vec<(i64, i64)>,
}

async fn survey(conn: &mut PgConnection, model_id: ModelId, run: i64) -> sqlx::Result<Survey> {
    let mut survey = Survey {
        keys: 0,
        damaged: Vec::new(),
    };
    let (mut after, mut previous_is_damaged) = (None, false);
    loop {
        let pages = stored_pages(conn, model_id, run, after, PAGES).await?;
        let Some((last, _)) = pages.last() else {
            return Ok(survey);
        };
        after = Some(*last);
        for (first_hash, bytes) in &pages {
            if previous_is_damaged && let Some((_, end)) = survey.damaged.last_mut() {
                *end = first_hash.saturating_sub(1);
            }
            let keys = page::decode(bytes);
            previous_is_damaged = keys.is_none();
            match keys {
                Some(keys) => survey.keys += keys.len() as u64,
                None => survey.damaged.push((*first_hash, i64::MAX)),
            }
        }
    }
}
