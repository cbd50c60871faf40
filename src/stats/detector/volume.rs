//! How many rows there are, in both directions.
//!
//! The logarithm of a bucket's rows is one more score: with a pattern of the week or day, a variance between buckets
//! and windows, as for features. Hours share their day's causes here, too: the variance between days is estimated beside that
//! between hours. That no rows come at all is for a dead man's switch to notice, sooner than this can.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Settings;
use super::evaluate::{CannotEvaluate, Shortage, Status, Verdict};
use super::reference::{Footing, Reference};
use super::season::{Fitted, Grain, Levels, Observed, Season, WINDOWS, season_of};
use super::test::{Form, MeanTest, OfDay, Point, Score, ScoreKind, Statistic, Test, inflations};
use super::wandering::inflation;
use crate::stats::moderated::MOST_FREEDOM;
use crate::stats::tails::PValue;

/// With fewer days (weeks, where buckets are weeks) nothing is known of how days vary.
const LEAST_DAYS: usize = 14;
const MOST_CORRELATION: f64 = 0.85;
/// A day further than this from the others, in their standard deviations, is left out.
const OUTLIER_T: f64 = 10.0;
/// At most this part of the days is looked at for being left out.
const MOST_OUTLIERS: f64 = 0.1;

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
    /// How much of a bucket's deviation is still there in the next.
    correlation: f64,
    pub(super) ln_alpha: f64,
    /// It is stored beside the reference ([`super::codec`]).
    #[serde(skip)]
    pub(super) by_day: ByDay,
}

/// What is known of a volume's days.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct ByDay {
    /// What the buckets of a day have in common, where they are shorter.
    of_day: Option<OfDay>,
    /// How much of a day's deviation is still there the day after.
    correlation: f64,
    /// The days that were left out for being far from all others.
    left_out: Vec<i64>,
}

/// What is known of the level, on some of the buckets.
struct Learnt {
    buckets: Vec<i64>,
    observed: Vec<Observed>,
    season: Season,
    fitted: Fitted,
    /// The mean residual of each day in order, and how many buckets that is of.
    days: Vec<(i64, f64, f64)>,
    /// The degrees of freedom of these means.
    day_freedom: f64,
}

impl Learnt {
    fn of(grain: Grain, days: &[&VolumeDay]) -> Self {
        let observed: Vec<Observed> = (days.iter())
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
        let fitted = Levels::fit(&observed, season, grain);
        let mut by_day: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
        for (day, residual) in days.iter().zip(&fitted.residuals) {
            let (sum, count) = by_day.entry(grain.day_of(day.bucket)).or_default();
            *sum += residual;
            *count += 1.0;
        }
        // The mean, and what weekdays took; levels of hours take nothing more from days.
        let slots: BTreeSet<usize> = observed.iter().map(|o| o.phase.slot).collect();
        let of_hours = if season == Season::Daily {
            slots.len()
        } else {
            1
        };
        let of_weekdays = observed.len() as f64 - fitted.freedom - of_hours as f64;
        Self {
            buckets: days.iter().map(|day| day.bucket).collect(),
            day_freedom: (by_day.len() as f64 - 1.0 - of_weekdays).max(0.0),
            days: (by_day.into_iter())
                .map(|(day, (sum, count))| (day, sum / count, count))
                .collect(),
            observed,
            season,
            fitted,
        }
    }

    /// The variance between days in units of what buckets with nothing in common would have, times theirs.
    fn day_variance(&self) -> f64 {
        let squares = self.days.iter().map(|(_, mean, count)| count * mean * mean);
        squares.sum::<f64>() / self.day_freedom.max(1.0)
    }

    /// The day furthest from the others, in standard deviations estimated without it, and how many these are.
    fn furthest(&self) -> Option<(i64, f64)> {
        if self.day_freedom <= 1.0 {
            return None;
        }
        let left = self.day_freedom / self.days.len() as f64;
        let total = self.day_variance() * self.day_freedom;
        let studentised = self.days.iter().map(|(day, mean, count)| {
            let scaled = count * mean * mean;
            let others = (total - scaled / left) / (self.day_freedom - 1.0);
            (*day, (scaled / (others.max(1e-12) * left)).sqrt())
        });
        studentised.max_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// Neighbours' residuals times each other over their squares: of buckets, and of days.
    fn neighbours(&self) -> [f64; 2] {
        let buckets = self.buckets.iter().copied();
        let days = self.days.iter().map(|(day, mean, _)| (*day, *mean));
        [
            neighbours(
                &buckets
                    .zip(self.fitted.residuals.iter().copied())
                    .collect::<Vec<_>>(),
            ),
            neighbours(&days.collect::<Vec<_>>()),
        ]
    }
}

fn neighbours(residuals: &[(i64, f64)]) -> f64 {
    let pairs = residuals
        .windows(2)
        .filter(|pair| pair[1].0 == pair[0].0 + 1);
    let products: f64 = pairs.map(|pair| pair[0].1 * pair[1].1).sum();
    products
        / residuals
            .iter()
            .map(|(_, residual)| residual * residual)
            .sum::<f64>()
}

impl VolumeReference {
    /// `None` with fewer than 14 days that have rows.
    pub(super) fn fit(grain: Grain, days: &[VolumeDay], settings: &Settings) -> Option<Self> {
        let mut kept: Vec<&VolumeDay> = days.iter().filter(|day| !day.holiday).collect();
        let with_rows = kept.iter().filter(|day| day.rows > 0);
        let with_rows: BTreeSet<i64> = with_rows.map(|day| grain.day_of(day.bucket)).collect();
        if with_rows.len() < LEAST_DAYS {
            return None;
        }
        let left_out = outliers(grain, &kept);
        kept.retain(|day| !left_out.contains(&grain.day_of(day.bucket)));
        let learnt = Learnt::of(grain, &kept);
        let [neighbours, of_days] = learnt.neighbours();
        let (observed, freedom) = (&learnt.observed, learnt.fitted.freedom);
        let residuals = &learnt.fitted.residuals;
        let squares: f64 = residuals.iter().map(|r| r * r).sum();
        // The sampling variance of the logarithm of a count is one over the count.
        let by_chance = observed.iter().map(|o| 1.0 / o.rows).sum::<f64>() / observed.len() as f64;
        let variance = squares / freedom;
        let day_variance = (variance - by_chance).max(0.0);
        let correlation = correlation(neighbours, residuals.len() as f64);
        let day_count = learnt.days.len() as f64;
        let day_correlation = self::correlation(of_days, day_count);
        let of_day = (grain.slots() > 1).then(|| {
            let buckets = observed.len() as f64 / day_count;
            let beyond = (learnt.day_variance() - variance).max(0.0);
            let between = beyond / (buckets - 1.0).max(1.0);
            OfDay {
                variance: between,
                buckets,
                level: between * inflation(learnt.days.len(), day_correlation) / day_count,
                freedom: learnt.day_freedom.clamp(1.0, MOST_FREEDOM),
            }
        });
        let total: f64 = settings.window_weights.iter().sum();
        Some(Self {
            score: Score {
                kind: ScoreKind::Volume,
                form: Form::Volume,
                share: None,
                test: Test::Mean(MeanTest {
                    skewness: 0.0,
                    kurtosis: 0.0,
                    together: 1.0,
                    factor: 1.0 + day_variance / by_chance,
                    freedom: freedom.min(MOST_FREEDOM),
                    day_variance,
                    level_day_variance: day_variance * inflation(residuals.len(), correlation),
                    levels: learnt.fitted.levels,
                }),
                weights: settings.window_weights.map(|weight| weight / total),
                least_effect: settings.least_volume_effect,
                of_day: None,
                usual_rows: None,
            },
            season: learnt.season,
            correlation,
            ln_alpha: (settings.false_days_per_thousand / 1_000.0 / grain.per_day().max(1.0)).ln(),
            by_day: ByDay {
                of_day,
                correlation: day_correlation,
                left_out: left_out.into_iter().collect(),
            },
        })
    }

    /// The days that were left out for being far from all others, by their numbers (weeks, where buckets are weeks).
    #[must_use]
    pub fn left_out(&self) -> &[i64] {
        &self.by_day.left_out
    }

    /// The ways a window varies, of which the wider one is believed: buckets that share their day's causes, and buckets each of
    /// which is like the one before. Each with how much a level that wanders inflates its variance.
    pub(super) fn ways(&self, longest: usize) -> Vec<(Score, Vec<f64>)> {
        let mut ways = vec![(self.score.clone(), inflations(self.correlation, longest))];
        if self.by_day.of_day.is_some() {
            let score = Score {
                of_day: self.by_day.of_day,
                ..self.score.clone()
            };
            ways.push((score, inflations(self.by_day.correlation, longest)));
        }
        ways
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

/// The days that are far from all others, by Rosner's procedure (1983): the furthest is taken out, and again, and what was taken
/// out up to the last that was too far is left out. So two days do not hide each other.
fn outliers(grain: Grain, days: &[&VolumeDay]) -> BTreeSet<i64> {
    let mut left: Vec<&VolumeDay> = days.to_vec();
    let (mut taken, mut far) = (Vec::new(), 0);
    let mut learnt = Learnt::of(grain, &left);
    let most = (learnt.days.len() as f64 * MOST_OUTLIERS) as usize;
    while taken.len() < most {
        let Some((day, t)) = learnt.furthest() else {
            break;
        };
        taken.push(day);
        if t > OUTLIER_T {
            far = taken.len();
        }
        left.retain(|volume| grain.day_of(volume.bucket) != day);
        learnt = Learnt::of(grain, &left);
    }
    taken.truncate(far);
    taken.into_iter().collect()
}

/// Of one series: 0 unless beyond chance.
fn correlation(raw: f64, buckets: f64) -> f64 {
    if raw.is_nan() || raw <= 2.0 / buckets.sqrt() {
        return 0.0;
    }
    ((raw + 1.0 / buckets) / (1.0 - 4.0 / buckets)).clamp(0.0, MOST_CORRELATION)
}

impl Reference {
    /// A reference of the volume alone. `None` with fewer than 14 days that have rows.
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
        let ways = self.ways(reference.longest_window());
        let mut windows: [Option<(Statistic, f64)>; WINDOWS] = [None; WINDOWS];
        let mut broken = false;
        for (score, inflations) in &ways {
            let mut frame = reference.frame(inflations);
            // Few rows are what is looked for.
            frame.least_rows = 0.0;
            score.windows(points, &frame, |score, statistic| {
                let ln_own = score.ln_p(&statistic);
                broken |= ln_own.is_nan() || statistic.t.is_nan();
                let known = &mut windows[statistic.window];
                if known.is_none_or(|(_, other)| ln_own > other) {
                    *known = Some((statistic, ln_own));
                }
            });
        }
        let mut best = None;
        let mut least = f64::INFINITY;
        for (statistic, ln_own) in windows.into_iter().flatten() {
            let ln_p = ln_own - self.score.ln_weight(statistic.window);
            if ln_p < least {
                (least, best) = (ln_p, Some((statistic, ln_own)));
            }
        }
        let mut frame = reference.frame(&ways[0].1);
        frame.least_rows = 0.0;
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
                ways[0]
                    .0
                    .since(points, &frame)
                    .map(|age| last.bucket - age as i64)
            } else {
                None
            },
            footing: Footing::Days,
            shortage: p.is_none().then_some(Shortage::Values),
        })
    }
}
