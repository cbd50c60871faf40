//! What the detector would not miss: the smallest change that it sees in a day, a week and four weeks.
//!
//! A promise of quiet is worth little without this. It is computed from the same standard errors and the same
//! probability as the test itself, for a chance of 90 % to see the change in that window.

use super::draft::PEAK;
use super::fitting::CLUMPED;
use super::reference::{FeatureReference, Reference};
use super::scores::corrected;
use super::season::{Grain, Phases};
use super::test::{
    CountWindow, ExcessTest, Frame, MeanTest, OfDay, Score, ScoreKind, Sums, Test, Variance,
    ln_share,
};
use crate::stats::beta::student_critical;
use crate::stats::tails::{PValue, normal_quantile, normal_upper};

/// The chance to see the change, and its normal quantile.
const POWER: f64 = 0.9;
const POWER_QUANTILE: f64 = 1.281_551_565_544_6;
/// No deviation is looked for beyond it, in standard deviations of a row.
const MOST_DEVIATION: f64 = 1e6;

/// The smallest change of one score that is seen with a chance of 90 % within a window.
#[derive(Debug, Clone, PartialEq)]
pub struct SmallestChange {
    pub score: ScoreKind,
    pub days: f64,
    /// In standard deviations of one row.
    pub effect: f64,
    /// From which share in the reference to which, of scores that are about a share.
    pub shares: Option<(f64, f64)>,
}

impl Reference {
    /// The smallest changes of a feature that are seen, for each score, within a bucket and each window of a day, a week and
    /// four weeks that the grain has, on the usual number of rows (of values, for scores that are about these). Nothing is said of a
    /// window that has too few of them to be judged. Empty for a feature that there is not.
    #[must_use]
    pub fn smallest_changes(&self, feature: usize) -> Vec<SmallestChange> {
        self.smallest_changes_where(feature, |_| true)
    }

    /// Those of one of the feature's scores, which are quicker to find.
    #[must_use]
    pub fn smallest_changes_of(&self, feature: usize, score: &ScoreKind) -> Vec<SmallestChange> {
        self.smallest_changes_where(feature, |own| own == score)
    }

    fn smallest_changes_where(
        &self,
        feature: usize,
        is_wanted: impl Fn(&ScoreKind) -> bool,
    ) -> Vec<SmallestChange> {
        let Some(feature) = self.features.get(feature) else {
            return Vec::new();
        };
        let inflations = self.inflations();
        let bucket_days = 1.0 / self.grain.per_day();
        let frame = self.frame(&inflations);
        let mut changes = Vec::new();
        for score in feature.scores.iter().filter(|score| is_wanted(&score.kind)) {
            for (window, length) in self.grain.windows().into_iter().enumerate() {
                let days = length as f64 * bucket_days;
                if length > 1 && ![1.0, 7.0, 28.0].contains(&days) {
                    continue;
                }
                if let Some(effect) = score.smallest(feature, (window, length), self.grain, &frame)
                {
                    changes.push(score.smallest_change(days, effect));
                }
            }
        }
        changes
    }
}

/// The smallest change of the number of rows that is seen with a chance of 90 % within a window, either way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SmallestVolume {
    pub days: f64,
    /// Of the ratio to the usual number.
    pub logarithm: f64,
}

impl Reference {
    /// The smallest changes of the volume that are seen, for each window of a day, a week and four weeks that the grain has.
    /// Empty without a volume.
    #[must_use]
    pub fn smallest_volume_changes(&self) -> Vec<SmallestVolume> {
        let Some(volume) = &self.volume else {
            return Vec::new();
        };
        let ways = volume.ways(self.longest_window());
        let of = |(window, length): (usize, usize)| {
            let days = length as f64 / self.grain.per_day();
            if ![1.0, 7.0, 28.0].contains(&days) {
                return None;
            }
            let ln_p = volume.ln_alpha + volume.score.ln_weight(window);
            let mut least = ways.iter().map(|(score, inflations)| {
                let Test::Mean(test) = &score.test else {
                    return None;
                };
                let rows = test.levels.mean().exp().max(1.0);
                let of_day = score.of_day.as_ref();
                let variance = if of_day.is_some() {
                    let inflation = inflations[length.div_ceil(self.grain.slots())];
                    test.variance_of_usual(of_day, rows, length, self.grain, inflation)
                } else {
                    test.variance_of_alike(rows, length, inflations[length])
                };
                let critical = test.critical(of_day, &variance, ln_p, f64::INFINITY)?;
                let least = volume.score.least_effect;
                Some(score.smallest_deviation(&variance, (rows, length), critical.at_least(least)))
            });
            let least = least.try_fold(0.0, |most: f64, way| Some(way?.max(most)))?;
            Some(SmallestVolume {
                days,
                logarithm: least,
            })
        };
        (self.grain.windows().into_iter().enumerate())
            .filter_map(of)
            .collect()
    }
}

impl Score {
    fn smallest(
        &self,
        feature: &FeatureReference,
        (window, length): (usize, usize),
        grain: Grain,
        frame: &Frame<'_>,
    ) -> Option<f64> {
        let ln_p = feature.ln_alpha + self.ln_weight(window);
        if !ln_p.is_finite() {
            return None;
        }
        let rows = self.usual_rows.unwrap_or(feature.usual_rows);
        // What the window is not looked at for cannot be seen in it.
        if rows <= 0.0 || rows * (length as f64) < frame.least_rows {
            return None;
        }
        let of_day = self.of_day.as_ref();
        let slots = if of_day.is_some() { frame.slots } else { 1 };
        let inflation = frame.inflations[length.div_ceil(slots)];
        let effect = match &self.test {
            Test::Mean(test) => {
                let variance = if of_day.is_some() {
                    test.variance_of_usual(of_day, rows, length, grain, inflation)
                } else {
                    test.variance_of_alike(rows, length, inflation)
                };
                let needed = match self.share {
                    Some(share) if test.together > CLUMPED => {
                        let worth = test.factor / test.together / variance.own;
                        smallest_of_share(share, worth, ln_p)?.max(self.least_effect)
                    }
                    _ => self.least_effect,
                };
                let critical = test.critical(of_day, &variance, ln_p, rows * length as f64)?;
                self.smallest_deviation(&variance, (rows, length), critical.at_least(needed))
            }
            Test::Excess(test) => {
                let share = self.share.unwrap_or(0.0);
                let rows = rows * length as f64;
                let of_window = CountWindow {
                    rows,
                    times_usual: 1.0,
                    together: length.min(slots) as f64,
                    inflation,
                };
                let dispersion = test.dispersion_of(of_day, of_window);
                let gate = share_of_effect(share, self.least_effect);
                let now = test.smallest_share(ln_p, rows, (dispersion, length), gate);
                let reference = if share > 0.0 { share } else { now };
                (now - share) / (reference * (1.0 - reference)).sqrt()
            }
        };
        Some(effect)
    }

    /// The deviation that passes this critical one with a chance of 90 %. Where a share has risen, rows differ more than they did,
    /// and so do days; and the more a window's own days happen to differ, the larger a deviation it takes.
    fn smallest_deviation(
        &self,
        variance: &Variance,
        (rows, length): (f64, usize),
        critical: Critical,
    ) -> f64 {
        let sampling = 1.0 / (rows * length as f64);
        let of_days = (variance.own - sampling).max(0.0);
        let power = |effect: f64| {
            let risen = self.risen(effect);
            let own = sampling * risen + of_days * risen * risen;
            let apart = (own / variance.own).sqrt();
            let error = (own + variance.level).sqrt() * critical.uncertainty;
            let seen = TENTHS.map(|share| {
                let deviation = critical.deviation * peak_of(length, share, apart);
                normal_upper((deviation - effect) / error).map_or(0.0, PValue::value)
            });
            seen.iter().sum::<f64>() / seen.len() as f64
        };
        let mut high = critical.deviation;
        while power(high) < POWER && high < MOST_DEVIATION {
            high *= 2.0;
        }
        let mut low = high / 2.0;
        for _ in 0..30 {
            let middle = f64::midpoint(low, high);
            if power(middle) < POWER {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// By how much the variance of a row is larger than in the reference where a share has risen by so much.
    fn risen(&self, effect: f64) -> f64 {
        let Some(share) = self.share.filter(|share| *share > 0.0) else {
            return 1.0;
        };
        let now = share_of_effect(share, effect).min(1.0);
        (now * (1.0 - now) / (share * (1.0 - share))).max(1.0)
    }

    fn smallest_change(&self, days: f64, effect: f64) -> SmallestChange {
        let shares = match (self.share, &self.test) {
            (Some(share), _) if share > 0.0 => {
                Some((share, share_of_effect(share, effect).min(1.0)))
            }
            (_, Test::Excess(_)) => Some((0.0, share_of_effect(0.0, effect))),
            _ => None,
        };
        SmallestChange {
            score: self.kind.clone(),
            days,
            effect,
            shares,
        }
    }
}

/// The share that is so far from another; of one that was never there, whose odds are the square of that.
fn share_of_effect(share: f64, effect: f64) -> f64 {
    if share > 0.0 {
        share + effect * (share * (1.0 - share)).sqrt()
    } else {
        effect * effect / (1.0 + effect * effect)
    }
}

/// The smallest rise of a share that is surprising enough on so many rows; nothing where not even all of them are.
fn smallest_of_share(share: f64, rows: f64, ln_p: f64) -> Option<f64> {
    let most = ((1.0 - share) / share).sqrt();
    let surprising = |effect: f64| ln_share(share, effect, rows) < ln_p;
    if !surprising(most) {
        return None;
    }
    let (mut low, mut high) = (0.0, most);
    for _ in 0..40 {
        let middle = f64::midpoint(low, high);
        if surprising(middle) {
            high = middle;
        } else {
            low = middle;
        }
    }
    Some(high)
}

/// A deviation from which on a window's mean is surprising enough.
#[derive(Debug, Clone, Copy)]
struct Critical {
    deviation: f64,
    /// How much further off than by a normal distribution a mean may be whose standard error is estimated, nine times of ten at most.
    uncertainty: f64,
}

impl Critical {
    /// It, where smaller ones do not count.
    fn at_least(self, deviation: f64) -> Self {
        Self {
            deviation: self.deviation.max(deviation),
            ..self
        }
    }
}

impl MeanTest {
    /// How far a window's mean with this variance, of so many rows, has to be off to be surprising enough.
    fn critical(
        &self,
        of_day: Option<&OfDay>,
        variance: &Variance,
        ln_p: f64,
        rows: f64,
    ) -> Option<Critical> {
        let freedom = self.freedom_of(of_day, variance);
        let t = student_critical(ln_p, freedom)?;
        let both_sides = 2.0 * (1.0 - POWER);
        Some(Critical {
            deviation: self.before_correction(t, rows) * variance.total().sqrt(),
            uncertainty: student_critical(both_sides.ln(), freedom)? / POWER_QUANTILE,
        })
    }

    /// The statistic that is so large after it was corrected for the skewness and kurtosis of so many rows, to the side on which
    /// that takes more.
    fn before_correction(&self, critical: f64, rows: f64) -> f64 {
        let (mut low, mut high) = (0.0, 4.0 * critical + 4.0);
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            let left = [middle, -middle].map(|t| corrected(t, self.skewness, self.kurtosis, rows));
            if left[0].min(-left[1]) < critical {
                low = middle;
            } else {
                high = middle;
            }
        }
        high
    }

    /// The variance of a window of so many buckets that have the usual rows each and nothing else in common.
    fn variance_of_alike(&self, rows: f64, length: usize, inflation: f64) -> Variance {
        let mut phases = Phases::NONE;
        // A window of days is held against the levels of its own weekdays alone.
        let week = (0..length.min(7)).map(|weekday| super::Phase { slot: 0, weekday });
        week.for_each(|phase| phases.add(self.levels.season(), phase, 1.0));
        Variance {
            own: (1.0 / rows + self.day_variance * inflation) / length as f64,
            level: self.levels.variance(&phases, self.level_day_variance, 0.0),
            of_days: 0.0,
        }
    }

    /// The variance of a window of so many buckets that have the usual rows each, from the first of a week.
    fn variance_of_usual(
        &self,
        of_day: Option<&OfDay>,
        rows: f64,
        length: usize,
        grain: Grain,
        inflation: f64,
    ) -> Variance {
        let (mut sums, mut phases) = (Sums::default(), Phases::NONE);
        for age in 0..length {
            sums.add(1.0, rows, age / grain.slots());
            phases.add(self.levels.season(), grain.phase(age as i64), 1.0);
        }
        self.variance(of_day, &sums, &phases, inflation, 1.0)
    }
}

impl ExcessTest {
    /// The share that is surprising enough, and not below a gate, with a chance of 90 %. The more a window's own buckets happen to
    /// differ, the larger a count it takes.
    fn smallest_share(
        &self,
        ln_p: f64,
        rows: f64,
        (dispersion, buckets): (f64, usize),
        gate: f64,
    ) -> f64 {
        let counts = QUARTERS.map(|share| {
            let own = dispersion * by_chance(share, buckets - 1);
            let count = self.least_count(ln_p, rows, own.max(dispersion));
            count.max(rows * gate)
        });
        let power = |mean: f64| {
            let reached = counts.iter().map(|count| {
                let away = (count - mean) / (mean * dispersion).sqrt();
                normal_upper(away).map_or(0.0, PValue::value)
            });
            reached.sum::<f64>() / counts.len() as f64
        };
        let most = 0.999 * rows;
        let (mut low, mut high) = (counts[0].min(most), most);
        for _ in 0..40 {
            let middle = f64::midpoint(low, high);
            if power(middle) < POWER {
                low = middle;
            } else {
                high = middle;
            }
        }
        high / rows
    }

    /// The least count that is surprising enough.
    fn least_count(&self, ln_p: f64, rows: f64, dispersion: f64) -> f64 {
        let mean = rows * self.rate;
        let surprising = |count: u64| self.ln_p(count, rows, dispersion) < ln_p;
        let (mut low, mut high) = (mean as u64, (mean as u64).max(1) * 2 + 8);
        while !surprising(high) && (high as f64) < rows {
            (low, high) = (high, high * 2);
        }
        while high - low > 1 {
            let middle = low.midpoint(high);
            if surprising(middle) {
                high = middle;
            } else {
                low = middle;
            }
        }
        high as f64
    }
}

/// The middles of four equal shares, and of ten.
const QUARTERS: [f64; 4] = [0.125, 0.375, 0.625, 0.875];
const TENTHS: [f64; 10] = [0.05, 0.15, 0.25, 0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 0.95];

/// The quantile of a variance that is estimated with so many degrees of freedom, in units of the true one (Wilson and Hilferty 1931);
/// 1 without any.
fn by_chance(share: f64, freedom: usize) -> f64 {
    if freedom == 0 {
        return 1.0;
    }
    let part = 2.0 / (9.0 * freedom as f64);
    (1.0 - part + normal_quantile(share) * part.sqrt()).powi(3)
}

/// By how much the furthest of a window's buckets, which are so far apart in units of what is expected of them, widens the error of
/// its mean by chance: the quantile of this share.
fn peak_of(buckets: usize, share: f64, apart: f64) -> f64 {
    let each = share.powf(1.0 / buckets as f64);
    let from_their_mean = (1.0 - 1.0 / buckets as f64).sqrt();
    (normal_quantile(f64::midpoint(1.0, each)) * apart * from_their_mean / PEAK).max(1.0)
}

impl super::Verdict {
    /// How often a verdict like this is wrong, in words. The number of false tickets was measured on streams whose days differ
    /// by 0.05 standard deviations (`docs/benchmarks.md`); where days are alike there are far fewer.
    #[must_use]
    pub fn by_chance(settings: &super::Settings) -> String {
        match settings.false_days_per_thousand {
            1.0 => "about one false ticket per model and year".to_owned(),
            many => format!("about {many:.1} false tickets per model and year"),
        }
    }
}
