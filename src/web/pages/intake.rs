//! What came in for a model and what became of it, as its page shows it.

use sqlx::PgConnection;

use crate::domain::ids::{ModelId, ProjectId};
use crate::storage::intake::{self, BatchKind};
use crate::storage::overflow::{self, OverflowCount, OverflowKind};
use crate::storage::{inferences, labels};
use crate::web::wording;

/// The account of a model's intake.
#[derive(Debug, Default)]
pub struct IntakeView {
    pub lines: Vec<IntakeLine>,
    /// What could not be settled, in a sentence.
    pub failed: Option<String>,
    /// What went over a cap, one sentence each.
    pub overflow: Vec<String>,
}

/// One kind of rows.
#[derive(Debug, Clone)]
pub struct IntakeLine {
    pub kind: &'static str,
    pub received: String,
    pub accepted: String,
    pub duplicate: String,
    pub conflicting: String,
    pub rejected: String,
    /// Accepted labels without a prediction, requests and responses without the other; empty for predictions.
    pub waiting: String,
    pub expired: String,
}

impl IntakeView {
    /// Whether there is nothing to show.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty() && self.failed.is_none() && self.overflow.is_empty()
    }

    /// Reads the counts; there are no lines for what never came.
    pub async fn load(
        conn: &mut PgConnection,
        project: ProjectId,
        model: ModelId,
    ) -> sqlx::Result<Self> {
        let counts = intake::counts(conn, model).await?;
        let orphans = labels::orphans(conn, model).await?;
        let over = overflow::of_model(conn, project, model).await?;
        let halves = inferences::waiting(conn, model).await?;
        let of_events = |outcome: &str| {
            let counts = counts.iter().filter(|c| c.kind == BatchKind::Events);
            let rows = counts.filter(|c| c.outcome == outcome).map(|c| c.rows);
            wording::count(rows.sum())
        };
        let line = |kind: BatchKind, word, waiting: String, expired: String| {
            let of = |outcome: &str| {
                let counts = counts.iter().filter(|c| c.kind == kind);
                let rows = counts.filter(|c| c.outcome == outcome).map(|c| c.rows);
                wording::count(rows.sum())
            };
            let received = counts.iter().any(|c| c.kind == kind);
            received.then(|| IntakeLine {
                kind: word,
                received: of("received"),
                accepted: of("accepted"),
                duplicate: of("duplicate"),
                conflicting: of("conflicting"),
                rejected: of("rejected"),
                waiting,
                expired,
            })
        };
        let (none, waiting) = (String::new, wording::count(orphans.waiting));
        let lines = [
            line(BatchKind::Predictions, "Predictions", none(), none()),
            line(
                BatchKind::Labels,
                "Labels",
                waiting,
                wording::count(orphans.expired),
            ),
            line(
                BatchKind::Events,
                "Requests and responses",
                wording::count(halves),
                of_events("expired"),
            ),
        ];
        let failed = counts.iter().filter(|count| count.outcome == "failed");
        let failed: i64 = failed.map(|count| count.rows).sum();
        Ok(Self {
            failed: (failed > 0).then(|| {
                format!(
                    "{} rows could not be settled and are kept with their batches: see failed-batches of the API for \
                     the cause, and have them settled again when it is gone, or give them up.",
                    wording::count(failed)
                )
            }),
            lines: lines.into_iter().flatten().collect(),
            overflow: over.iter().map(sentence).collect(),
        })
    }
}

fn sentence(over: &OverflowCount) -> String {
    let what = match over.kind {
        OverflowKind::Models => "models had no room in the project",
        OverflowKind::Versions => "rows were refused, because the model has too many versions",
        OverflowKind::Features => "values of features were dropped, because the model has too many",
        OverflowKind::SegmentValues => {
            "rows were counted under no value of a segment, because it has too many in their window"
        }
        OverflowKind::Categories => {
            "rows have a category that is counted together with others, because a feature has too many in their window"
        }
        OverflowKind::Texts => "rows were refused, because a text in them is too long",
    };
    format!(
        "{} {what}; last on {}.",
        wording::count(over.rows),
        wording::date(over.last_day)
    )
}
