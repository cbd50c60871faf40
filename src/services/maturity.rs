//! How far the labels of a window have come, and what its values are expected to be once all are in.
//!
//! Only where a monitor says within which time labels come: a projection needs a reference whose labels are in, and
//! nothing else says how old that has to be. The reference is the newest span of the same version that is old
//! enough: seven windows if they are no longer than a week, else one, so that a day has every day of the week in it
//! and a month costs no more than twice itself. It is taken anew at each measurement, so that it follows when labels
//! come slower or faster than they used to.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgConnection;

use super::Error;
use super::quality::{self, QualityOutcome, QualityValue, Wanted};
use crate::domain::definitions::bounds;
use crate::domain::ids::VersionId;
use crate::domain::measurement::{Projected, Segment};
use crate::stats::quality::{
    AgeSlice, AgeSpread, CompletenessCurve, Estimate, Maturity, ReferenceValues, Undefined, project,
};
use crate::storage::labels;
use crate::storage::models::Model;
use crate::storage::windows::{self, WindowTotals};

/// A span of predictions whose labels are in, with the time each label took.
#[derive(Debug)]
pub struct LabelReference {
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    answered: u64,
    /// In seconds, beside the outcome with its segment values.
    outcomes: Vec<(f64, (QualityOutcome, Vec<String>))>,
}

/// What the reference says about a window.
#[derive(Debug)]
pub struct Outlook {
    pub maturity: Maturity,
    /// From then on as good as all labels that will come are there.
    pub matures_at: DateTime<Utc>,
    pub from: DateTime<Utc>,
    pub to: DateTime<Utc>,
    /// Labels of the reference.
    pub labels: u64,
    pub(super) arrived: ByArrival,
}

/// What the reference's labels come to: those it had when it was as old as the window, those that came later, and all.
#[derive(Debug)]
pub(super) struct ByArrival {
    pub(super) early: Values,
    pub(super) late: Values,
    pub(super) full: Values,
}

pub(super) type Values = BTreeMap<Segment, Vec<QualityValue>>;

impl LabelReference {
    /// The reference for a window `[from, to)` of a version whose labels come `within` a time; nothing when the
    /// version made no predictions that long ago.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn load(
        conn: &mut PgConnection,
        (model, version_id): (&Model, VersionId),
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        within: TimeDelta,
        now: DateTime<Utc>,
    ) -> Result<Option<Self>, Error> {
        // Whole base windows, because those are what predictions are counted by.
        let until = model.base_window.window_at(now - within).start;
        let length = (to - from).max(((to - from) * 7).min(TimeDelta::weeks(1)));
        let since = model.base_window.window_at(until - length).start;
        let totals = windows::totals(conn, version_id, since, until).await?;
        let outcomes = labels::outcomes(conn, version_id, since, until).await?;
        if outcomes.rows.is_empty() {
            return Ok(None);
        }
        // Of a share of the outcomes, the same share of the predictions.
        let answered = answered(totals).max(outcomes.seen) / outcomes.one_in;
        Ok(Some(Self {
            from: since,
            to: until,
            answered: answered.max(outcomes.rows.len() as u64),
            outcomes: (outcomes.rows)
                .into_iter()
                .map(|mut outcome| {
                    let segments = std::mem::take(&mut outcome.segments);
                    (
                        outcome.lag_seconds,
                        (QualityOutcome::of_stored(outcome), segments),
                    )
                })
                .collect(),
        }))
    }

    /// What it says about a window `[from, to)` that has so many labels. The window's predictions are taken to be
    /// spread evenly over it.
    ///
    /// # Errors
    /// Without predictions in the window.
    pub fn outlook(
        self,
        (model, wanted): (&Model, Wanted<'_>),
        (from, to): (DateTime<Utc>, DateTime<Utc>),
        (totals, labelled): (WindowTotals, u64),
        now: DateTime<Utc>,
    ) -> Result<Outlook, Undefined> {
        let labels = self.outcomes.len() as u64;
        let lags = self.outcomes.iter().map(|(lag, _)| *lag);
        let curve = CompletenessCurve::new(lags, self.answered)?;
        let slices = [AgeSlice {
            youngest: seconds(now - to),
            oldest: seconds(now - from),
            answered: answered(totals).max(labelled),
            labelled,
        }];
        let maturity = curve.maturity(&slices)?;
        let ages = AgeSpread::new(&slices)?;
        let (mut early, mut late, mut all) = (Vec::new(), Vec::new(), Vec::new());
        for (number, (lag, outcome)) in (0..).zip(self.outcomes) {
            let is_early = lag <= ages.of(number);
            if is_early { &mut early } else { &mut late }.push(outcome.clone());
            all.push(outcome);
        }
        let values = |outcomes: &[_]| quality::by_segment(model, wanted, outcomes);
        Ok(Outlook {
            maturity,
            matures_at: now + TimeDelta::seconds(maturity.matures_in.ceil() as i64),
            from: self.from,
            to: self.to,
            labels,
            arrived: ByArrival {
                early: values(&early),
                late: values(&late),
                full: values(&all),
            },
        })
    }
}

impl Outlook {
    /// What a value of a segment is expected to be once all labels are in. Nothing for a mature window, whose values
    /// are final, nor where the reference does not have the measure.
    #[must_use]
    pub fn project(&self, segment: &Segment, value: &QualityValue) -> Option<Projected> {
        if self.maturity.is_mature() {
            return None;
        }
        let present = value.quality.ok()?;
        let of = |values: &Values| -> Option<Estimate> {
            let same = |other: &&QualityValue| {
                other.measure == value.measure && other.feature == value.feature
            };
            values.get(segment)?.iter().find(same)?.quality.ok()
        };
        let reference = ReferenceValues {
            early: of(&self.arrived.early)?,
            late: of(&self.arrived.late),
            full: of(&self.arrived.full)?,
        };
        let completeness = self.maturity.completeness.min(1.0);
        let projection = project(present, completeness, reference, bounds(value.measure)).ok()?;
        Some(Projected {
            note: format!(
                "a projection, not a measurement: {:.0} % of the labels that will come should be there by now, and \
                 the late ones are taken to differ as among the {} of {} to {}",
                100.0 * completeness,
                self.labels,
                self.from.format("%Y-%m-%d %H:%M"),
                self.to.format("%Y-%m-%d %H:%M"),
            ),
            value: projection.value,
            low: projection.interval.map(|(low, _)| low),
            high: projection.interval.map(|(_, high)| high),
            matures_at: self.matures_at,
        })
    }
}

/// Predictions that can have a label: those without an error.
#[must_use]
pub fn answered(totals: WindowTotals) -> u64 {
    u64::try_from(totals.predictions - totals.errors).unwrap_or(0)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "lengths of time of years at most"
)]
fn seconds(length: TimeDelta) -> f64 {
    length.num_milliseconds() as f64 / 1000.0
}
