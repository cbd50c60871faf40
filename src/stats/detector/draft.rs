//! A score on its way to being fitted: its days, their level, how they vary around it, and the test that follows.

use std::collections::{BTreeMap, BTreeSet};

use super::fitting::Draft;
use super::reference::Footing;
use super::season::{Fitted, Grain, Levels, Observed, Season, WINDOWS};
use super::test::{ExcessTest, Form, MeanTest, OfDay, ScoreKind, Test};
use super::wandering::inflation;
use super::{Observation, Settings};
use crate::stats::beta::student_two_sided;
use crate::stats::moderated::{MOST_FREEDOM, Moderated, Prior, trusted};
use crate::stats::tails::PValue;

/// The ends are watched in so many of the shortest windows.
const END_WINDOWS: usize = 2;
/// New categories in so many.
const UNSEEN_WINDOWS: usize = 4;
/// A day further from its level than this, in standard deviations, says that days have heavier tails than they
/// should, and widens them by as much.
pub(super) const PEAK: f64 = 3.0;
/// From this variance between days on, in units of the sampling variance, days are trusted less and less to be normal.
const KINDS_FROM: f64 = 6.0;
/// Missing values and those of a wrong type are not looked for in the shortest window.
const PRESENCE_FROM: usize = 1;
/// Degrees of freedom that the days' part of a rare count's variance is trusted with.
const TRUST_IN_COUNTS: f64 = 8.0;

pub(super) struct DraftScore {
    pub(super) kind: ScoreKind,
    pub(super) form: Form,
    pub(super) share: Option<f64>,
    pub(super) moments: (f64, f64),
    pub(super) weight: f64,
    /// The place of the first window that it is looked at in: in shorter ones too few are expected for a mean.
    pub(super) from: usize,
    /// Which variances it shares its variance with; `None` for what is counted and not averaged.
    pub(super) pool: Option<Pool>,
    pub(super) buckets: Vec<i64>,
    pub(super) observed: Vec<Observed>,
    pub(super) residuals: Vec<f64>,
    pub(super) freedom: f64,
    pub(super) variance: f64,
    pub(super) mean_rows: f64,
    /// The same of whole days, where a bucket is shorter.
    pub(super) daily: Option<Box<DraftScore>>,
}

/// Scores whose variances are alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Pool {
    Shape(usize),
    LargeShare,
    SmallShare,
    Presence,
}

impl Pool {
    /// The degrees of freedom that the days' part of a variance is trusted with. The centre and shares move about in
    /// proportion to what moves them; the other shapes with its square, too, and their days have heavy tails. Where
    /// days differ many times more than rows would have them, so do all: then a day is of a kind, such as wet or dry.
    fn trust(self, factor: f64) -> f64 {
        let falling = |most: f64, least: f64| (most * KINDS_FROM / factor).clamp(least, most);
        match self {
            Self::Shape(0) => falling(30.0, 10.0),
            Self::Shape(_) => 4.0,
            Self::LargeShare | Self::SmallShare | Self::Presence => falling(20.0, 8.0),
        }
    }
}

impl DraftScore {
    pub(super) fn new(kind: ScoreKind, form: Form, weight: f64) -> Self {
        Self {
            kind,
            form,
            share: None,
            moments: (0.0, 0.0),
            weight,
            from: 0,
            pool: None,
            buckets: Vec::new(),
            observed: Vec::new(),
            residuals: Vec::new(),
            freedom: 0.0,
            variance: 1.0,
            mean_rows: 0.0,
            daily: None,
        }
    }

    /// Whether a day has enough of it that its days can be held against each other one by one.
    pub(super) fn is_frequent_by_day(&self, grain: Grain) -> bool {
        grain.windows()[self.from] <= grain.slots()
    }

    /// The median rows of a bucket; `None` without any.
    pub(super) fn usual_rows(&self) -> Option<f64> {
        let mut rows: Vec<f64> = self.observed.iter().map(|o| o.rows).collect();
        rows.sort_unstable_by(f64::total_cmp);
        rows.get(rows.len() / 2).copied()
    }

    /// It by days, where a bucket is shorter.
    pub(super) fn by_days(&self) -> &Self {
        self.daily.as_deref().unwrap_or(self)
    }

    /// The part of each window. What leaves the range shows at once, or in the shapes; and how many categories are
    /// still to be met is not known well enough for a window as long as the reference. What is missing for a day is an outage:
    /// the schema's measures say so at once, and no reference of a few weeks knows how often a feed fails.
    ///
    /// What a window may take on a day is shared by the times it is looked at that day, so that two dozen hours err no more often
    /// than a day does.
    pub(super) fn windows(&self, settings: &Settings, grain: Grain) -> [f64; WINDOWS] {
        let mut weights = settings.window_weights;
        match self.kind {
            ScoreKind::LowEnd | ScoreKind::HighEnd | ScoreKind::Far => {
                weights[END_WINDOWS..].fill(0.0);
            }
            ScoreKind::Unseen => weights[UNSEEN_WINDOWS..].fill(0.0),
            ScoreKind::Missing | ScoreKind::WrongType => weights[..PRESENCE_FROM].fill(0.0),
            _ => {}
        }
        weights[..self.from].fill(0.0);
        let total: f64 = weights.iter().sum();
        let looks = grain.windows().map(|length| grain.looks(length));
        std::array::from_fn(|window| weights[window] / total / looks[window])
    }

    pub(super) fn observe(&mut self, days: &[&Observation<'_>], grain: Grain) {
        for day in days {
            let values = day.tally.values();
            let counts = self.pool.is_none();
            let Some((value, rows)) = self.form.of(day.tally, values, self.share, counts) else {
                continue;
            };
            let phase = grain.phase(day.bucket);
            self.buckets.push(day.bucket);
            self.observed.push(Observed {
                phase,
                rows,
                value,
                weight: rows,
            });
        }
        let rows: f64 = self.observed.iter().map(|o| o.rows).sum();
        self.mean_rows = rows / self.observed.len().max(1) as f64;
    }

    /// Levels with rows as weights, and the variance around them in units of the sampling variance.
    pub(super) fn fit(&mut self, season: Season, grain: Grain) {
        if self.pool.is_none() {
            self.fit_counts();
        } else {
            self.fit_means(season, grain);
        }
        if grain.slots() > 1 {
            self.daily = Some(Box::new(self.summed_by_day(season, grain)));
        }
    }

    fn fit_means(&mut self, season: Season, grain: Grain) {
        let Fitted {
            residuals, freedom, ..
        } = Levels::fit(&self.observed, season, grain);
        let squares: f64 = self
            .observed
            .iter()
            .zip(&residuals)
            .map(|(o, r)| o.rows * r * r)
            .sum();
        self.freedom = freedom;
        self.variance = if freedom > 0.0 {
            squares / freedom
        } else {
            1.0
        };
        self.residuals = residuals;
    }

    /// Whole days of what is left when the pattern of the day and the week is taken out.
    fn summed_by_day(&self, season: Season, grain: Grain) -> Self {
        let counts = self.pool.is_none();
        let mut days: BTreeMap<i64, (f64, f64)> = BTreeMap::new();
        for (place, (bucket, observed)) in self.buckets.iter().zip(&self.observed).enumerate() {
            let (rows, sum) = days.entry(grain.day_of(*bucket)).or_default();
            *rows += observed.rows;
            *sum += if counts {
                observed.value
            } else {
                observed.rows * self.residuals[place]
            };
        }
        let observed: Vec<Observed> = (days.iter())
            .map(|(day, (rows, sum))| Observed {
                phase: Grain::Day.phase(*day),
                rows: *rows,
                value: if counts { *sum } else { sum / rows },
                weight: *rows,
            })
            .collect();
        let count = observed.len() as f64;
        let mut daily = Self {
            share: self.share,
            moments: self.moments,
            pool: self.pool,
            buckets: days.keys().copied().collect(),
            mean_rows: observed.iter().map(|day| day.rows).sum::<f64>() / count.max(1.0),
            residuals: observed.iter().map(|day| day.value).collect(),
            observed,
            ..Self::new(self.kind.clone(), self.form.clone(), self.weight)
        };
        if counts {
            daily.fit_counts();
            return daily;
        }
        // The mean, and what weekdays took; levels of hours take nothing more from days.
        let of_hours = match season {
            Season::Daily => {
                let slots: BTreeSet<usize> = self.observed.iter().map(|o| o.phase.slot).collect();
                slots.len()
            }
            Season::None | Season::Weekday => 1,
        };
        let of_weekdays = self.observed.len() as f64 - self.freedom - of_hours as f64;
        daily.freedom = (count - 1.0 - of_weekdays).max(0.0);
        let squares = daily
            .observed
            .iter()
            .map(|day| day.rows * day.value * day.value);
        if daily.freedom > 0.0 {
            daily.variance = squares.sum::<f64>() / daily.freedom;
        }
        daily
    }

    /// The variance of counts in units of what chance alone would have.
    fn fit_counts(&mut self) {
        let rows: f64 = self.observed.iter().map(|o| o.rows).sum();
        let rate = self.observed.iter().map(|o| o.value).sum::<f64>() / rows.max(1.0);
        self.freedom = self.observed.len() as f64 - 1.0;
        if rate > 0.0 && self.freedom > 0.0 {
            let square = |o: &Observed| (o.value - o.rows * rate).powi(2) / (o.rows * rate);
            self.variance = self.observed.iter().map(square).sum::<f64>() / self.freedom;
        }
    }

    /// The product of neighbouring days' deviations, in units of their squares.
    pub(super) fn neighbours(&self) -> f64 {
        let scaled = |i: usize| self.residuals[i] * self.observed[i].rows.sqrt();
        let pairs = 1..self.residuals.len();
        let products: f64 = pairs
            .filter(|i| self.buckets[*i] == self.buckets[i - 1] + 1)
            .map(|i| scaled(i) * scaled(i - 1))
            .sum();
        let squares: f64 = (0..self.residuals.len()).map(|i| scaled(i).powi(2)).sum();
        if squares > 0.0 {
            products / squares
        } else {
            0.0
        }
    }

    /// Each day's deviation from the others, in standard errors estimated without it and never less than sampling has
    /// them, and the variance of these others.
    pub(super) fn studentised(&self) -> Vec<(f64, f64)> {
        let share_left = self.freedom / self.residuals.len() as f64;
        self.squared_parts()
            .map(|(scaled, square)| {
                let others = (self.variance * self.freedom - square) / (self.freedom - 1.0);
                (scaled / (others.max(1.0) * share_left).sqrt(), others)
            })
            .collect()
    }

    /// Each day's p-value against the others.
    pub(super) fn p_values(&self) -> Vec<f64> {
        let share_left = self.freedom / self.residuals.len() as f64;
        let freedom = self.freedom - 1.0;
        self.squared_parts()
            .map(|(scaled, square)| {
                let others = ((self.variance * self.freedom - square) / freedom).max(1e-12);
                let t = scaled / (others * share_left).sqrt();
                student_two_sided(t, freedom).map_or(1.0, PValue::value)
            })
            .collect()
    }

    /// Each day's deviation in sampling standard errors, and what it adds to the sum of squares.
    fn squared_parts(&self) -> impl Iterator<Item = (f64, f64)> {
        let share_left = self.freedom / self.residuals.len() as f64;
        self.observed
            .iter()
            .zip(&self.residuals)
            .map(move |(o, r)| {
                let scaled = r * o.rows.sqrt();
                (scaled, scaled * scaled / share_left)
            })
    }

    pub(super) fn test(
        &self,
        feature: &Draft<'_>,
        prior: Option<&Prior>,
        correlation: f64,
        grain: Grain,
    ) -> Test {
        if self.pool.is_none() {
            let clumping = feature.clumping(&self.kind);
            return Test::Excess(self.excess(feature.footing, clumping, correlation));
        }
        let moderated = self.moderated(feature, prior);
        let day_variance = (moderated.factor - 1.0) / self.mean_rows;
        let weighted: Vec<Observed> = self
            .observed
            .iter()
            .map(|o| Observed {
                weight: o.rows / (1.0 + day_variance * o.rows),
                ..*o
            })
            .collect();
        Test::Mean(MeanTest {
            levels: Levels::fit(&weighted, feature.season, grain).levels,
            skewness: self.moments.0,
            kurtosis: self.moments.1,
            factor: moderated.factor,
            together: moderated.factor.max(feature.clumping(&self.kind)),
            freedom: moderated.freedom,
            day_variance,
            // How days go together is told beside it where buckets are shorter.
            level_day_variance: match self.daily {
                Some(_) => day_variance,
                None => day_variance * inflation(self.observed.len(), correlation),
            },
        })
    }

    fn moderated(&self, feature: &Draft<'_>, prior: Option<&Prior>) -> Moderated {
        match (prior, self.pool) {
            (Some(prior), Some(pool)) if feature.footing == Footing::Days && self.freedom > 0.0 => {
                self.widened(prior.moderate(self.variance, self.freedom), pool)
            }
            _ => Moderated {
                factor: 1.0,
                freedom: MOST_FREEDOM,
            },
        }
    }

    /// What the buckets of a day have in common, where these are shorter than days: the variance of days beyond what so many
    /// buckets that have nothing in common would leave of theirs.
    pub(super) fn of_day(
        &self,
        feature: &Draft<'_>,
        test: &Test,
        prior: Option<&Prior>,
        correlation: f64,
    ) -> Option<OfDay> {
        let daily = self.daily.as_deref()?;
        let wandering = inflation(daily.observed.len(), correlation);
        let buckets = (daily.mean_rows / self.mean_rows.max(1.0)).max(1.0);
        Some(match test {
            Test::Mean(test) => {
                let moderated = daily.moderated(feature, prior);
                let beyond = (moderated.factor - test.factor).max(0.0);
                let variance = beyond / (daily.mean_rows - self.mean_rows).max(1.0);
                OfDay {
                    variance,
                    buckets,
                    level: variance * wandering / daily.observed.len().max(1) as f64,
                    freedom: moderated.freedom,
                }
            }
            Test::Excess(test) => {
                let known = feature.footing == Footing::Days;
                let dispersion = if known { daily.variance.max(1.0) } else { 1.0 };
                let beyond = (dispersion - test.dispersion.max(1.0)).max(0.0);
                OfDay {
                    variance: beyond / (buckets - 1.0).max(1.0),
                    buckets,
                    level: dispersion * wandering,
                    freedom: test.freedom,
                }
            }
        })
    }

    /// A variance that the furthest day fits to, known no better than days of its kind are normal.
    fn widened(&self, moderated: Moderated, pool: Pool) -> Moderated {
        let furthest = self
            .squared_parts()
            .map(|(_, square)| square)
            .fold(0.0, f64::max);
        let peak = furthest / moderated.factor / (PEAK * PEAK);
        let factor = moderated.factor * peak.max(1.0);
        Moderated {
            factor,
            freedom: moderated
                .freedom
                .min(trusted(factor, pool.trust(factor).min(self.tails(factor)))),
        }
    }

    /// Whether a day's rows are worth fewer than two: each day has a value of its own.
    pub(super) fn is_of_days(&self) -> bool {
        self.mean_rows < 2.0 * self.variance
    }

    /// The degrees of freedom with which Student's distribution has the kurtosis of a day's mean, where the day's rows go
    /// together so much that they are worth only so many: it has the tails of these few.
    fn tails(&self, factor: f64) -> f64 {
        let kurtosis = self.moments.1;
        if kurtosis <= 0.0 {
            return MOST_FREEDOM;
        }
        4.0 + 6.0 * self.mean_rows / factor / kurtosis
    }

    /// The share is what the reference has, twice its standard error and two rows more.
    fn excess(&self, footing: Footing, clumping: f64, correlation: f64) -> ExcessTest {
        let rows: f64 = self.observed.iter().map(|o| o.rows).sum();
        let count: f64 = self.observed.iter().map(|o| o.value).sum();
        let known = footing == Footing::Days;
        let dispersion = if known {
            self.variance.max(clumping)
        } else {
            1.0
        };
        // Whole days know less of a rate than as many buckets that have nothing in common.
        let of_rate = match &self.daily {
            Some(daily) if known => dispersion.max(daily.variance),
            _ => dispersion,
        };
        ExcessTest {
            rate: ((count + 2.0 * (count * of_rate).sqrt() + 2.0) / rows.max(1.0)).min(1.0),
            dispersion,
            freedom: self.freedom.max(1.0).min(trusted(of_rate, TRUST_IN_COUNTS)),
            reference_rows: rows.max(1.0),
            reference_inflation: inflation(self.observed.len(), correlation),
        }
    }
}

/// The probability of so uneven p-values from uniform ones: Kolmogorov's, with Stephens' correction (1970) for few.
pub(super) fn not_uniform(p_values: &[f64]) -> f64 {
    let mut sorted = p_values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let n = sorted.len() as f64;
    let gaps = sorted.iter().enumerate().map(|(i, p)| {
        let (below, above) = (i as f64 / n, (i + 1) as f64 / n);
        (p - below).max(above - p)
    });
    let distance = gaps.fold(0.0, f64::max);
    let z = (n.sqrt() + 0.12 + 0.11 / n.sqrt()) * distance;
    let term = |k: i32| f64::from(1 - 2 * ((k + 1) % 2)) * (-2.0 * f64::from(k * k) * z * z).exp();
    (2.0 * (1..=100).map(term).sum::<f64>()).clamp(0.0, 1.0)
}
