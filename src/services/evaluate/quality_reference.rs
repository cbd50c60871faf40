//! What realised quality is compared with: the quality of a baseline, or that of the same version in a part of the
//! past.
//!
//! Few measures of quality can be put together from those of shorter windows, so a part of the past is measured anew
//! from its outcomes. That is the one reference whose cost grows with the traffic, and it is bounded.

use std::collections::BTreeMap;

use sqlx::PgConnection;

use super::history::History;
use super::subject::Subject;
use crate::domain::measurement::Segment;
use crate::domain::reference::ReferenceUsed;
use crate::domain::retention::Kept;
use crate::services::Error;
use crate::services::quality::{self, QualityOutcome, QualityValue, Wanted};
use crate::storage::baselines::{self, BaselineQuality};
use crate::storage::{labels, retention};

/// No older part of the past is read once so many outcomes are.
const MOST_OUTCOMES: usize = labels::MOST_OUTCOMES as usize;

/// Values to compare with, and where they are from.
#[derive(Debug, Default)]
pub(super) struct QualityReference {
    pub(super) used: Option<ReferenceUsed>,
    /// Why there is too little to compare with, if there is.
    pub(super) lack: Option<String>,
    values: Values,
}

#[derive(Debug)]
enum Values {
    OfBaseline(Vec<BaselineQuality>),
    OfPast(BTreeMap<Segment, Vec<QualityValue>>),
}

impl Default for Values {
    fn default() -> Self {
        Self::OfBaseline(Vec::new())
    }
}

impl QualityReference {
    pub(super) async fn load(
        conn: &mut PgConnection,
        subject: &Subject<'_>,
        wanted: Wanted<'_>,
    ) -> Result<Self, Error> {
        if let Some(history) = &subject.history {
            return Self::of_past(conn, subject, history, wanted).await;
        }
        let Some(baseline_id) = subject.baseline_id() else {
            return Ok(Self::default());
        };
        Ok(Self {
            used: subject.fitted_reference(),
            lack: None,
            values: Values::OfBaseline(baselines::qualities(conn, baseline_id).await?),
        })
    }

    async fn of_past(
        conn: &mut PgConnection,
        subject: &Subject<'_>,
        history: &History,
        wanted: Wanted<'_>,
    ) -> Result<Self, Error> {
        let mut outcomes: Vec<(QualityOutcome, Vec<String>)> = Vec::new();
        let mut with_labels = 0;
        let marks = retention::marks(conn, subject.model.project_id).await?;
        for part in history.past.parts(subject.window) {
            if outcomes.len() >= MOST_OUTCOMES {
                break;
            }
            if marks.reaches_gone(Kept::Raw, part.from) {
                continue;
            }
            let of_part = labels::outcomes(conn, subject.version_id, part.from, part.to).await?;
            with_labels += usize::from(of_part.seen > 0);
            outcomes.extend(quality::with_segments(of_part.rows));
        }
        let lack = history
            .too_few(with_labels)
            .filter(|_| outcomes.len() < MOST_OUTCOMES);
        let values = match lack {
            Some(_) => BTreeMap::new(),
            None => quality::by_segment(subject.model, wanted, &outcomes),
        };
        Ok(Self {
            used: Some(history.past.used(subject.window, with_labels)),
            lack,
            values: Values::OfPast(values),
        })
    }

    /// The reference's value of a measure and its number of labels. A baseline has the measures that are one value for
    /// the whole model, with the usual parameters; the past has whatever the monitor measures.
    pub(super) fn of(
        &self,
        subject: &Subject<'_>,
        segment: &Segment,
        quality: &QualityValue,
    ) -> Option<(f64, u64)> {
        match &self.values {
            Values::OfBaseline(values) => {
                let name = quality.measure.as_str();
                let usual = subject.monitor.quality.is_usual(quality.measure);
                let found = (values.iter()).find(|v| v.segment == *segment && v.measure == name)?;
                (usual && quality.feature.is_empty())
                    .then(|| (found.value, u64::try_from(found.labels).unwrap_or(0)))
            }
            Values::OfPast(values) => {
                let same = |v: &&QualityValue| {
                    v.measure == quality.measure && v.feature == quality.feature
                };
                let found = values.get(segment)?.iter().find(same)?;
                Some((found.value()?, found.labels))
            }
        }
    }
}
