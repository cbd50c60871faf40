//! Watching after a promotion: the champion against the version it replaced, window by window, for as long as
//! the former one still predicts. When the former is better often enough, a way back is proposed; people decide.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::{Error, gate};
use crate::domain::gate::{WatchedWindow, proposes_rollback};
use crate::domain::measurement::Measure;
use crate::domain::runbook::Watch;
use crate::storage::models::Model;
use crate::storage::runs::Promotion;

/// How long after a window's end its labels are waited for.
const LABEL_WAIT: TimeDelta = TimeDelta::hours(24);

/// What a watch has seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Watched {
    pub windows: Vec<WatchedWindow>,
    pub proposes_rollback: bool,
    /// Whether a window was added to those known before.
    pub grew: bool,
}

/// Adds the windows that are over and whose labels have had their time to those `known`.
///
/// # Errors
/// When the database fails.
pub async fn look(
    conn: &mut PgConnection,
    model: &Model,
    promotion: &Promotion,
    (watch, measure): (&Watch, Measure),
    known: Vec<WatchedWindow>,
    now: DateTime<Utc>,
) -> Result<Watched, Error> {
    let Some(former) = promotion.from_version else {
        return Ok(Watched {
            windows: known,
            proposes_rollback: false,
            grew: false,
        });
    };
    let mut windows = known;
    let before = windows.len();
    let mut window = match windows.last() {
        Some(last) => watch.grain.window_at(last.end),
        // The window in which the promotion fell is the first that the new champion answers for.
        None => watch.grain.window_at(promotion.promoted_at),
    };
    while window.end + LABEL_WAIT <= now {
        let versions = (promotion.to_version, former);
        let compared =
            gate::compare(conn, model, versions, measure, (window.start, window.end)).await?;
        let overall = compared
            .into_iter()
            .find(|comparison| comparison.segment.is_empty());
        let seen = WatchedWindow {
            start: window.start,
            end: window.end,
            champion: overall.as_ref().and_then(|c| c.candidate),
            former: overall.as_ref().and_then(|c| c.champion),
            labels: overall.as_ref().map_or(0, |c| c.labels),
            better: false,
        };
        windows.push(seen.judged(watch, measure));
        window = watch.grain.window_at(window.end);
    }
    Ok(Watched {
        proposes_rollback: proposes_rollback(watch, &windows),
        grew: windows.len() > before,
        windows,
    })
}
