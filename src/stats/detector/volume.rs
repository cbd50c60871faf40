//! How many rows there are, in both directions.
//!
//! The logarithm of a bucket's rows is one more score: with a pattern of the week or day, a variance between buckets
//! and windows, as for features. That no rows come at all is for a dead man's switch to notice, sooner than this can.

use serde::{Deserialize, Serialize};

use super::Settings;
use super::evaluate::{CannotEvaluate, Status, Verdict};
use super::reference::{Footing, Reference};
use super::season::{Fitted, Grain, Levels, Observed, Season, WINDOWS, season_of};
use super::test::{Form, MeanTest, Point, Score, ScoreKind, Test, inflations};
use super::wandering::inflation;
use crate::stats::moderated::MOST_FREEDOM;
use crate::stats::tails::PValue;

const LEAST_BUCKETS: usize = 14;
const MOST_CORRELATION: f64 = 0.85;

/// The rows of a bucket of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeDay {
    pub bucket: i64,
    pub holiday: bool,
    pub rows: u64,
}

/// The fitted volume of a model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VolumeReference {
    pub(super) score: Score,
    season: Season,
    pub(super) correlation: f64,
    pub(super) ln_alpha: f64,
}

impl VolumeReference {
    /// `None` with fewer than 14 buckets that have rows.
    pub(super) fn fit(grain: Grain, days: &[VolumeDay], settings: &Settings) -> Option<Self> {
        let kept: Vec<&VolumeDay> = days.iter().filter(|day| !day.holiday).collect();
        if kept.iter().filter(|day| day.rows > 0).count() < LEAST_BUCKETS {
            return None;
        }
        let observed: Vec<Observed> = kept
            .iter()
            .map(|day| {
                let (value, rows) = of_rows(day.rows);
                Observed {
                    phase: grain.phase(day.bucket),
                    rows,
                    value,
                    weight: 1.0,
                }
            })
            .collect();
        let season = season_of(std::slice::from_ref(&observed), grain);
        let Fitted {
            levels,
            residuals,
            freedom,
        } = Levels::fit(&observed, season, grain);
        let squares: f64 = residuals.iter().map(|r| r * r).sum();
        // The sampling variance of the logarithm of a count is one over the count.
        let by_chance = observed.iter().map(|o| 1.0 / o.rows).sum::<f64>() / observed.len() as f64;
        let day_variance = (squares / freedom - by_chance).max(0.0);
        let neighbours: f64 = (1..residuals.len())
            .filter(|i| kept[*i].bucket == kept[i - 1].bucket + 1)
            .map(|i| residuals[i] * residuals[i - 1])
            .sum();
        let correlation = correlation(neighbours / squares, residuals.len() as f64);
        let total: f64 = settings.window_weights.iter().sum();
        Some(Self {
            score: Score {
                kind: ScoreKind::Volume,
                form: Form::Volume,
                share: None,
                test: Test::Mean(MeanTest {
                    levels,
                    skewness: 0.0,
                    kurtosis: 0.0,
                    together: 1.0,
                    factor: 1.0 + day_variance / by_chance,
                    freedom: freedom.min(MOST_FREEDOM),
                    day_variance,
                    level_day_variance: day_variance * inflation(residuals.len(), correlation),
                }),
                weights: settings.window_weights.map(|weight| weight / total),
                least_effect: settings.least_volume_effect,
                of_day: None,
            },
            season,
            correlation,
            ln_alpha: (settings.false_days_per_thousand / 1_000.0 / grain.per_day().max(1.0)).ln(),
        })
    }

    #[must_use]
    pub fn season(&self) -> Season {
        self.season
    }
}

/// The logarithm of a bucket's rows, and what its sampling variance is one over.
fn of_rows(rows: u64) -> (f64, f64) {
    let rows = rows as f64;
    (rows.max(0.5).ln(), rows.max(1.0))
}

/// Of one series: 0 unless beyond chance.
fn correlation(raw: f64, buckets: f64) -> f64 {
    if raw.is_nan() || raw <= 2.0 / buckets.sqrt() {
        return 0.0;
    }
    ((raw + 1.0 / buckets) / (1.0 - 4.0 / buckets)).clamp(0.0, MOST_CORRELATION)
}

impl Reference {
    /// A reference of the volume alone. `None` with fewer than 14 buckets that have rows.
    #[must_use]
    pub fn of_volume(grain: Grain, days: &[VolumeDay], settings: Settings) -> Option<Self> {
        let volume = VolumeReference::fit(grain, days, &settings)?;
        Some(Self {
            grain,
            correlation: 0.0,
            features: Vec::new(),
            volume: Some(volume),
            settings,
        })
    }

    /// Judges the volume of the last of these buckets, given those before it. `None` if the reference has no volume.
    ///
    /// # Errors
    /// Without a bucket, when they are not in order, and when a result is not a number.
    pub fn evaluate_volume(&self, days: &[VolumeDay]) -> Result<Option<Verdict>, CannotEvaluate> {
        let Some(volume) = &self.volume else {
            return Ok(None);
        };
        let last = days.last().ok_or(CannotEvaluate::NoDay)?;
        if !days.windows(2).all(|pair| pair[0].bucket < pair[1].bucket) {
            return Err(CannotEvaluate::NotInOrder);
        }
        let longest = self.grain.windows()[WINDOWS - 1] as i64;
        let is_recent = |day: &&VolumeDay| {
            last.bucket - day.bucket < longest && (!day.holiday || day.bucket == last.bucket)
        };
        let points: Vec<Point> = days
            .iter()
            .rev()
            .filter(is_recent)
            .map(|day| {
                let (value, rows) = of_rows(day.rows);
                let age = (last.bucket - day.bucket) as usize;
                Point {
                    age,
                    phase: self.grain.phase(day.bucket),
                    rows,
                    value,
                }
            })
            .collect();
        volume.judge(&points, last, self).map(Some)
    }
}

impl VolumeReference {
    fn judge(
        &self,
        points: &[Point],
        last: &VolumeDay,
        reference: &Reference,
    ) -> Result<Verdict, CannotEvaluate> {
        let inflations = inflations(self.correlation, reference.longest_window());
        let mut frame = reference.frame(&inflations);
        // Few rows are what is looked for.
        frame.least_rows = 0.0;
        let mut best = None;
        let mut least = f64::INFINITY;
        let mut broken = false;
        self.score.windows(points, &frame, |score, statistic| {
            let ln_own = score.ln_p(&statistic);
            let ln_p = ln_own - score.ln_weight(statistic.window);
            broken |= ln_p.is_nan() || statistic.t.is_nan();
            if ln_p < least {
                (least, best) = (ln_p, Some((statistic, ln_own)));
            }
        });
        let alpha = PValue::from_ln(self.ln_alpha).ok_or(CannotEvaluate::NotANumber)?;
        let p = best
            .map(|_| PValue::from_ln(least.min(0.0)))
            .map_or(Ok(None), |p| {
                p.filter(|_| !broken)
                    .ok_or(CannotEvaluate::NotANumber)
                    .map(Some)
            })?;
        let candidate = p.is_some_and(|p| p.ln() < self.ln_alpha);
        let evidence = best
            .filter(|(_, ln_own)| *ln_own < 0.0)
            .map(|(statistic, ln_own)| self.score.evidence(&statistic, ln_own, &frame));
        Ok(Verdict {
            status: match (p, candidate, last.holiday) {
                (None, ..) => Status::Insufficient,
                (_, _, true) => Status::Holiday,
                (_, true, false) => Status::Candidate,
                (_, false, false) => Status::Quiet,
            },
            p,
            alpha,
            direction: evidence.iter().filter(|_| candidate).cloned().collect(),
            nearest: evidence.clone(),
            deciding: evidence,
            since: if candidate {
                self.score
                    .since(points, &frame)
                    .map(|age| last.bucket - age as i64)
            } else {
                None
            },
            footing: Footing::Days,
        })
    }
}
