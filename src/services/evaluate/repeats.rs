//! Repeated rows: the summaries of the window's base windows put together, against what is usual for the baseline.

use sqlx::PgConnection;

use super::schema_skew;
use super::subject::Subject;
use crate::domain::measurement::{Measure, Measurement, Segment};
use crate::domain::skew;
use crate::services::Error;
use crate::stats::repeats::Repeats;
use crate::storage::{samples, windows};

/// The share of the window's rows that repeat an earlier one. Nothing where the schema expects nothing, where no baseline
/// tells how many rows do so as a matter of course, or where some base window is older than the summaries.
pub(super) async fn measure(
    conn: &mut PgConnection,
    subject: &Subject<'_>,
) -> Result<Option<Measurement>, Error> {
    if subject.yardstick.expectations().next().is_none() {
        return Ok(None);
    }
    let before = match subject.baseline_id() {
        Some(baseline_id) => samples::repeated(conn, baseline_id).await?,
        None => None,
    };
    let Some((repeated, rows)) = before else {
        return Ok(None);
    };
    let before = (count(repeated), count(rows));
    let (version_id, window) = (subject.version_id, subject.window);
    let stored = windows::repeats_between(conn, version_id, window.start, window.end).await?;
    let mut repeats = Repeats::default();
    for summary in stored {
        match summary.as_deref().map(Repeats::decode) {
            Some(Ok(summary)) => repeats.merge(&summary),
            Some(Err(error)) => {
                tracing::error!(%version_id, start = %window.start, %error, "a summary is damaged");
                let overall = Segment::overall();
                return Ok(Some(subject.unknown(&overall, "", Measure::DuplicateRows)));
            }
            None => return Ok(None),
        }
    }
    let judged = skew::judge_duplicates(before, repeats.repeated(), subject.tolerance());
    let told = schema_skew::of_judgement(subject, &Segment::overall(), "", &judged);
    Ok(told.map(|mut measurement| {
        if !repeats.is_exact() {
            let rows = repeats.rows();
            measurement.recipe.method += &format!(", a sample by content of all {rows}");
        }
        measurement
    }))
}

fn count(rows: i64) -> u64 {
    u64::try_from(rows).unwrap_or(0)
}
